"""Answers about files, one after the other: what is written, what is not, and how little stands in memory."""

import csv
import os
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torch import nn

import dmt
from dmt.data.image_files import IMAGE_SUFFIXES
from dmt.data.input_files import InputFile, find_inputs
from dmt.errors import ConfigError, DataError
from dmt.predict import Predictor
from dmt.predict.files import FileAnswer, predict_files
from dmt.predict.outputs import write_masks, write_table
from dmt.predict.places import MARKER, check_masks, check_table, unreadable_list
from dmt.progress import Silent


def write_photos(folder: Path, count: int, *, size: tuple[int, int] = (16, 16)) -> Path:
    random = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        Image.fromarray(random.integers(0, 256, size, dtype=np.uint8)).save(folder / f"{number:03d}.png")
    return folder


def found_in(folder: Path) -> list[InputFile]:
    return find_inputs([folder], IMAGE_SUFFIXES)


def answers_of(model: Predictor, files: list[InputFile], **settings: object) -> Iterator[FileAnswer]:
    return predict_files(model, files, observer=Silent(), **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".CSV"])
@pytest.mark.parametrize("probabilities", [False, True])
def test_a_table_says_what_the_model_says(digits_run: Path, tmp_path: Path, suffix: str, probabilities: bool) -> None:
    model, files = dmt.load(digits_run), found_in(write_photos(tmp_path / "in", 11))
    path = tmp_path / f"out/table{suffix}"
    answers = answers_of(model, files, batch_size=3, keep_probabilities=probabilities)
    outcome = write_table(path, answers, class_names=model.class_names, all_probabilities=probabilities)
    assert (outcome.num_written, outcome.problems) == (11, {})
    if suffix == ".parquet":
        rows = pq.read_table(path).to_pylist()
    else:
        rows = list(csv.DictReader(path.open(encoding="utf-8", newline="")))
    wanted = model.predict([file.path for file in files])
    assert [row["path"] for row in rows] == [str(file.path) for file in files]
    assert [row["class"] for row in rows] == wanted.names
    # As 32 bits: nothing is lost on the way.
    assert [np.float32(row["confidence"]) for row in rows] == pytest.approx(list(wanted.confidence), abs=1e-6)
    columns = [name for name in rows[0] if name.startswith("p_")]
    assert columns == ([f"p_{name}" for name in model.class_names] if probabilities else [])
    for row, answer in zip(rows, wanted, strict=True):
        assert [float(row[name]) for name in columns] == pytest.approx(
            list(answer.probabilities)[: len(columns)], abs=1e-6
        )
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_more_rows_than_are_written_together(digits_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dmt.predict.outputs._ROWS_TOGETHER", 4)
    model, files = dmt.load(digits_run), found_in(write_photos(tmp_path / "in", 10))
    path = tmp_path / "table.parquet"
    write_table(path, answers_of(model, files), class_names=model.class_names, all_probabilities=False)
    assert pq.read_table(path)["path"].to_pylist() == [str(file.path) for file in files]
    assert pq.ParquetFile(path).num_row_groups == 3


def test_files_that_cannot_be_read_are_listed_and_the_rest_goes_on(digits_run: Path, tmp_path: Path) -> None:
    folder = write_photos(tmp_path / "in", 12)
    (folder / "004.png").write_bytes(b"no image")
    (folder / "007.png").write_bytes((folder / "007.png").read_bytes()[:60])
    (folder / "008.png").unlink()
    (folder / "008.png").symlink_to("008.png")
    model, path = dmt.load(digits_run), tmp_path / "table.csv"
    files = found_in(folder)
    outcome = write_table(path, answers_of(model, files), class_names=model.class_names, all_probabilities=False)
    bad = [str(folder / f"{number:03d}.png") for number in (4, 7, 8)]
    assert (outcome.num_written, list(outcome.problems)) == (9, bad)
    told = [line.split("\t") for line in unreadable_list(path).read_text().splitlines()]
    assert [name for name, _ in told] == bad
    assert all(name in reason for name, reason in told)
    assert len(path.read_text().splitlines()) == 10
    good = [file for file in files if str(file.path) not in bad]
    write_table(path, answers_of(model, good), class_names=model.class_names, all_probabilities=False)
    assert not unreadable_list(path).exists()


def test_names_of_every_kind(digits_run: Path, tmp_path: Path) -> None:
    names = ["with space.png", "a,b \"c\".png", "\N{GREEK SMALL LETTER ALPHA}\N{SNOWMAN}.png", "n" * 251 + ".png",
             "C:\\photos\\x.png", "two\nlines.png", "=1+1.png", os.fsdecode(b"raw\xff.png")]  # fmt: skip
    (tmp_path / "in").mkdir()
    for name in names:
        Image.fromarray(np.zeros((16, 16), dtype=np.uint8)).save(tmp_path / "in" / name, "PNG")
    model, files = dmt.load(digits_run), found_in(tmp_path / "in")
    for suffix in (".csv", ".parquet"):
        path = tmp_path / f"table{suffix}"
        write_table(path, answers_of(model, files), class_names=model.class_names, all_probabilities=False)
    shown = {str(tmp_path / "in" / name) for name in names[:-1]} | {str(tmp_path / "in" / "raw\\xff.png")}
    assert {row["path"] for row in csv.DictReader((tmp_path / "table.csv").open(encoding="utf-8", newline=""))} == shown
    assert set(pq.read_table(tmp_path / "table.parquet")["path"].to_pylist()) == shown


def test_workers_change_nothing(digits_run: Path, tmp_path: Path) -> None:
    folder = write_photos(tmp_path / "in", 20)
    (folder / "005.png").write_bytes(b"no image")
    model, files = dmt.load(digits_run), found_in(folder)
    alone, helped = (list(answers_of(model, files, batch_size=4, workers=workers)) for workers in (0, 2))
    for first, second in zip(alone, helped, strict=True):
        assert (first.file, first.problem) == (second.file, second.problem)
        assert (first.answer is None) == (second.answer is None)
        if first.answer is not None and second.answer is not None:
            assert np.array_equal(first.answer.confidence, second.answer.confidence)


def test_masks_of_each_images_own_size(masks_run: Path, tmp_path: Path) -> None:
    model, files = dmt.load(masks_run), found_in(masks_run.parent / "data/images")
    targets = check_masks(tmp_path / "out", files, overlays=True)
    palette = model.description.palette
    assert palette is not None
    outcome = write_masks(tmp_path / "out", answers_of(model, files), targets=targets, palette=palette)
    assert outcome.num_written == 6
    for file, answer in zip(files, model.predict([file.path for file in files]), strict=True):
        with Image.open(tmp_path / "out/masks" / file.path.name) as mask:
            assert mask.mode == "P"
            assert np.array_equal(np.array(mask), answer.label)
            colors = np.array(mask.convert("RGB"))
        assert np.array_equal(colors, np.array(palette)[answer.label])
        image = np.array(Image.open(file.path)).astype(float)
        drawn = np.array(Image.open(tmp_path / "out/overlays" / file.path.name)).astype(float)
        assert np.abs(drawn - (image + colors) / 2).max() <= 0.5
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [MARKER, "masks", "overlays"]


def test_a_mask_for_every_folder_and_long_name(masks_run: Path, tmp_path: Path) -> None:
    image = Image.fromarray(np.zeros((16, 20, 3), dtype=np.uint8))
    for name in ("a.png", "sub/a.png", "sub/a.bmp", "n" * 250 + ".png", "\N{SNOWMAN}" * 83 + ".png"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
    (tmp_path / "in/loop").symlink_to(tmp_path / "in")
    (tmp_path / "in/bad.png").write_bytes(b"")
    model, files = dmt.load(masks_run), found_in(tmp_path / "in")
    targets = check_masks(tmp_path / "out", files, overlays=False)
    outcome = write_masks(tmp_path / "out", answers_of(model, files), targets=targets, palette=((0, 0, 0),) * 3)
    assert outcome.num_written == 5
    masks = {str(path.relative_to(tmp_path / "out/masks")) for path in (tmp_path / "out/masks").rglob("*.png")}
    assert masks == {"a.png", "sub/a.png.png", "sub/a.bmp.png", "n" * 250 + ".png", "\N{SNOWMAN}" * 83 + ".png"}
    assert (tmp_path / "out/unreadable.txt").read_text().startswith(str(tmp_path / "in/bad.png"))


def test_inputs_are_never_written_over(tmp_path: Path) -> None:
    folder = write_photos(tmp_path / "masks", 1)
    with pytest.raises(DataError, match="is read and would be written over"):
        check_masks(tmp_path, found_in(folder), overlays=False)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="a file; masks go into a folder"):
        check_masks(tmp_path / "file", found_in(folder), overlays=False)


def test_masks_that_no_prediction_has_written_are_kept(masks_run: Path, tmp_path: Path) -> None:
    """The layout of one's own data has its true masks where predictions go."""
    files = found_in(write_photos(tmp_path / "scans/images", 1))
    write_photos(tmp_path / "scans/masks", 1)
    with pytest.raises(ConfigError, match="scans/masks is there already, and no prediction has written it"):
        check_masks(tmp_path / "scans", files, overlays=False)
    with pytest.raises(ConfigError, match=r"scans/masks/\S+ is there already, and no prediction has written it"):
        check_masks(tmp_path / "scans/masks", files, overlays=False)
    with pytest.raises(ConfigError, match="a file; masks go into a folder"):
        check_masks(tmp_path / "masks.csv", files, overlays=False)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/unreadable.txt").write_text("of mine")
    with pytest.raises(ConfigError, match=r"notes/unreadable\.txt is there already"):
        check_masks(tmp_path / "notes", files, overlays=False)
    model, palette = dmt.load(masks_run), ((0, 0, 0),) * 3
    for _ in range(2):  # an earlier prediction is replaced
        targets = check_masks(tmp_path / "out", files, overlays=False)
        write_masks(tmp_path / "out", answers_of(model, files), targets=targets, palette=palette)
    others = found_in(write_photos(tmp_path / "more", 3))[1:]
    with pytest.warns(UserWarning, match="holds 1 files of an earlier prediction of other images"):
        check_masks(tmp_path / "out", others, overlays=False)
    write_photos(tmp_path / "out/overlays", 1)
    with pytest.raises(ConfigError, match="out/overlays is there already"):
        check_masks(tmp_path / "out", files, overlays=True)


@pytest.mark.parametrize("given", ["in", "in/**", "in/**/*.png", "i*"])
@pytest.mark.parametrize("output", ["in", "in/out", "in/new/out"])
def test_masks_are_not_written_among_what_is_read(tmp_path: Path, given: str, output: str) -> None:
    write_photos(tmp_path / "in/deep", 2)
    files = find_inputs([tmp_path / given], IMAGE_SUFFIXES)
    with pytest.raises(ConfigError, match=r"all of which is read: .* Name a folder elsewhere"):
        check_masks(tmp_path / output, files, overlays=False)


@pytest.mark.parametrize(("given", "output"), [("in/000.png", "in/out"), ("in/*.png", "in/out"), ("in", "inner")])
def test_masks_beside_what_is_read(tmp_path: Path, given: str, output: str) -> None:
    write_photos(tmp_path / "in", 2)
    assert check_masks(tmp_path / output, find_inputs([tmp_path / given], IMAGE_SUFFIXES), overlays=False)


@pytest.mark.parametrize("content", [b"path,label\na.png,cat\n", b"\xff\xfe", b"path,class,confidence,mine\n"])
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_tables_that_no_prediction_has_written_are_kept(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"classes{suffix}"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="is there already, and is no table of answers"):
        check_table(path)
    assert path.read_bytes() == content
    path.unlink()
    unreadable_list(path).write_text("of mine\n")
    with pytest.raises(ConfigError, match="is there already, and is no list of a prediction"):
        check_table(path)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_tables_of_answers_are_replaced(digits_run: Path, tmp_path: Path, suffix: str) -> None:
    model, files = dmt.load(digits_run), found_in(write_photos(tmp_path / "in", 1))
    (tmp_path / "in/bad.png").write_bytes(b"")
    for wanted in (True, False, True):
        write_table(
            tmp_path / f"table{suffix}",
            answers_of(model, [*files, InputFile(tmp_path / "in/bad.png", Path("bad.png"))], keep_probabilities=wanted),
            class_names=model.class_names,
            all_probabilities=wanted,
        )


@pytest.mark.parametrize("name", ["table.txt", "table", "folder.csv", "file/table.csv"])
def test_tables_that_cannot_be_are_refused_at_once(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError):
        check_table(tmp_path / name)


def test_a_network_without_an_answer_is_told(digits_run: Path, tmp_path: Path) -> None:
    class Broken(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            logits = images.mean(dim=(1, 2, 3))[:, None].repeat(1, 10)
            return torch.where(images.amax(dim=(1, 2, 3))[:, None] > 0, logits, torch.nan)

    folder = write_photos(tmp_path / "in", 3)
    Image.fromarray(np.zeros((16, 16), dtype=np.uint8)).save(folder / "001.png")
    model = dmt.load(digits_run)
    model = Predictor(description=model.description, what="", network=Broken(), engine=model.engine)
    problems = [one.problem for one in answers_of(model, found_in(folder))]
    assert [bool(problem) for problem in problems] == [False, True, False]
    assert "001.png cannot be answered about: the network gives NaN" in problems[1]


def test_memory_does_not_grow_with_the_number_of_files(masks_run: Path, tmp_path: Path) -> None:
    model = dmt.load(masks_run)
    few = found_in(write_photos(tmp_path / "in", 24, size=(60, 80)))
    many = [InputFile(one.path, Path(f"{number}/{one.name}")) for number in range(6) for one in few]

    def most(files: list[InputFile]) -> int:
        tracemalloc.start()
        for one in answers_of(model, files):
            assert one.answer is not None
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    most(few)  # whatever is loaded once
    assert most(many) < 1.25 * most(few)


def test_a_classifier_keeps_no_photo_at_its_own_size(digits_run: Path, tmp_path: Path) -> None:
    """They are many at a time, and large."""
    model, files = dmt.load(digits_run), found_in(write_photos(tmp_path / "in", 3, size=(90, 120)))
    for one, wanted in zip(answers_of(model, files), model.predict([file.path for file in files]), strict=True):
        assert one.image is not None
        assert one.answer is not None
        assert tuple(one.image.shape[1:]) == model.description.input.image_size
        assert np.array_equal(one.answer.confidence, wanted.confidence)


def test_files_are_read_when_they_are_asked_for(
    digits_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []
    from dmt.data.pixels import PixelRule

    whole = PixelRule.read
    monkeypatch.setattr(PixelRule, "read", lambda self, source: read.append(source) or whole(self, source))
    answers = answers_of(dmt.load(digits_run), found_in(write_photos(tmp_path / "in", 40)), batch_size=4)
    next(answers)
    assert len(read) == 8
