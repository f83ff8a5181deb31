"""Every layout that a reader knows: recognized, written down, checked, and loaded as its reader's own test loads it."""

import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import ExifTags, Image

from data.test_mask_layouts import LAYOUTS as MASK_LAYOUTS
from data.tiny_photos import CLASSES, LAYOUTS, photos, write_images, write_table
from dmt.config import Config
from dmt.config_files import load_config
from dmt.config_sections import Duration
from dmt.data.catalog import load_dataset
from dmt.data.draw import split_classes, split_masks
from dmt.data.images import DataSet, ImageSet
from dmt.errors import DataError
from dmt.init import Start, pixels, start, write
from dmt.init.layouts import KNOWN, layouts_of
from dmt.run import run


def begun(path: Path, folder: Path, **options: Any) -> tuple[Start, Config]:
    """What `dmt init` makes of a path, and the config that is read back from its file."""
    found = start(path, timing=False, **options)
    write(found, folder / "dmt.yaml", command="dmt init", force=True)
    return found, load_config(folder / "dmt.yaml")


def loaded(config: Config) -> DataSet:
    return load_dataset(config.data, task=config.task)


def assert_same(ours: ImageSet, theirs: ImageSet, *, dense: bool) -> None:
    assert [ours.key(index) for index in range(len(ours))] == [theirs.key(index) for index in range(len(theirs))]
    assert np.array_equal(ours.known(), theirs.known())
    for index in range(len(ours)):
        assert torch.equal(ours.images([index]), theirs.images([index]))
        if not dense or ours.known()[index]:
            assert torch.equal(ours.labels([index]), theirs.labels([index]))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_of_classes(layout: str, tmp_path: Path) -> None:
    data = LAYOUTS[layout](tmp_path / "data")
    enlarged = load_config({"task": "classification", "data": data | {"image_size": [16, 16]}})  # of 8 x 8
    expected = load_dataset(enlarged.data, task="classification")
    found, config = begun(Path(data["root"]), tmp_path)
    assert config.data.image_size == enlarged.data.image_size
    assert found.layout.task == config.task == "classification"
    assert config.data.name == data["name"]
    own = loaded(config)
    assert own.class_names == CLASSES
    if layout == "arrays of 16 bits":  # the least bit depth that holds 25,500, and not that number itself
        assert config.data.value_range == [0.0, 65535.0]
        own = loaded(config.model_copy(update={"data": config.data.model_copy(update={"value_range": [0.0, 25500.0]})}))
    assert_same(own.train, expected.train, dense=False)
    assert own.test is not None
    assert expected.test is not None
    assert_same(own.test, expected.test, dense=False)
    split = split_classes(config, own)
    assert (len(split.labeled), len(split.unlabeled)) == (9, 24)
    assert (found.facts.num_labeled, found.facts.num_unlabeled, found.facts.num_test) == (9, 24, 12)


@pytest.mark.parametrize("layout", ["CSV", "TSV", "JSON lines", "Parquet"])
def test_a_table_is_found_in_its_folder(layout: str, tmp_path: Path) -> None:
    data = LAYOUTS[layout](tmp_path / "data")
    # The folder holds class folders, too: both are possible, and both are named.
    found = start(tmp_path / "data", timing=False)
    assert found.layout.title == "class folders"
    assert [other.data for other in found.others] == [data]
    assert any("It could also be a table" in line for line in found.guessed())


@pytest.mark.parametrize("layout", MASK_LAYOUTS)
def test_layouts_of_masks(layout: str, tmp_path: Path) -> None:
    data = MASK_LAYOUTS[layout](tmp_path / "data")
    if layout.startswith("COCO"):
        shutil.rmtree(tmp_path / "data" / "masks")
    expected = load_dataset(load_config({"task": "segmentation", "data": data}).data, task="segmentation")
    found, config = begun(Path(data["root"]), tmp_path)
    assert found.layout.task == config.task == "segmentation"
    assert config.data.name == data["name"]
    own = loaded(config)
    assert own.class_names == expected.class_names
    assert_same(own.train, expected.train, dense=True)
    split = split_masks(config, own)
    assert (sorted(split.labeled), sorted(split.unlabeled)) == ([0, 1, 2], [3, 4])
    assert (found.facts.num_labeled, found.facts.num_unlabeled, found.facts.num_test) == (3, 2, 1)


def save(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


def masked(root: Path, *, values: tuple[int, ...] = (0, 1, 2), count: int = 4) -> Path:
    stream = np.random.default_rng(0)
    for number in range(count):
        save(root / "images" / f"{number}.jpg", stream.integers(0, 256, (32, 40, 3), dtype=np.uint8))
        if number < count - 1:
            mask = np.array(values, dtype=np.uint8)[stream.integers(0, len(values), (32, 40))]
            save(root / "masks" / f"{number}.png", mask)
    return root


def test_voc(tmp_path: Path) -> None:
    root = tmp_path / "VOCdevkit" / "VOC2012"
    stream = np.random.default_rng(0)
    for number in range(4):
        save(root / "JPEGImages" / f"{number}.jpg", stream.integers(0, 256, (32, 40, 3), dtype=np.uint8))
        save(root / "SegmentationClass" / f"{number}.png", stream.integers(0, 21, (32, 40), dtype=np.uint8))
    (root / "ImageSets" / "Segmentation").mkdir(parents=True)
    (root / "ImageSets" / "Segmentation" / "train.txt").write_text("0\n1\n2\n")
    (root / "ImageSets" / "Segmentation" / "val.txt").write_text("3\n")
    for place in (tmp_path, root.parent, root):
        found, config = begun(place, tmp_path, labels=1)
        assert (found.layout.title, config.data.name) == ("PASCAL VOC", "voc")
        assert (found.facts.num_labeled, found.facts.num_unlabeled, found.facts.num_test) == (1, 2, 1)
        assert len(loaded(config).class_names) == 21


def test_cityscapes(tmp_path: Path) -> None:
    stream = np.random.default_rng(0)
    for part, count in (("train", 2), ("val", 1)):
        for number in range(count):
            name = f"{part}/city/city_{number}"
            save(tmp_path / "leftImg8bit" / f"{name}_leftImg8bit.png", stream.integers(0, 256, (16, 32, 3), dtype="u1"))
            save(tmp_path / "gtFine" / f"{name}_gtFine_labelIds.png", stream.integers(0, 34, (16, 32), dtype="u1"))
    found, config = begun(tmp_path, tmp_path, labels=1)
    assert (found.layout.title, config.data.name) == ("Cityscapes", "cityscapes")
    assert (found.facts.num_labeled, found.facts.num_unlabeled, found.facts.num_test) == (1, 1, 1)


def test_class_folders_without_a_folder_above(tmp_path: Path) -> None:
    write_images(tmp_path / "data")
    for path in (tmp_path / "data" / "labeled").iterdir():
        path.rename(tmp_path / "data" / path.name)
    (tmp_path / "data" / "labeled").rmdir()
    found, config = begun(tmp_path / "data", tmp_path)
    assert found.layout.title == "class folders"
    data = loaded(config)
    assert data.class_names == CLASSES
    assert data.train.key(0) == "eight/00.png"
    assert (found.facts.num_labeled, found.facts.num_unlabeled, found.facts.num_test) == (9, 24, 12)


def test_a_coco_file_by_another_name(tmp_path: Path) -> None:
    data = MASK_LAYOUTS["COCO polygons"](tmp_path)
    shutil.rmtree(tmp_path / "masks")
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations.json").rename(tmp_path / "annotations" / "instances.json")
    (tmp_path / "other.json").write_text(json.dumps([1, 2]))
    _, config = begun(Path(data["root"]), tmp_path)
    assert config.data.annotations == "annotations/instances.json"
    assert len(loaded(config).train) == 5


def test_classes_are_named_by_the_values_of_masks_where_no_list_does(tmp_path: Path) -> None:
    masked(tmp_path / "data", values=(0, 1, 5, 255))
    found, config = begun(tmp_path / "data", tmp_path)
    assert config.data.class_names == [f"class {k}" for k in range(6)]
    assert any("There is no classes.txt: the masks hold the values 0..5" in line for line in found.seen())


def test_a_list_of_training_images_that_says_more_than_the_masks(tmp_path: Path) -> None:
    masked(tmp_path / "data", count=6)
    (tmp_path / "data" / "train.txt").write_text("0.jpg\n1.jpg\n")
    found, config = begun(tmp_path / "data", tmp_path)
    assert config.data.labeled == str(tmp_path / "data" / "train.txt")
    assert (found.facts.num_labeled, found.facts.num_unlabeled) == (2, 4)


def test_files_of_the_same_names_in_the_working_folder_are_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    masked(Path("data"), count=6)
    for place, lines in (("data/train.txt", "0.jpg\n1.jpg\n"), ("train.txt", "2.jpg\n")):
        Path(place).write_text(lines)
    config = begun(Path("data"), tmp_path)[1]
    assert sorted(split_masks(config, loaded(config)).labeled) == [0, 1]
    write_images(Path("photos"))
    for place, count in (("photos/1.tar", 3), ("backup.tar", 2)):
        with tarfile.open(place, "w") as tar:
            for number in range(count):
                tar.add("data/images/0.jpg", f"{place}-{number}.jpg")
    config = begun(Path("photos"), tmp_path)[1]
    assert [key for key in loaded(config).train.keys if "tar" in key] == [
        f"1.tar/photos/1.tar-{k}.jpg" for k in range(3)
    ]
    with tarfile.open("photos/1.tar", "w") as tar:
        tar.add("train.txt")
    assert begun(Path("photos"), tmp_path)[1].data.shards is None, "notes are no images"


@pytest.mark.parametrize(("labels", "words"), [(7, "one class has 2 labels. Give at most 6"), (6, "")])
def test_labels_are_drawn_of_classes_that_have_them(tmp_path: Path, labels: int, words: str) -> None:
    for name, count in (("cat", 8), ("dog", 2), ("owl", 2)):
        for number in range(count):
            save(tmp_path / "data" / name / f"{number}.png", photos()[number % 3].pixels + number)
    if words:
        with pytest.raises(DataError, match=words):
            start(tmp_path / "data", timing=False, labels=labels)
        return
    config = begun(tmp_path / "data", tmp_path, labels=labels)[1]
    assert config.rounds.selection == "per_class", "two of each are drawn, and the others are no third each"
    (tmp_path / "data/cat").rename(tmp_path / "cats")
    (tmp_path / "data/owl").rename(tmp_path / "data/cat")
    assert begun(tmp_path / "data", tmp_path, labels=2)[1].rounds.selection == "class_prior"


def test_a_list_of_labeled_images_leaves_none_to_draw(tmp_path: Path) -> None:
    masked(tmp_path / "data", count=6)
    (tmp_path / "data" / "train.txt").write_text("0.jpg\n1.jpg\n")
    with pytest.raises(DataError, match=r"--labels is 1, but .*train\.txt says which images are labeled"):
        begun(tmp_path / "data", tmp_path, labels=1)


def test_a_list_that_says_the_same_as_the_masks_is_left_alone(tmp_path: Path) -> None:
    masked(tmp_path / "data", count=6)
    (tmp_path / "data" / "train.txt").write_text("0\n1\n2\n")
    (tmp_path / "data" / "val.txt").write_text("3\n4\n")
    found, config = begun(tmp_path / "data", tmp_path)
    assert config.data.labeled is None
    assert (found.facts.num_labeled, found.facts.num_unlabeled, found.facts.num_validation) == (3, 1, 2)
    assert config.validation.source == "given"


def test_a_table_of_masks_in_another_folder(tmp_path: Path) -> None:
    masked(tmp_path / "files")
    rows = [{"path": f"../files/images/{k}.jpg", "label": f"../files/masks/{k}.png" if k < 3 else ""} for k in range(4)]
    (tmp_path / "table").mkdir()
    write_table(tmp_path / "table" / "rows.csv", rows)
    (tmp_path / "table" / "classes.txt").write_text("sky\nsea\nsand\n")
    found, config = begun(tmp_path / "table" / "rows.csv", tmp_path)
    assert (config.task, config.data.allow_outside) == ("segmentation", True)
    assert (found.facts.num_labeled, found.facts.num_unlabeled) == (3, 1)
    short = {"supervised": Duration(steps=1), "duration": Duration(steps=1)}
    run(config.model_copy(update=short), run_dir=tmp_path / "run")
    assert len(list((tmp_path / "run" / "rounds" / "1" / "a" / "pseudo_labels" / "labels").rglob("3.jpg.png"))) == 1


def test_masks_of_values_that_are_no_numbers_of_classes_are_told(tmp_path: Path) -> None:
    masked(tmp_path / "data", values=(0, 128))
    with pytest.raises(
        DataError, match=r"hold the values 0, 128, which would be 129 classes.* with 0 \.\. 1, or name all"
    ):
        begun(tmp_path / "data", tmp_path)


@pytest.mark.parametrize("masks", ["masks", "Labels"])
def test_parts_of_images_and_masks_are_no_classes(masks: str, tmp_path: Path) -> None:
    masked(tmp_path / "data")
    for part in ("train", "val"):
        for name in ("images", "masks"):
            shutil.copytree(tmp_path / "data" / name, tmp_path / "parts" / part / (name if name == "images" else masks))
    with pytest.raises(DataError, match="which look like images and their masks, and would be two classes"):
        begun(tmp_path / "parts", tmp_path)


def test_parts_below_images_are_told(tmp_path: Path) -> None:
    masked(tmp_path / "data")
    for name in ("images", "masks"):
        shutil.copytree(tmp_path / "data" / name, tmp_path / "parts" / name / "train")
        shutil.copytree(tmp_path / "data" / name, tmp_path / "parts" / name / "test")
    (tmp_path / "parts" / "classes.txt").write_text("sky\nsea\nsand\n")
    assert any("images/test are training images" in hint for hint in layouts_of(tmp_path / "parts")[0].hints)
    (tmp_path / "parts" / "test.txt").write_text("test/0\n")
    assert layouts_of(tmp_path / "parts")[0].hints == ()


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (2e-6, 0.9999, (0.0, 1.0)),
        (-0.97, 0.2, (-1.0, 1.0)),
        (-3.274, 11.93, (-4.0, 12.0)),
        (0.0, 1834.2, (0.0, 1900.0)),
        (0.0, 255.0, (0.0, 255.0)),
        (3.0, 60_000.0, (0.0, 65535.0)),
        (7.0, 7.0, (7.0, 8.0)),
    ],
)
def test_ranges_of_real_numbers_have_room_for_files_that_were_not_looked_at(
    low: float, high: float, expected: tuple[float, float]
) -> None:
    extent = pixels._Extent(Path("x.npy"), np.dtype(np.float32), 1, low, high)
    assert pixels._range([extent]) == expected


@pytest.mark.parametrize(
    ("dtype", "bands", "highest", "expected"),
    [
        (np.uint8, 5, 255, {"channels": 5}),
        (np.uint16, 1, 4000, {"value_range": [0.0, 4095.0]}),
        (np.uint16, 4, 60000, {"channels": 4, "value_range": [0.0, 65535.0]}),
        (np.uint16, 3, 255, {"value_range": [0.0, 255.0]}),
        (np.float32, 2, 1, {"channels": 2, "value_range": [0.0, 1.0]}),
    ],
)
def test_bands_are_explained(dtype: Any, bands: int, highest: int, expected: dict[str, Any], tmp_path: Path) -> None:
    stream = np.random.default_rng(0)
    for label in ("one", "two"):
        for number in range(2):
            array = (stream.random((8, 8, bands)) * highest).astype(dtype)
            array[0, 0], array[0, 1] = 0, highest
            path = tmp_path / "data" / "labeled" / label / f"{number}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, array)
    _, config = begun(tmp_path / "data", tmp_path)
    found = {key: getattr(config.data, key) for key in ("channels", "value_range")}
    assert {key: value for key, value in found.items() if value is not None} == expected
    assert loaded(config).channels == expected.get("channels", 3)


@pytest.mark.parametrize(("asked", "expected"), [(6, True), (1, False)])
def test_photos_that_ask_to_be_turned_are(asked: int, expected: bool, tmp_path: Path) -> None:
    write_images(tmp_path / "data")
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = asked
    path = sorted((tmp_path / "data").rglob("*.png"))[0]
    with Image.open(path) as image:
        image.save(path, exif=exif)
    found, config = begun(tmp_path / "data", tmp_path)
    assert config.data.exif_orientation is expected
    assert ("EXIF asks for 1 of " in str(found.facts.told)) is expected


def test_nothing_is_turned_under_its_mask(tmp_path: Path) -> None:
    root = masked(tmp_path / "data")
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 3
    path = sorted((root / "images").iterdir())[0]
    with Image.open(path) as image:
        image.save(path, exif=exif)
    assert begun(root, tmp_path)[1].data.exif_orientation is False


def test_files_of_8_and_of_16_bits_are_not_brought_to_one_range(tmp_path: Path) -> None:
    for number in range(4):
        path = tmp_path / "data" / "labeled" / str(number % 2) / f"{number}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, np.full((8, 8), 200 if number else 60000, dtype=np.uint8 if number else np.uint16))
    with pytest.raises(DataError, match=r"2\.npy has 8 bits and .*0\.npy holds uint16, up to 60000: 3 of 4 files"):
        start(tmp_path / "data", timing=False)


def test_files_that_a_table_does_not_name_do_not_count(tmp_path: Path) -> None:
    for number in range(4):
        np.save(tmp_path / f"{number}.npy", np.full((8, 8), 60000, dtype=np.uint16))
        np.save(tmp_path / f"preview{number}.npy", np.full((8, 8), 200, dtype=np.uint8))
    write_table(tmp_path / "t.csv", [{"path": f"{number}.npy", "label": str(number % 2)} for number in range(4)])
    assert begun(tmp_path / "t.csv", tmp_path)[1].data.value_range == [0.0, 65535.0]


def test_why_a_table_is_none_is_said(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("path;label\na.png;cat\n")
    with pytest.raises(DataError, match="has no column `path`; it has path;label"):
        start(tmp_path / "t.csv", timing=False)


@pytest.mark.parametrize("name", ["1e3", "2020", "yes"])
def test_folders_whose_names_look_like_other_values(tmp_path: Path, monkeypatch: Any, name: str) -> None:
    write_images(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    _, config = begun(Path(name), tmp_path)
    assert config.data.root == name


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda root: None, "There is no"),
        (lambda root: root.mkdir(), "It holds no image"),
        (lambda root: save(root / "1.png", photos()[0].pixels), "It holds images without labels: move some of each"),
        (lambda root: save(root / "cats" / "1.png", photos()[0].pixels), "It holds images without labels"),
        (lambda root: write_table(root.with_suffix(".csv"), [{"file": "x"}]), "There is no"),
    ],
)
def test_what_fits_nothing_is_refused_with_every_layout_named(make: Any, words: str, tmp_path: Path) -> None:
    make(tmp_path / "data")
    with pytest.raises(DataError, match=words) as caught:
        start(tmp_path / "data", timing=False)
    if "There is no" not in words:
        assert all(title in str(caught.value) for title in KNOWN)


@pytest.mark.parametrize(
    ("values", "words"), [((0, 255), "hold the value 0 alone, and 255"), ((0,), "hold the value 0 alone")]
)
def test_masks_of_one_value_are_refused(values: tuple[int, ...], words: str, tmp_path: Path) -> None:
    masked(tmp_path, values=values)
    with pytest.raises(DataError, match=words):
        start(tmp_path, timing=False)


def test_a_broken_folder_is_told_with_what_it_was_taken_for(tmp_path: Path) -> None:
    masked(tmp_path)
    (tmp_path / "classes.txt").write_text("sky\nsea\n")
    with pytest.raises(DataError, match=r"looks like images and masks \(there are images and masks.*holds the value 2"):
        start(tmp_path, timing=False)


def test_a_task_can_be_asked_for(tmp_path: Path) -> None:
    masked(tmp_path)
    write_table(tmp_path / "table.csv", [{"path": f"images/{k}.jpg", "label": "ab"[k % 2]} for k in range(4)])
    assert start(tmp_path, timing=False).layout.task == "segmentation"
    assert start(tmp_path, timing=False, task="classification").layout.title == "a table"
    (tmp_path / "table.csv").unlink()
    with pytest.raises(DataError, match="none of the layouts for classification"):
        start(tmp_path, timing=False, task="classification")


HOSTILE = (
    "[bold]x] y", "größe 图像", "a: {b} # c", "- x", "'\"", "null", "yes", "1e3", "~", "%TAG", "x" * 120, "!t", "&a *b",
)  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_names_of_any_kind_are_read_back(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    masked(folder)
    (folder / "classes.txt").write_text(f"sky\n{name}\nsand\n")
    found, config = begun(folder, tmp_path)
    assert config.data.root == str(folder)
    assert config == found.config
    assert loaded(config).class_names[1] == name


def test_a_line_break_in_a_name_does_not_leave_its_comment(tmp_path: Path) -> None:
    folder = tmp_path / "a\nseed: 7\nb"
    masked(folder)
    (folder / "classes.txt").write_text("sky\nsea\nsand\n")
    found = start(folder, timing=False)
    write(found, tmp_path / "dmt.yaml", command=f"dmt init {folder}", force=False)
    config = load_config(tmp_path / "dmt.yaml")
    assert (config.seed, config.data.root) == (0, str(folder))
    lines = (tmp_path / "dmt.yaml").read_text().splitlines()
    assert set(yaml.safe_load("\n".join(lines))) == {entry.key for entry in found.entries}


def test_nothing_is_guessed_of_a_file_that_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "x.json").write_text("[" * 100_000)
    assert layouts_of(tmp_path) == []
