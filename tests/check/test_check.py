"""A check of sets without a fault, and of the same with one planted."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image

from check.tiny_sets import COUNTS, SIZE, class_folders, masked, picture, save
from data.tiny_photos import write_table
from dmt.check import check
from dmt.check.report import Report

Plant = Callable[[Path], object]


def found(report: Report) -> dict[str, tuple[str, int]]:
    """Level and count of each code."""
    return {finding.code: (finding.level, finding.count) for finding in report.findings.all()}


def messages(report: Report, code: str) -> list[str]:
    return next(finding.messages for finding in report.findings.all() if finding.code == code)


def test_nothing_is_found_in_class_folders_without_a_fault(tmp_path: Path) -> None:
    report = check(str(class_folders(tmp_path)))
    assert found(report) == {}
    assert report.is_fit
    assert {part: place.num_images for part, place in report.places.items()} == {
        "labeled": 6, "unlabeled": 5, "validation": 6, "test": 6,
    }  # fmt: skip
    assert report.places["labeled"].counts.tolist() == [3, 3]
    assert report.places["labeled"].sizes == {SIZE: 6}
    assert report.places["test"].modes == {"RGB": 6}
    assert report.estimate is not None
    assert report.estimate.steps == 40 + 2 * 20


def test_nothing_is_found_in_masks_without_a_fault(tmp_path: Path) -> None:
    report = check(str(masked(tmp_path)))
    assert found(report) == {"network-warning": ("warning", 1)} or found(report) == {}
    assert {part: place.num_images for part, place in report.places.items()} == {
        "labeled": 4, "unlabeled": 2, "test": 1,
    }  # fmt: skip
    counts = report.places["labeled"].counts
    assert counts.sum() == 2 * SIZE[0] * SIZE[1] + 2 * SIZE[0] * (SIZE[1] - 8)
    assert counts.max() - counts.min() <= 8
    assert report.estimate is not None
    # The baseline, both networks on their samples, and a round of both.
    assert report.estimate.steps == 3 * 40 + 2 * 20
    assert set(report.estimate.measured.seconds_a_step) == {
        "supervised a", "supervised b", "pseudo-labeled a", "pseudo-labeled b",
    }  # fmt: skip


def test_folds_are_cut_as_a_run_cuts_them() -> None:
    settings = ["validation.source=cross_validation", "validation.num_folds=30"]
    (message,) = messages(check("digits-20", settings, sample=20, timing=False), "config")
    assert "validation.num_folds is 30; of 20 labels" in message
    settings = ["validation.source=cross_validation", "scheme=mutual", "rounds.dms_share=0.06"]
    (message,) = messages(check("digits-20", settings, sample=20, timing=False), "config")
    assert "of 10 labeled images, that leaves none to start from" in message


def test_images_are_left_in_while_steps_are_measured() -> None:
    """After a few steps two networks differ on everything: all would be strangers."""
    settings = ["scheme=mutual", "rounds.strangers=leave_out", "seed=2"]
    assert check("digits-20", settings, sample=20).is_fit


def test_no_file_is_written_and_none_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = class_folders(tmp_path)
    monkeypatch.chdir(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    check(str(config))
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


def on_its_side(path: Path) -> None:
    with Image.open(path) as image:
        exif = image.getexif()
        exif[ExifTags.Base.Orientation] = 6
        image.save(path, exif=exif)


def gray(path: Path) -> None:
    Image.open(path).convert("L").save(path)


PLANTED: dict[str, tuple[Plant, list[str], dict[str, tuple[str, int]]]] = {
    "damaged files": (
        lambda root: [cut_off(root / name) for name in ("unlabeled/1.png", "unlabeled/3.png", "test/cat/0.png")],
        [],
        {"unreadable-image": ("error", 3)},
    ),
    "damaged files that are allowed": (
        lambda root: cut_off(root / "unlabeled/1.png"),
        ["data.max_unreadable=1"],
        {"unreadable-image": ("warning", 1)},
    ),
    "more damaged files than are allowed": (
        lambda root: [cut_off(root / f"unlabeled/{k}.png") for k in (1, 2)],
        ["data.max_unreadable=1"],
        {"unreadable-image": ("warning", 2), "too-many-unreadable": ("error", 1)},
    ),
    "a labeled image in the test part": (
        lambda root: shutil.copy(root / "labeled/cat/0.png", root / "test/cat/copy.png"),
        [],
        {"leak": ("error", 1)},
    ),
    "a labeled image among those for choices, as another file": (
        lambda root: save(Image.open(root / "labeled/cat/0.png"), root / "validation/cat/copy.bmp"),
        [],
        {"leak": ("error", 1)},
    ),
    "a labeled image among those for choices, as a JPEG": (
        lambda root: save(Image.open(root / "labeled/cat/0.png"), root / "validation/cat/copy.jpg", quality=80),
        [],
        {"look-alikes": ("warning", 1)},
    ),
    "one picture for choices and for figures": (
        lambda root: shutil.copy(root / "validation/dog/0.png", root / "test/dog/copy.png"),
        [],
        {"leak": ("error", 1)},
    ),
    "an unlabeled image in the test part": (
        lambda root: shutil.copy(root / "unlabeled/0.png", root / "test/cat/copy.png"),
        [],
        {"leak-unlabeled": ("warning", 1)},
    ),
    "a labeled image among the unlabeled ones": (
        lambda root: shutil.copy(root / "labeled/cat/0.png", root / "unlabeled/copy.png"),
        [],
        {"labeled-and-unlabeled": ("note", 1)},
    ),
    "a labeled image among the unlabeled ones, as a JPEG": (
        lambda root: save(Image.open(root / "labeled/cat/0.png"), root / "unlabeled/copy.jpg", quality=80),
        [],
        {"look-alikes-unlabeled": ("note", 1)},
    ),
    "one picture with two labels": (
        lambda root: shutil.copy(root / "labeled/cat/0.png", root / "labeled/dog/copy.png"),
        [],
        {"two-labels": ("error", 1)},
    ),
    "an unlabeled image three times": (
        lambda root: [shutil.copy(root / "unlabeled/0.png", root / f"unlabeled/copy{k}.png") for k in (1, 2)],
        [],
        {"repeated-unlabeled": ("note", 2)},
    ),
    "a class with many more labels": (
        lambda root: [save(picture(100 + k), root / f"labeled/cat/more{k}.png") for k in range(27)],
        [],
        {"imbalance": ("warning", 1)},
    ),
    "rare classes that are weighed up": (
        lambda root: [save(picture(100 + k), root / f"labeled/cat/more{k}.png") for k in range(27)],
        ["loss.class_balance=0.5"],
        {},
    ),
    "a class with one label": (
        lambda root: [(root / f"labeled/dog/{k}.png").unlink() for k in (1, 2)],
        [],
        {"few-labels": ("note", 1)},
    ),
    "a class that no test image shows": (
        lambda root: shutil.rmtree(root / "test/dog"),
        [],
        {"class-not-in-test": ("note", 1)},
    ),
    "images of other sizes": (
        lambda root: [save(picture(100 + k, (30, 30 + k)), root / f"unlabeled/more{k}.png") for k in range(3)],
        [],
        {"several-sizes": ("error", 3)},
    ),
    "images of other sizes that are resized": (
        lambda root: [save(picture(100 + k, (30, 30 + k)), root / f"unlabeled/more{k}.png") for k in range(3)],
        ["data.image_size=[32, 40]"],
        {},
    ),
    "images that are bent": (
        lambda root: save(picture(100, (20, 90)), root / "unlabeled/more.png"),
        ["data.image_size=[40, 40]"],
        {"bent": ("note", 1)},
    ),
    "a gray image": (lambda root: gray(root / "unlabeled/0.png"), [], {"several-modes": ("note", 1)}),
    "a TIFF that asks to be turned": (
        lambda root: tifffile.imwrite(
            root / "unlabeled/9.tif",
            np.zeros((44, 56, 3), np.uint8),
            photometric="rgb",
            extratags=[(274, "H", 1, 6, True)],
        ),
        [],
        {"rotated": ("note", 1)},
    ),
    "a photo on its side": (lambda root: on_its_side(root / "unlabeled/0.png"), [], {"rotated": ("note", 1)}),
    "a photo on its side that is turned": (
        lambda root: on_its_side(root / "unlabeled/0.png"),
        ["data.exif_orientation=true", "data.image_size=[8, 8]"],
        {},
    ),
    "an unlabeled image left": (lambda root: shutil.rmtree(root / "unlabeled"), [], {"data-warning": ("warning", 1)}),
    "too many labels asked for": (lambda _: None, ["data.num_labeled=999"], {"data": ("error", 1)}),
    "an unknown network": (lambda _: None, ["networks.a.name=smal_cnn"], {"network": ("error", 1)}),
    "weights that are not there": (lambda _: None, ["networks.a.weights=x.safetensors"], {"network": ("error", 1)}),
    "an unknown method": (lambda _: None, ["method=dtm"], {"config": ("error", 1)}),
    "an unknown key": (lambda _: None, ["sed=1"], {"config": ("error", 1)}),
    "a key without effect": (lambda _: None, ["crop.cutmix=0.5"], {"no-effect": ("warning", 1)}),
}


@pytest.mark.parametrize("case", PLANTED)
def test_what_is_planted_in_class_folders_is_found(case: str, tmp_path: Path) -> None:
    plant, changes, expected = PLANTED[case]
    config = class_folders(tmp_path)
    plant(tmp_path / "data")
    report = check(str(config), changes, timing="allowed" in case)
    assert found(report) == expected
    assert report.is_fit == all(level != "error" for level, _ in expected.values())
    assert (report.estimate is not None) == (case == "damaged files that are allowed")


def test_both_pictures_and_the_reason_are_named(tmp_path: Path) -> None:
    config = class_folders(tmp_path)
    shutil.copy(tmp_path / "data/labeled/cat/0.png", tmp_path / "data/labeled/dog/copy.png")
    (message,) = messages(check(str(config), timing=False), "two-labels")
    assert "labeled/cat/0.png (cat) and labeled/dog/copy.png (dog)" in message


@pytest.mark.parametrize("timing", [True, False])
def test_a_network_of_one_size_is_tried_at_the_sizes_of_all_views(tmp_path: Path, timing: bool) -> None:
    one_size = ["data.image_size=[32, 32]", "networks.a={name: timm:test_vit, options: {img_size: 32}}"]
    report = check(str(class_folders(tmp_path)), [*one_size, "rounds.label_views=multiscale"], timing=timing)
    assert found(report) == {"network": ("error", 1)}
    assert "24x24 pixels, as rounds.label_views=multiscale asks for" in messages(report, "network")[0]


def wrong_values(root: Path, *numbers: int) -> None:
    for number in numbers:
        path = root / "masks" / f"{number}.png"
        mask = np.array(Image.open(path))
        mask[:2] = 77
        Image.fromarray(mask).save(path)


def ignored(root: Path, number: int) -> None:
    path = root / "masks" / f"{number}.png"
    Image.fromarray(np.full_like(np.array(Image.open(path)), 255)).save(path)


def other_size(root: Path) -> None:
    save(Image.fromarray(np.zeros((9, 9), dtype=np.uint8)), root / "masks" / "2.png")


def copy_with_another_mask(root: Path) -> None:
    shutil.copy(root / "images/0.png", root / "images/copy.png")
    mask = np.array(Image.open(root / "masks/0.png"))
    Image.fromarray(mask[::-1].copy()).save(root / "masks/copy.png")


def unlabeled_with_a_wrong_mask(root: Path) -> None:
    """True masks of unlabeled images are nobody's business before the run is over."""
    (root / "labeled.txt").write_text("0\n1\n2\n")
    wrong_values(root, 3)


PLANTED_MASKS: dict[str, tuple[Plant, dict[str, tuple[str, int]]]] = {
    "unknown values in three masks": (lambda root: wrong_values(root, 0, 2, 4), {"bad-mask": ("error", 3)}),
    "values, a size and a damaged image at once": (
        lambda root: (wrong_values(root, 0, 1), other_size(root), cut_off(root / "images/5.png")),
        {"bad-mask": ("error", 2), "mask-size": ("error", 1), "unreadable-image": ("error", 1)},
    ),
    "a mask that ignores everything": (lambda root: ignored(root, 0), {"empty-mask": ("note", 1)}),
    "a class without a pixel": (
        lambda root: (root / "classes.txt").write_text("sky\nsea\nsand\nsun\n"),
        {"class-without-label": ("warning", 1), "class-not-in-test": ("note", 1)},
    ),
    "one picture with two masks": (copy_with_another_mask, {"two-masks": ("warning", 1)}),
    "a wrong mask of an unlabeled image": (unlabeled_with_a_wrong_mask, {}),
    "a labeled image in the test part": (
        lambda root: (
            shutil.copy(root / "images/0.png", root / "images/copy.png"),
            shutil.copy(root / "masks/0.png", root / "masks/copy.png"),
            (root / "test.txt").write_text("4\ncopy\n"),
        ),
        {"leak": ("error", 1)},
    ),
    "a list that names nothing": (lambda root: (root / "test.txt").write_text("17\n"), {"data": ("error", 1)}),
}


@pytest.mark.parametrize("case", PLANTED_MASKS)
def test_what_is_planted_in_masks_is_found(case: str, tmp_path: Path) -> None:
    plant, expected = PLANTED_MASKS[case]
    config = masked(tmp_path)
    plant(tmp_path / "data")
    assert found(check(str(config), timing=False)) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (["rounds.top_fractions=[0.5,1.0]"], {"balance-grows": ("note", 1)}),
        (["rounds.top_fractions=[1.0]"], {}),
        (["rounds.top_fractions=[0.5,1.0]", "method=supervised"], {}),
    ],
)
def test_rare_classes_that_grow_from_round_to_round_are_told_of(
    changes: list[str], expected: dict[str, tuple[str, int]], tmp_path: Path
) -> None:
    report = check(str(masked(tmp_path)), ["loss.class_balance=0.5", *changes], timing=False)
    assert {code: one for code, one in found(report).items() if code != "no-effect"} == expected


def test_advice_for_rare_pixels_names_the_rounds_that_it_goes_with(tmp_path: Path) -> None:
    config = masked(tmp_path)
    for number in range(7):
        path = tmp_path / "data" / "masks" / f"{number}.png"
        if path.is_file():
            mask = np.zeros_like(np.array(Image.open(path)))
            mask[0, :3] = [0, 1, 2]
            Image.fromarray(mask).save(path)
    (many,) = messages(check(str(config), ["rounds.top_fractions=[0.5,1.0]"], timing=False), "imbalance")
    (one,) = messages(check(str(config), ["rounds.top_fractions=[1.0]"], timing=False), "imbalance")
    assert "one round on all pixels" in many
    assert one.endswith("makes rare classes count more.")


@pytest.mark.parametrize("timing", [False, True])
def test_an_unknown_augmentation_is_an_error_whether_steps_are_measured_or_not(tmp_path: Path, timing: bool) -> None:
    report = check(str(class_folders(tmp_path)), ["augment=cifar-10"], timing=timing)
    (message,) = messages(report, "config")
    assert "cifar-10" in message
    assert not report.is_fit


def test_every_wrong_row_of_a_table_is_found_at_once(tmp_path: Path) -> None:
    config = class_folders(tmp_path)
    names = sorted((tmp_path / "data").rglob("*.png"))
    rows = [
        {
            "path": path.relative_to(tmp_path / "data").as_posix(),
            "label": "" if path.parent.name == "unlabeled" else path.parent.name,
            "split": path.parts[-3] if path.parts[-3] in ("validation", "test") else "",
        }
        for path in names
    ]
    rows += [{"path": "gone/1.png", "label": "", "split": ""}, {"path": "gone/2.png", "label": "", "split": ""}]
    rows += [{"path": rows[0]["path"], "label": "", "split": ""}, {"path": "", "label": "cat", "split": ""}]
    rows[1] |= {"split": "tset"}
    write_table(tmp_path / "data" / "table.csv", rows)
    changes = ["data.name=manifest", f"data.root={tmp_path / 'data' / 'table.csv'}"]
    report = check(str(config), changes, timing=False)
    expected = {"missing-file": 2, "named-twice": 1, "empty-path": 1, "unknown-split": 1}
    codes = found(report)
    assert {code: codes[code] for code in expected} == {code: ("error", count) for code, count in expected.items()}
    # The same missing files are not told again as images that cannot be read.
    assert codes.get("unreadable-image", ("error", 0))[1] <= 1


def test_a_sample_is_looked_at_where_that_is_asked_for(tmp_path: Path) -> None:
    report = check(str(class_folders(tmp_path)), sample=2, timing=False)
    assert [len(place.indices) for place in report.places.values()] == [2, 2, 2, 2]
    assert report.places["unlabeled"].num_images == COUNTS["unlabeled"]
    assert report.as_json()["parts"]["labeled"]["looked_at"] == 2
    assert report.places["labeled"].counts.tolist() == [3, 3]
    assert found(report) == {}


def test_a_full_disk_is_told_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = class_folders(tmp_path)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("dmt.check.story.shutil.disk_usage", lambda _: usage._replace(free=1000))
    report = check(str(config), run_dir=tmp_path)
    assert found(report) == {"disk": ("warning", 1)}


def test_names_of_any_kind_are_told_as_they_are(tmp_path: Path) -> None:
    config = class_folders(tmp_path)
    name = "[bold]ein Bild] ü 图像 " + "x" * 150
    (tmp_path / "data/labeled/cat/0.png").rename(tmp_path / f"data/labeled/cat/{name}.png")
    shutil.copy(tmp_path / f"data/labeled/cat/{name}.png", tmp_path / "data/test/cat/copy.png")
    (message,) = messages(check(str(config), timing=False), "leak")
    assert message.startswith(f"labeled/cat/{name}.png (labeled)")
