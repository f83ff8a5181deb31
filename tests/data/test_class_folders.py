"""Class folders and tables: what they may hold, and what is said of what they may not."""

import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from data.tiny_photos import CLASSES, photos, png, rows, write_images, write_table
from dmt.config_files import load_config
from dmt.data.catalog import load_dataset
from dmt.data.images import DataSet
from dmt.errors import ConfigError, DataError


def load(root: Path, name: str = "folder", **changes: Any) -> DataSet:
    data = {"name": name, "root": str(root), **changes}
    return load_dataset(load_config({"task": "classification", "data": data}).data, task="classification")


def save(path: Path, size: tuple[int, int] = (4, 4)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)).save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_images(tmp_path)
    return tmp_path


def test_folders_that_hold_no_image_are_in_nobodys_way(folder: Path) -> None:
    (folder / "training").mkdir()
    (folder / "training" / "log.txt").touch()
    assert load(folder).class_names == CLASSES


def test_a_class_folder_without_an_image_is_told(folder: Path) -> None:
    (folder / "labeled" / "bird" / "old").mkdir(parents=True)
    (folder / "labeled" / "bird" / "notes.txt").touch()
    with pytest.warns(UserWarning, match=r"labeled has folders without an image, which are left out: bird\."):
        assert load(folder).class_names == CLASSES


def test_a_part_that_the_disk_finds_by_either_case(folder: Path) -> None:
    expected = len(load(folder).train)
    (folder / "unlabeled").rename(folder / "Unlabeled")
    (folder / "unlabeled").symlink_to(folder / "Unlabeled")
    assert len(load(folder).train) == expected


def test_a_class_may_be_called_like_a_part(tmp_path: Path) -> None:
    for label in ("Test", "cat"):
        save(tmp_path / label / "0.png")
    assert load(tmp_path).class_names == ("Test", "cat")


def test_train_and_val_are_other_words(folder: Path) -> None:
    (folder / "labeled").rename(folder / "train")
    (folder / "test").rename(folder / "val")
    data = load(folder)
    assert data.test is None
    assert data.validation is not None
    assert data.validation.key(0) == "val/eight/00.png"
    assert data.train.key(0) == "train/eight/00.png"


def test_names_of_any_kind(folder: Path) -> None:
    for name in ("ein Bild.png", "图像.PNG", "x" * 200 + ".png", "a,b;'\".png"):
        save(folder / "unlabeled" / "tief er" / name)
    (folder / "labeled" / "one").rename(folder / "labeled" / "größe 1")
    (folder / "test" / "one").rename(folder / "test" / "größe 1")
    data = load(folder, image_size=[8, 8])
    assert data.class_names == ("eight", "größe 1", "zero")
    assert "unlabeled/tief er/图像.PNG" in [data.train.key(index) for index in range(len(data.train))]
    assert data.train.images(range(len(data.train))).shape[1:] == (3, 8, 8)


def test_images_outside_of_the_folders_are_told(folder: Path) -> None:
    before = load(folder)
    save(folder / "loose.png", (8, 8))
    save(folder / "more" / "x.png", (8, 8))
    with pytest.warns(UserWarning, match=r"2 images are left out, for instance .*loose\.png"):
        assert len(load(folder).train) == len(before.train)


def test_links_that_lead_nowhere_are_told(folder: Path) -> None:
    (folder / "labeled" / "zero" / "gone.png").symlink_to(folder / "gone.png")
    with pytest.warns(UserWarning, match=r"1 links lead nowhere and are left out, for instance .*gone\.png"):
        load(folder)


def test_links_in_a_circle_end(folder: Path) -> None:
    before = len(load(folder).train)
    (folder / "unlabeled" / "again").symlink_to(folder / "unlabeled", target_is_directory=True)
    (folder / "unlabeled" / "nowhere.png").symlink_to(folder / "gone.png")
    assert len(load(folder).train) == before


def test_linked_folders_are_followed(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    save(elsewhere / "x.png", (8, 8))
    (folder / "unlabeled" / "more").symlink_to(elsewhere, target_is_directory=True)
    data = load(folder)
    assert data.train.key(len(data.train) - 25 + 0).startswith("unlabeled/")
    assert "unlabeled/more/x.png" in [data.train.key(index) for index in range(len(data.train))]


def test_classes_that_are_numbers_are_in_their_order(tmp_path: Path) -> None:
    for number in (10, 9, 1):
        save(tmp_path / "labeled" / str(number) / "x.png")
    assert load(tmp_path).class_names == ("1", "9", "10")


def test_a_channel_without_variation_is_no_hindrance(tmp_path: Path) -> None:
    for number, label in enumerate(["cat", "dog"]):
        bands = np.random.default_rng(number).integers(0, 256, (6, 6, 4), dtype=np.uint8)
        bands[..., 2] = 7
        (tmp_path / "labeled" / label).mkdir(parents=True)
        np.save(tmp_path / "labeled" / label / "x.npy", bands)
    data = load(tmp_path, channels=4)
    assert data.std[2] == 1.0
    assert data.mean[2] == pytest.approx(7 / 255)


def test_statistics_are_those_of_the_training_images(folder: Path) -> None:
    data = load(folder)
    pixels = np.stack([one.pixels for one in photos() if one.part != "test"]) / 255
    assert data.mean == pytest.approx(pixels.mean((0, 1, 2)))
    assert data.std == pytest.approx(pixels.std((0, 1, 2)))


def test_a_list_of_test_images(folder: Path) -> None:
    (folder / "some.txt").write_text("labeled/one/00.png\nlabeled/zero/01.png\n")
    with pytest.warns(UserWarning, match="12 others of the test part of .* are left out"):
        data = load(folder, test="some.txt")
    assert data.test is not None
    assert [data.test.key(index) for index in range(2)] == ["labeled/one/00.png", "labeled/zero/01.png"]
    assert len(data.train) == len(photos()) - 2 - 12


def remove_class(root: Path) -> None:
    for name in ("eight", "one"):
        for part in ("labeled", "test"):
            for path in (root / part / name).iterdir():
                path.unlink()


BROKEN: dict[str, tuple[Callable[[Path], Any], dict[str, Any], str]] = {
    "no class folders": (lambda root: (root / "labeled").rename(root / "other"), {}, "holds no folder `labeled`"),
    "a part in capitals": (
        lambda root: (root / "unlabeled").rename(root / "Unlabeled"),
        {},
        "images in .*Unlabeled would be left out: parts are named .* Put them into .*unlabeled",
    ),
    "a part by another name": (
        lambda root: save(root / "valid" / "one" / "x.png", (8, 8)),
        {},
        "images in .*valid would be left out: .* Put them into .*validation",
    ),
    "parts in capitals alone": (
        lambda root: [(root / name).rename(root / name.title()) for name in ("labeled", "unlabeled", "test")],
        {},
        "Labeled and .*Unlabeled would be classes: .* Call them labeled and test and unlabeled, or",
    ),
    "images and labels": (
        lambda root: [(root / "labeled").rename(root / "images"), (root / "unlabeled").rename(root / "labels")],
        {},
        "holds images and labels, which look like images and their masks",
    ),
    "one class": (remove_class, {}, r"holds one class \(zero\); a classifier needs"),
    "beside the classes": (lambda root: save(root / "labeled" / "x.png"), {}, "lies beside the class folders"),
    "two words": (lambda root: (root / "train").mkdir(), {}, "and train, which mean the same"),
    "class of test alone": (
        lambda root: save(root / "test" / "two" / "x.png", (8, 8)),
        {},
        "no training image is labeled 'two'",
    ),
    "other classes": (
        lambda root: None,
        {"class_names": ["one", "zero"]},
        "eight/00.png: the label 'eight' is no class",
    ),
    "class twice": (lambda root: None, {"class_names": ["one", "one"]}, "names 'one' twice"),
    "class without images": (
        lambda root: None,
        {"class_names": [*CLASSES, "two"]},
        "no training image is labeled 'two'",
    ),
    "two sizes": (
        lambda root: save(root / "unlabeled" / "x.png", (9, 8)),
        {},
        r"x\.png is 8 x 9 .* but .*00\.png is 8 x 8\. Set data\.image_size",
    ),
    "another size of the test images": (
        lambda root: [save(path, (9, 9)) for path in (root / "test").rglob("*.png")],
        {},
        r"test.*\.png is 9 x 9 .* but .*00\.png is 8 x 8\. Set data\.image_size",
    ),
    "a name that is no UTF-8": (
        lambda root: (root / "unlabeled" / "o00.png").rename(
            os.fsdecode(os.fsencode(root) + b"/unlabeled/caf\xe9.png")
        ),
        {},
        r"The name of unlabeled/caf\\udce9\.png is no UTF-8 text; rename the file",
    ),
    "all damaged": (
        lambda root: [path.write_bytes(b"no") for path in root.rglob("*.png")],
        {"image_size": [8, 8]},
        "None of the images can be read: .*png cannot be read: it is empty, damaged",
    ),
    "nothing labeled": (
        lambda root: [path.unlink() for path in (root / "labeled").rglob("*.png")],
        {},
        "holds no labeled training image",
    ),
    "range": (lambda root: None, {"value_range": [1.0, 1.0]}, "the lower value comes first"),
    "unlabeled test": (
        lambda root: (root / "t.txt").write_text("unlabeled/o00.png\n"),
        {"test": "t.txt"},
        "o00.png is in the test part but has no label",
    ),
    "overlapping lists": (
        lambda root: (root / "t.txt").write_text("labeled/one/00.png\n"),
        {"test": "t.txt", "validation": "t.txt"},
        "is in data.validation and in data.test",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_wrong_with_a_folder_is_said(case: str, folder: Path) -> None:
    change, settings, message = BROKEN[case]
    change(folder)
    with pytest.raises((DataError, ConfigError), match=message):
        load(folder, **settings)


def table(root: Path, change: Callable[[list[dict[str, str]]], Any] | None = None, suffix: str = ".csv") -> Path:
    found = rows()
    if change is not None:
        change(found)
    write_table(root / f"table{suffix}", found)
    return root / f"table{suffix}"


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_rows_that_windows_wrote(folder: Path, suffix: str) -> None:
    def change(found: list[dict[str, str]]) -> None:
        for row in found:
            row["path"] = row["path"].replace("/", "\\")

    data = load(table(folder, change, suffix), "manifest")
    assert data.train.key(0) == "labeled/eight/00.png"


def test_a_mark_at_the_start_quotes_and_further_columns(folder: Path) -> None:
    lines = ["Path,note,Label"] + [f'{row["path"]},"a, b",{row["label"]}' for row in rows()]
    (folder / "t.csv").write_text("\n".join(lines), encoding="utf-8-sig")
    data = load(folder / "t.csv", "manifest")
    assert data.class_names == CLASSES
    assert data.test is None


def test_whole_numbers_of_a_column_with_gaps(folder: Path) -> None:
    found = rows()
    labels = [float(CLASSES.index(row["label"])) if row["label"] else None for row in found]
    columns = {"path": [row["path"] for row in found], "label": pa.array(labels, pa.float64())}
    parquet.write_table(pa.table(columns), folder / "t.parquet")
    assert load(folder / "t.parquet", "manifest").class_names == ("0", "1", "2")


def test_files_outside_where_that_is_allowed(folder: Path) -> None:
    inner = folder / "tables"
    inner.mkdir()
    found = rows()
    for row in found:
        row["path"] = f"../{row['path']}"
    write_table(inner / "t.csv", found)
    with pytest.raises(DataError, match=r"t\.csv, row 2: '\.\./labeled/eight/00\.png' leads outside"):
        load(inner / "t.csv", "manifest")
    assert len(load(inner / "t.csv", "manifest", allow_outside=True).train) > 0


def put(index: int, **values: str) -> Callable[[list[dict[str, str]]], Any]:
    return lambda found: found[index].update(values)


def test_absolute_paths_into_the_tables_folder_are_those_relative_to_it(folder: Path) -> None:
    def change(found: list[dict[str, str]]) -> None:
        for row in found:
            row["path"] = str(folder / row["path"])

    assert load(table(folder, change), "manifest").train.key(0) == "labeled/eight/00.png"
    # Where they were allowed before, split files hold them as they are.
    data = load(table(folder, change), "manifest", allow_outside=True)
    assert data.train.key(0) == str(folder / "labeled/eight/00.png")


def test_rows_of_commas_at_the_end_count_nothing(folder: Path) -> None:
    file = table(folder)
    expected = len(load(file, "manifest").train)
    file.write_text(file.read_text() + ",,\n,,\n")
    assert len(load(file, "manifest").train) == expected


@pytest.mark.parametrize("word", ["-1", "NA", "nan"])
def test_words_for_no_label_are_told(folder: Path, word: str) -> None:
    with pytest.warns(UserWarning, match=f"has rows with the label '{word}', which is a class like any other"):
        data = load(table(folder, put(3, label=word)), "manifest")
    assert word in data.class_names


BROKEN_TABLES: dict[str, tuple[Callable[[list[dict[str, str]]], Any], str]] = {
    "no file": (put(3, path="gone.png"), r"row 5: there is no file .*gone\.png"),
    "a folder": (put(3, path="labeled"), r"row 5: there is no file .*labeled"),
    "empty path": (put(3, path=" "), "row 5: the column `path` is empty"),
    "absolute path": (put(0, path="/etc/passwd"), "row 2: '/etc/passwd' leads outside"),
    "drive": (put(0, path="C:\\x.png"), "row 2: there is no file"),
    "split": (put(2, split="tset"), "row 4: `split` is 'tset'; allowed are train, validation, test"),
    "twice": (lambda found: found.append(dict(found[1])), r"row \d+ names 'labeled/eight/01\.png', as .*row 3 does"),
    "unlabeled test": (put(10, label=""), "is in the test part but has no label"),
    "no labels": (lambda found: [row.update(label="") for row in found], "holds no label"),
    "no path": (lambda found: [row.pop("path") for row in found], "has no column `path`; it has label, split"),
}


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("case", BROKEN_TABLES)
def test_what_is_wrong_with_a_table_is_said(case: str, suffix: str, folder: Path) -> None:
    change, message = BROKEN_TABLES[case]
    file = table(folder, change, suffix)
    if suffix == ".parquet":  # which has no line of column names
        message = message.replace("row 5", "row 4").replace("row 4:", "row [34]:").replace("row 2", "row 1")
        message = message.replace("row 3 does", "row 2 does")
    with pytest.raises(DataError, match=message) as caught:
        load(file, "manifest")
    assert "table" in str(caught.value) or "test part" in str(caught.value)


@pytest.mark.parametrize("other", ["./labeled/eight/00.png", "labeled//eight/00.png", "labeled/one/../eight/00.png"])
def test_one_image_under_two_spellings(folder: Path, other: str) -> None:
    def change(found: list[dict[str, str]]) -> None:
        found.append({"path": other, "label": "eight", "split": "test"})

    with pytest.raises(DataError, match=r"names 'labeled/eight/00\.png', as .*row 2 does|leads outside"):
        load(table(folder, change), "manifest")


def test_labels_that_look_like_dates(folder: Path) -> None:
    days = {"eight": "2020-01-01", "one": "2020-01-02", "zero": "2021-03-04", "": None}
    lines = [json.dumps({"path": row["path"], "label": days[row["label"]]}) for row in rows()]
    (folder / "t.jsonl").write_text("\n".join(lines))
    assert load(folder / "t.jsonl", "manifest").class_names == ("2020-01-01", "2020-01-02", "2021-03-04")


BROKEN_FILES = {
    "twice.csv": (b"path,label,label\na.png,b,c\n", "has the column `label` twice"),
    "both.csv": (b"path,Path,label\na.png,b,c\n", "has the column `path` twice"),
    "zero.jsonl": (b'{"path": "a\\u0000b/0.png", "label": "a"}\n', "there is no file"),
    "x.csv": (b"path,label\na.png\n", "Expected 2 columns, got 1"),
    "y.csv": (b"path,label\n\xff\xfe,b\n", "cannot be read as a table"),
    "empty.csv": (b"", "cannot be read as a table"),
    "x.jsonl": (b'{"path": "a"}\n{"path": \n', "cannot be read as a table"),
    "list.jsonl": (b'{"path": ["a"], "label": "x"}\n', "the column `path` holds list"),
    "x.parquet": (b"PAR1 nothing PAR1", "cannot be read as a table"),
    "x.xlsx": (b"", r"ends in \.csv, \.tsv, \.jsonl, \.parquet"),
}


@pytest.mark.parametrize("name", BROKEN_FILES)
def test_tables_that_cannot_be_read(name: str, tmp_path: Path) -> None:
    content, message = BROKEN_FILES[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        load(tmp_path / name, "manifest")
    assert name in str(caught.value)


def test_a_missing_table(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.csv, and there is no such file or folder\."):
        load(tmp_path / "gone.csv", "manifest")
    with pytest.raises(ConfigError, match=r"needs data\.root"):
        load_dataset(load_config({"task": "classification", "data": {"name": "manifest"}}).data, task="classification")


def test_of_two_files_of_one_name_in_a_tar_file_the_later_one_counts(folder: Path) -> None:
    with tarfile.open(folder / "x.tar", "w") as tar:
        for shade in (10, 200):
            content = png(np.full((8, 8, 3), shade, np.uint8))
            info = tarfile.TarInfo("a.png")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    data = load(folder, shards="x.tar")
    assert [data.train.key(index) for index in range(len(data.train))].count("x.tar/a.png") == 1
    assert data.train.images([len(data.train) - 1]).unique().tolist() == [200]


def test_shards_below_a_folder_with_brackets(folder: Path) -> None:
    """Where brackets would be a pattern."""
    moved = folder.rename(folder.with_name("photos [1]"))
    with tarfile.open(moved / "x.tar", "w") as tar:
        tar.add(next((moved / "labeled/zero").iterdir()), "a.png")
    data = load(moved, shards="*.tar")
    assert [data.train.key(index) for index in range(len(data.train))].count("x.tar/a.png") == 1


def test_damaged_shards(folder: Path) -> None:
    (folder / "bad.tar").write_bytes(b"no tar" * 100)
    with pytest.raises(DataError, match=r"bad\.tar cannot be read as a tar file"):
        load(folder, shards="bad.tar")
    with pytest.raises(DataError, match="matches no file"):
        load(folder, shards="none-*.tar")
