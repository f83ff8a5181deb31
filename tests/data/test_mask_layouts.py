"""The same images and masks through every reader of masks."""

import csv
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from data.tiny_photos import write_table
from dmt.config_files import load_config
from dmt.data.catalog import load_dataset
from dmt.data.draw import split_masks
from dmt.data.images import DataSet
from dmt.errors import ConfigError, DataError
from tiny_folders import write_folder

CLASSES = ("background", "middle", "right")
TEST, NUM_IMAGES, NUM_MASKS = 3, 6, 4


def folder(root: Path) -> dict[str, Any]:
    write_folder(root)
    (root / "classes.txt").write_text("\n".join(CLASSES))
    return {"name": "folder", "root": str(root)}


def manifest(root: Path) -> dict[str, Any]:
    folder(root)
    rows = [
        {
            "path": f"images/{number}.png",
            "label": f"masks/{number}.png" if number < NUM_MASKS else "",
            "split": "test" if number == TEST else "",
        }
        for number in range(NUM_IMAGES)
    ]
    write_table(root / "table.csv", rows)
    return {"name": "manifest", "root": str(root / "table.csv")}


def masks_of(root: Path) -> list[np.ndarray]:
    return [np.array(Image.open(root / "masks" / f"{number}.png")) for number in range(NUM_MASKS)]


def runs_of(area: np.ndarray) -> list[int]:
    """Run lengths down the columns, zeros first, as COCO has them."""
    flat = np.concatenate([[0], area.ravel(order="F").astype(np.int8), [-1]])
    ends = np.flatnonzero(np.diff(flat))
    counts = np.diff(np.concatenate([[0], ends])).tolist()
    return [int(count) for count in counts]


def coco(shape_of: Callable[[np.ndarray], Any]) -> Callable[[Path], dict[str, Any]]:
    def write(root: Path) -> dict[str, Any]:
        folder(root)
        images, shapes = [], []
        for number, mask in enumerate(masks_of(root)):
            height, width = mask.shape
            images.append({"id": 10 + number, "file_name": f"{number}.png", "height": height, "width": width})
            for category, k in ((7, 1), (9, 2)):
                if (mask == k).any():
                    shape = shape_of(mask == k)
                    shapes.append({"image_id": 10 + number, "category_id": category, "segmentation": shape})
        categories = [{"id": 9, "name": "right"}, {"id": 7, "name": "middle"}]
        content = {"images": images, "annotations": shapes, "categories": categories}
        (root / "annotations.json").write_text(json.dumps(content))
        return {"name": "coco", "root": str(root)}

    return write


def polygon(area: np.ndarray) -> list[list[float]]:
    """The rectangle that each class is here, by its outer corners."""
    rows, columns = np.flatnonzero(area.any(1)), np.flatnonzero(area.any(0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    return [[float(x) for x in (left, top, right, top, right, bottom, left, bottom)]]


def run_lengths(area: np.ndarray) -> dict[str, Any]:
    return {"size": list(area.shape), "counts": runs_of(area)}


def compressed(area: np.ndarray) -> dict[str, Any]:
    from pycocotools import mask

    return {"size": list(area.shape), "counts": mask.encode(np.asfortranarray(area))["counts"].decode()}


def hugging_face(root: Path) -> dict[str, Any]:
    import datasets

    folder(root / "files")
    features = datasets.Features(image=datasets.Image(), mask=datasets.Image())

    def cell(kind: str, number: int) -> dict[str, Any] | None:
        path = root / "files" / kind / f"{number}.png"
        return {"bytes": path.read_bytes(), "path": path.name} if path.is_file() else None

    tables = {
        split: datasets.Dataset.from_dict(
            {
                "image": [cell("images", number) for number in members],
                "mask": [cell("masks", number) for number in members],
            },
            features=features,
        )
        for split, members in (("train", [0, 1, 2, 4, 5]), ("test", [TEST]))
    }
    datasets.DatasetDict(tables).save_to_disk(str(root / "saved"))
    (root / "saved" / "classes.txt").write_text("\n".join(CLASSES))
    return {"name": "huggingface", "root": str(root / "saved")}


LAYOUTS = {
    "folder": folder,
    "manifest": manifest,
    "COCO polygons": coco(polygon),
    "COCO run lengths": coco(run_lengths),
    "COCO compressed": coco(compressed),
    "Hugging Face": hugging_face,
}


def load(data: dict[str, Any]) -> DataSet:
    config = load_config({"task": "segmentation", "data": data, "validation": {"source": "none"}})
    found = load_dataset(config.data, task="segmentation")
    split = split_masks(config, found)
    assert sorted(split.labeled) == [0, 1, 2]
    assert sorted(split.unlabeled) == [3, 4]
    return found


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_images_and_masks(layout: str, tmp_path: Path) -> None:
    expected = load(folder(tmp_path / "expected"))
    found = load(LAYOUTS[layout](tmp_path / "found"))
    assert found.class_names == expected.class_names == CLASSES
    assert found.train.known().tolist() == expected.train.known().tolist()
    assert found.test is not None
    assert expected.test is not None
    for ours, theirs in ((found.train, expected.train), (found.test, expected.test)):
        assert len(ours) == len(theirs)
        for index in range(len(ours)):
            assert torch.equal(ours.images([index]), theirs.images([index]))
            assert ours.size(index) == theirs.size(index)
            if ours.known()[index]:
                assert torch.equal(ours.labels([index]), theirs.labels([index]))


def edited(root: Path, change: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    data = coco(polygon)(root)
    content = json.loads((root / "annotations.json").read_text())
    change(content)
    (root / "annotations.json").write_text(json.dumps(content))
    return data


def test_a_small_shape_shows_on_a_large_one_and_the_rest_is_background(tmp_path: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        content["annotations"] = [
            {"image_id": 10, "category_id": 9, "segmentation": [[2, 2, 4, 2, 4, 4, 2, 4]]},
            {"image_id": 10, "category_id": 7, "segmentation": [[0, 0, 8, 0, 8, 8, 0, 8]]},
        ]

    found = load(edited(tmp_path, change)).train.labels([0])[0]
    expected = torch.zeros_like(found)
    expected[:8, :8] = 1
    expected[2:4, 2:4] = 2
    assert torch.equal(found, expected)


BROKEN_COCO = {
    "unknown image": (lambda c: c["annotations"][0].update(image_id=99), "annotation 0 is for image 99"),
    "unknown category": (lambda c: c["annotations"][0].update(category_id=1), "category 1, one of"),
    "no file": (lambda c: c["images"][0].update(file_name="gone.png"), "lists 'gone.png', but there is no file"),
    "listed twice": (lambda c: c["images"][1].update(file_name="0.png"), "lists '0.png' twice"),
    "id twice": (lambda c: c["images"][1].update(id=10), "two of the image id 10"),
    "other size": (lambda c: c["images"][0].update(height=7), "its mask .* is 7 x 20"),
    "not a number": (lambda c: c["annotations"][0].update(segmentation=[[float("nan"), 1, 6, 1, 6, 6]]), "far outside"),
    "beyond all numbers": (lambda c: c["annotations"][0].update(segmentation=[[1e300, 1, 6, 1, 6, 6]]), "far outside"),
    "far away": (lambda c: c["annotations"][0].update(segmentation=[[4e8, 1, 6, 1, 6, 6]]), "far outside"),
    "runs that wrap around": (
        lambda c: c["annotations"][0].update(segmentation={"size": [24, 20], "counts": [2**63 - 1, 2**63 - 1, 482]}),
        "do not come to 24 x 20",
    ),
    "a run beyond 64 bits": (
        lambda c: c["annotations"][0].update(segmentation={"size": [24, 20], "counts": [2**70]}),
        "do not come to 24 x 20",
    ),
    "bad shape": (
        lambda c: c["annotations"][0].update(segmentation={"size": [24, 20], "counts": [1, 2]}),
        "image '0.png' has a shape whose run lengths do not come to 24 x 20 pixels",
    ),
    "shape of another size": (
        lambda c: c["annotations"][0].update(segmentation={"size": [2, 2], "counts": [1, 3]}),
        "has a shape for 2 x 2 pixels, but is 24 x 20",
    ),
    "no segmentation": (lambda c: c["annotations"][0].pop("segmentation"), "annotations.0.segmentation"),
    "category without a name": (lambda c: c["categories"][0].pop("name"), "categories.0.name"),
    "background as a category": (lambda c: c["categories"][0].update(name="background"), "none of them 'background'"),
}


@pytest.mark.parametrize("case", BROKEN_COCO)
def test_what_is_wrong_with_a_coco_file_is_said(case: str, tmp_path: Path) -> None:
    change, message = BROKEN_COCO[case]
    with pytest.raises(DataError, match=message) as caught:
        load(edited(tmp_path, change))
    assert "annotations.json" in str(caught.value)


def test_an_annotation_without_a_shape_covers_nothing(tmp_path: Path) -> None:
    found = load(edited(tmp_path, lambda c: [shape.update(segmentation=[]) for shape in c["annotations"]]))
    assert found.train.labels([0]).unique().tolist() == [0]


def test_masks_that_windows_named(tmp_path: Path) -> None:
    data = manifest(tmp_path)
    text = (tmp_path / "table.csv").read_text()
    (tmp_path / "table.csv").write_text(text.replace("/", "\\"))
    assert load(data).train.known().tolist() == [True, True, True, False, False]


def test_labels_that_say_nothing(tmp_path: Path) -> None:
    import datasets

    folder(tmp_path / "files")
    image = {"bytes": (tmp_path / "files/images/0.png").read_bytes(), "path": "0.png"}
    for labels, classes in (([0.0, 1.0, float("nan"), -1.0], ("0", "1")), (["a", "b", "", None], ("a", "b"))):
        kind = datasets.Value("string" if None in labels else "float64")
        features = datasets.Features(image=datasets.Image(), label=kind)
        table = datasets.Dataset.from_dict({"image": [image] * 4, "label": labels}, features=features)
        table.save_to_disk(str(tmp_path / classes[0]))
        data = {"name": "huggingface", "root": str(tmp_path / classes[0])}
        config = load_config({"task": "classification", "data": data})
        found = load_dataset(config.data, task="classification")
        assert found.class_names == classes
        assert found.train.known().tolist() == [True, True, False, False]


def test_a_file_that_is_no_json(tmp_path: Path) -> None:
    data = coco(polygon)(tmp_path)
    (tmp_path / "annotations.json").write_text("[" * 100_000)
    with pytest.raises(DataError, match="cannot be read as JSON"):
        load(data)
    (tmp_path / "annotations.json").unlink()
    with pytest.raises(DataError, match="cannot be read as JSON"):
        load(data)


def test_a_hugging_face_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot load"):
        load({"name": "huggingface", "root": str(tmp_path)})


@pytest.mark.parametrize("key", ["validation", "test"])
@pytest.mark.parametrize("make", [manifest, hugging_face])
def test_lists_are_refused_where_the_masks_say_themselves_what_is_what(make: Any, key: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"data\.{key} has no effect on .* what is what"):
        load(make(tmp_path) | {key: "x.txt"})


def test_absolute_paths_of_masks_in_the_tables_folder(tmp_path: Path) -> None:
    data = manifest(tmp_path)
    with Path(data["root"]).open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["label"] = row["label"] and str(tmp_path / row["label"])
    write_table(Path(data["root"]), rows)
    assert int(load(data).train.known().sum()) == NUM_MASKS - 1


def test_names_that_are_no_utf_8_are_refused(tmp_path: Path) -> None:
    data = folder(tmp_path)
    (tmp_path / "images" / "5.png").rename(os.fsdecode(os.fsencode(tmp_path) + b"/images/caf\xe9.png"))
    with pytest.raises(DataError, match=r"The name of caf\\udce9.* is no UTF-8 text; rename the file"):
        load(data)


@pytest.mark.parametrize("make", [folder, manifest])
def test_shards_are_unlabeled_images(make: Any, tmp_path: Path) -> None:
    import tarfile

    data = make(tmp_path)
    content = io.BytesIO()
    Image.new("RGB", (30, 22), "red").save(content, "png")
    with tarfile.open(tmp_path / "more.tar", "w") as tar:
        info = tarfile.TarInfo("deep/er.png")
        info.size = len(content.getvalue())
        tar.addfile(info, io.BytesIO(content.getvalue()))
    config = load_config({"task": "segmentation", "data": {**data, "shards": "*.tar"}})
    found = load_dataset(config.data, task="segmentation")
    last = len(found.train) - 1
    assert found.train.key(last) == "more.tar/deep/er.png"
    assert found.train.images([last]).float().mean(dim=(0, 2, 3)).tolist() == [255, 0, 0]
    assert found.train.size(last) == (22, 30)
