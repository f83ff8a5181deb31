"""A model on a labeled set: its figures, their intervals, and which sets it may be held against."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import dmt
from dmt.config_sections import DataConfig
from dmt.data.catalog import load_dataset
from dmt.data.images import ArrayImages, DataSet
from dmt.errors import CheckpointError, ConfigError, DataError
from dmt.evaluation import LabeledSet, evaluate_on, labeled_set
from dmt.predict import Predictor
from dmt.progress import Silent
from dmt.scores import load_scores
from tiny_folders import write_folder
from trained_runs import train_masks


def evaluated(folder: Path, labeled: LabeledSet | None = None, **settings: Any) -> Any:
    model = dmt.load(folder)
    labeled = labeled or labeled_set(model.description, run=folder)
    return evaluate_on(model, labeled, observer=Silent(), **settings)


@pytest.mark.parametrize("run", ["digits_run", "masks_run"])
def test_a_runs_own_test_part_gives_its_own_figures(run: str, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(run)
    result = json.loads((folder / "result.json").read_text())
    found = evaluated(folder, batch_size=7)
    for name, figure in found.figures.items():
        if name != "ece":
            assert figure.value == pytest.approx(result["final"][name], abs=2e-3), name
    per_class = result["final"].get("per_class_accuracy") or result["final"]["per_class_iou"]
    assert {name: figure.value for name, figure in found.per_class.items()} == pytest.approx(per_class, abs=2e-3)
    scores = load_scores(folder / "rounds/1/a/scores.safetensors")["test"]
    assert np.array_equal(found.confusion, scores.confusion.numpy())
    assert found.num_images == result["num_test"]


def test_very_large_images_are_scored_in_training_as_they_are_evaluated(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("dmt.models.windowed.LARGE_AREA", 16 * 16)
    monkeypatch.setattr("dmt.models.windowed.LARGE_WINDOW", (16, 16))
    folder = train_masks(tmp_path / "run", tmp_path / "data")
    figures = json.loads((folder / "result.json").read_text())["final"]
    assert evaluated(folder).figures["mean_iou"].value == pytest.approx(figures["mean_iou"], abs=2e-3)
    monkeypatch.setattr("dmt.models.windowed.LARGE_AREA", 10**6)
    whole = evaluated(folder).confusion
    monkeypatch.setattr("dmt.models.windowed.LARGE_AREA", 16 * 16)
    assert not np.array_equal(evaluated(folder).confusion, whole)


def test_intervals_hold_the_value_and_repeat(digits_run: Path) -> None:
    first, second, other = (evaluated(digits_run, seed=seed) for seed in (0, 0, 1))
    assert first.as_json() == second.as_json()
    assert first.figures != other.figures
    figures = dict(first.figures)
    error = figures.pop("ece")
    assert (error.low, error.high) == (None, None), "draws of it are biased"
    for figure in (*figures.values(), *first.per_class.values()):
        assert figure.low <= figure.value <= figure.high or figure.value in (0.0, 100.0)
    accuracy = first.figures["accuracy"]
    normal = 1.96 * 100 * np.sqrt(accuracy.value / 100 * (1 - accuracy.value / 100) / 450)
    assert accuracy.high - accuracy.low == pytest.approx(2 * normal, rel=0.15)


def test_the_file_holds_everything(digits_run: Path) -> None:
    told = json.loads(json.dumps(evaluated(digits_run).as_json(), allow_nan=False))
    assert set(told["figures"]) == {"accuracy", "fine_grained_accuracy", "ece"}
    assert np.array(told["confusion"]).shape == (10, 10)
    assert told["num_sites"] == told["num_images"] == 450 == sum(one["num_sites"] for one in told["calibration"])
    assert len(told["calibration"]) == 15
    gaps = [
        one["num_sites"] * abs(one["confidence"] - one["accuracy"]) for one in told["calibration"] if one["num_sites"]
    ]
    assert sum(gaps) / 450 == pytest.approx(told["figures"]["ece"]["value"], abs=1e-3)
    assert told["bootstrap"] == {"resamples": 1000, "level": 0.95, "seed": 0, "over": "images"}
    assert sum(one["num_sites"] for one in told["per_class"].values()) == 450


def test_classes_in_another_order_are_mapped_by_name(digits_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def shuffled(*arguments: Any, **keywords: Any) -> DataSet:
        data = load_dataset(*arguments, **keywords)
        assert isinstance(data.test, ArrayImages)
        order = torch.tensor([3, 1, 4, 0, 5, 9, 2, 6, 8, 7])
        test = ArrayImages(data.test.pixels, order.argsort()[data.test.truth], "test")
        return replace(data, class_names=tuple(str(int(digit)) for digit in order), test=test)

    plain = evaluated(digits_run)
    monkeypatch.setattr("dmt.evaluation.labeled.load_dataset", shuffled)
    mapped = evaluated(digits_run)
    assert mapped.figures == plain.figures
    assert mapped.per_class == plain.per_class
    assert np.array_equal(mapped.confusion, plain.confusion)


def test_other_classes_are_refused(masks_run: Path, tmp_path: Path) -> None:
    write_folder(tmp_path / "other")
    (tmp_path / "other/classes.txt").write_text("left\nmiddle\ntop\n")
    with pytest.raises(ConfigError, match="it lacks right and adds top"):
        labeled_set(dmt.load(masks_run).description, data=str(tmp_path / "other"))


def test_a_folder_of_ones_own(masks_run: Path, tmp_path: Path) -> None:
    write_folder(tmp_path / "other")
    (tmp_path / "other/classes.txt").write_text("right\nleft\nmiddle\n")
    description = dmt.load(masks_run).description
    labeled = labeled_set(description, data=str(tmp_path / "other"))
    assert labeled.title == "folder, part test"
    assert labeled.model_class.tolist() == [2, 0, 1]
    (tmp_path / "other/test.txt").unlink()
    whole = labeled_set(description, data=str(tmp_path / "other"))
    assert (whole.title, len(whole.part)) == ("folder, part train", 4)
    found = evaluated(masks_run, whole)
    assert found.confusion.sum() == sum(len(whole.labels([k]).flatten()) for k in range(4))


def test_a_folder_without_a_list_of_classes_has_the_models(masks_run: Path, tmp_path: Path) -> None:
    write_folder(tmp_path / "other")
    (tmp_path / "other/classes.txt").unlink()
    labeled = labeled_set(dmt.load(masks_run).description, data=str(tmp_path / "other"))
    assert labeled.model_class.tolist() == [0, 1, 2]


def table_of_digits(root: Path) -> Path:
    """One image of each class."""
    for digit in range(10):
        Image.new("L", (20, 20), digit).save(root / f"{digit}.png")
    rows = [f"{digit}.png,{digit}" for digit in range(10)]
    (root / "table.csv").write_text("\n".join(["path,label", *rows]))
    return root / "table.csv"


def saved_digits(root: Path) -> Path:
    datasets = pytest.importorskip("datasets")
    table_of_digits(root)
    names = datasets.ClassLabel(names=[str(digit) for digit in range(10)])
    features = datasets.Features(image=datasets.Image(), label=names)
    images = [{"bytes": (root / f"{digit}.png").read_bytes(), "path": None} for digit in range(10)]
    one = datasets.Dataset.from_dict({"image": images, "label": list(range(10))}, features=features)
    datasets.DatasetDict({"train": one}).save_to_disk(str(root / "saved"))
    return root / "saved"


@pytest.mark.parametrize(("make", "name"), [(table_of_digits, "manifest"), (saved_digits, "huggingface")])
def test_data_of_ones_own_in_another_layout(digits_run: Path, tmp_path: Path, make: Any, name: str) -> None:
    labeled = labeled_set(dmt.load(digits_run).description, data=str(make(tmp_path)))
    assert (labeled.title, len(labeled.part)) == (f"{name}, part train", 10)
    assert labeled.labels(range(10)).tolist() == list(range(10))


def test_data_of_ones_own_as_coco_has_them(masks_run: Path, tmp_path: Path) -> None:
    pytest.importorskip("pycocotools")
    (tmp_path / "images").mkdir()
    Image.new("RGB", (8, 6)).save(tmp_path / "images/a.png")
    shape = {"id": 1, "image_id": 1, "category_id": 2, "iscrowd": 0, "segmentation": [[0, 0, 4, 0, 4, 6, 0, 6]]}
    told = {
        "images": [{"id": 1, "file_name": "a.png", "height": 6, "width": 8}],
        "annotations": [shape],
        "categories": [{"id": 1, "name": "left"}, {"id": 2, "name": "right"}],
    }
    (tmp_path / "annotations.json").write_text(json.dumps(told))
    description = dmt.load(masks_run).description.model_copy(update={"class_names": ("background", "left", "right")})
    labeled = labeled_set(description, data=str(tmp_path))
    assert labeled.title == "coco, part train"
    assert labeled.labels([0])[0, 0].tolist() == [2] * 4 + [0] * 4


def test_ignored_pixels_count_nothing(masks_run: Path) -> None:
    class Ignoring:
        def __len__(self) -> int:
            return 1

        def images(self, positions: Any) -> Tensor:
            return torch.zeros(1, 3, 8, 8, dtype=torch.uint8)

        def labels(self, positions: Any) -> Tensor:
            label = torch.full((1, 8, 8), 255)
            label[0, :2] = 1
            return label

        def size(self, position: int) -> tuple[int, int]:
            return 8, 8

    labeled = LabeledSet(title="x", part=Ignoring(), model_class=torch.tensor([0, 1, 2]))  # type: ignore[arg-type]
    found = evaluated(masks_run, labeled)
    assert found.confusion.sum() == 16
    assert found.per_class["left"].value in (None, 0.0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "Name a labeled set"),
        ({"data": "digit"}, "Did you mean 'digits'"),
        ({"data": "scenes"}, "a data set for segmentation"),
        ({"data": "digits", "part": "validation"}, "no part validation; it has test, train"),
        ({"data": "digits", "overrides": ["seed=1"]}, "'seed=1' is no key of the data section"),
        ({"data": "digits", "overrides": ["data.rot=1"]}, "Did you mean 'root'"),
        ({"data": "digits", "part": "all"}, "allowed are test, validation, train"),
    ],
)
def test_mistakes_in_naming_the_data(digits_run: Path, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        labeled_set(dmt.load(digits_run).description, **arguments)
    assert words in str(caught.value)


def test_a_folder_that_is_called_like_a_data_set_of_ours(digits_run: Path, tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "digits").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"data set of dmt, and also a folder here. Write \./digits"):
        labeled_set(dmt.load(digits_run).description, data="digits")


def test_sets_without_a_label_or_of_other_channels(digits_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    description = dmt.load(digits_run).description
    pixels, truth = torch.zeros(4, 1, 16, 16, dtype=torch.uint8), torch.full((4,), -1)
    names = tuple("0123456789")
    bare = ArrayImages(pixels, truth, "test")
    data = DataSet(name="bare", class_names=names, train=bare, test=bare, mean=(0.5,), std=(0.5,))
    monkeypatch.setattr("dmt.evaluation.labeled.load_dataset", lambda *_, **__: data)
    with pytest.raises(DataError, match="No label is known of any image"):
        labeled_set(description, data="digits")
    colors = replace(data, mean=(0.5,) * 3, std=(0.5,) * 3)
    monkeypatch.setattr("dmt.evaluation.labeled.load_dataset", lambda *_, **__: colors)
    with pytest.raises(ConfigError, match="3 channels; the model was trained on 1"):
        labeled_set(description, data="digits")


@pytest.mark.parametrize(
    ("data", "overrides", "expected"),
    [("photos", [], True), ("photos", ["data.exif_orientation=false"], False), ("digits", [], False)],
)
def test_ones_own_photos_are_turned_as_in_training_unless_told_otherwise(
    digits_run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, data: str, overrides: list[str], expected: bool
) -> None:
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path)
    asked: list[DataConfig] = []

    def recorded(config: DataConfig, **_: Any) -> DataSet:
        asked.append(config)
        raise DataError("far enough")

    monkeypatch.setattr("dmt.evaluation.labeled.load_dataset", recorded)
    description = dmt.load(digits_run).description
    turned = description.input.model_copy(update={"exif_orientation": True})
    with pytest.raises(DataError, match="far enough"):
        labeled_set(description.model_copy(update={"input": turned}), data=data, overrides=overrides)
    assert [config.exif_orientation for config in asked] == [expected]


def test_images_get_the_models_size_unless_told_otherwise(digits_run: Path) -> None:
    description = dmt.load(digits_run).description
    assert labeled_set(description, data="digits").part.size(0) == (16, 16)
    assert labeled_set(description, data="digits", overrides=["data.image_size=[8, 8]"]).part.size(0) == (8, 8)


def test_a_network_that_gives_nan_is_told(digits_run: Path) -> None:
    class Broken(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return torch.full((len(images), 10), torch.nan)

    model = dmt.load(digits_run)
    broken = Predictor(description=model.description, what="", network=Broken(), engine=model.engine)
    with pytest.raises(CheckpointError, match="NaN or infinite values for test/00000"):
        evaluate_on(broken, labeled_set(model.description, data="digits"), observer=Silent())
