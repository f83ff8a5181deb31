"""`dmt predict`, `dmt evaluate` and `dmt export` as a user meets them."""

import csv
import errno
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

import dmt
from dmt.cli.main import main
from dmt.cli.models import Overlap
from dmt.models.windowed import OVERLAP

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Call:
    """Run `dmt ARGUMENTS` in this process, in an empty folder; exit status, standard output, standard error."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["dmt", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "200")
        with pytest.raises(SystemExit) as exit_:
            main()
        captured = capsys.readouterr()
        return int(exit_.value.code or 0), captured.out, captured.err

    return run


def write_photos(folder: Path, count: int = 5) -> None:
    random = np.random.default_rng(0)
    folder.mkdir()
    for number in range(count):
        Image.fromarray(random.integers(0, 256, (16, 16), dtype=np.uint8)).save(folder / f"{number}.png")


def test_classes_of_a_folder(call: Call, digits_run: Path, tmp_path: Path) -> None:
    write_photos(tmp_path / "photos")
    status, out, err = call("predict", digits_run, "photos", "-o", "classes.csv", "--probabilities")
    assert (status, err) == (0, "")
    assert "5 images by round 1, network a in" in out
    assert "/s): classes.csv" in out
    rows = list(csv.reader((tmp_path / "classes.csv").open(encoding="utf-8", newline="")))
    assert rows[0] == ["path", "class", "confidence", *(f"p_{digit}" for digit in range(10))]
    assert [row[0] for row in rows[1:]] == [f"photos/{number}.png" for number in range(5)]
    assert all(sum(map(float, row[3:])) == pytest.approx(1, abs=1e-5) for row in rows[1:])


def test_a_damaged_file_among_good_ones(call: Call, digits_run: Path, tmp_path: Path) -> None:
    write_photos(tmp_path / "photos")
    (tmp_path / "photos/2.png").write_bytes(b"no image")
    status, out, err = call("predict", digits_run, "photos", "absent.png", "-o", "classes.parquet")
    assert status == 3
    assert "4 images" in out
    assert err.splitlines()[0].startswith("warning: photos/2.png cannot be read")
    assert err.splitlines()[1].startswith("warning: There is no file absent.png")
    assert err.splitlines()[2] == (
        "error: 2 of 6 files could not be read; classes.parquet.unreadable.txt lists them with the reasons. The others "
        "are done."
    )
    assert pq.read_table(tmp_path / "classes.parquet")["path"].to_pylist() == [f"photos/{n}.png" for n in (0, 1, 3, 4)]
    assert len((tmp_path / "classes.parquet.unreadable.txt").read_text().splitlines()) == 2


def test_where_no_file_can_be_read_none_is_said_to_be_done(call: Call, digits_run: Path, tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 1)
    (tmp_path / "photos/0.png").write_bytes(b"no image")
    status, _, err = call("predict", digits_run, "photos", "-o", "classes.csv")
    wanted = (
        "error: None of 1 files could be read; classes.csv.unreadable.txt lists them with the reasons. What was "
        "written before stays."
    )
    assert (status, err.splitlines()[-1]) == (3, wanted)
    assert not (tmp_path / "classes.csv").exists()


def test_a_mistyped_folder_does_not_cost_an_earlier_table(call: Call, digits_run: Path, tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 3)
    assert call("predict", digits_run, "photos", "-o", "classes.csv")[0] == 0
    before = (tmp_path / "classes.csv").read_bytes()
    status, _, err = call("predict", digits_run, "fotos", "-o", "classes.csv")
    assert status == 3
    assert "There is no file fotos" in err
    assert (tmp_path / "classes.csv").read_bytes() == before
    assert sorted(path.name for path in tmp_path.glob("*classes*")) == ["classes.csv", "classes.csv.unreadable.txt"]


def test_of_many_damaged_files_a_few_are_told_and_all_listed(call: Call, digits_run: Path, tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 1)
    for number in range(30):
        (tmp_path / f"photos/bad{number}.png").write_bytes(b"")
    status, _, err = call("predict", digits_run, "photos", "-o", "classes.csv")
    assert (status, err.count("warning:")) == (3, 5)
    assert len((tmp_path / "classes.csv.unreadable.txt").read_text().splitlines()) == 30


def test_masks_overlays_and_an_ensemble_from_a_bundle(call: Call, masks_run: Path, tmp_path: Path) -> None:
    assert call("export", masks_run, "-o", "bundle", "--license", "MIT")[0] == 0
    images = masks_run.parent / "data/images"
    status, out, err = call("predict", "bundle", images / "*.png", "-o", "out", "--overlays", "--ensemble")
    assert (status, err) == (0, "")
    assert "6 images by round 1, network a and round 1, network b" in out
    model = dmt.load(tmp_path / "bundle", ensemble=True)
    for number in range(6):
        (answer,) = model.predict([images / f"{number}.png"])
        assert np.array_equal(np.array(Image.open(tmp_path / f"out/masks/{number}.png")), answer.label)
        assert (tmp_path / f"out/overlays/{number}.png").is_file()


def test_a_damaged_file_among_masks(call: Call, masks_run: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/bad.png").write_bytes(b"")
    good = (masks_run.parent / "data/images/0.png").read_bytes()
    (tmp_path / "in/good.png").write_bytes(good)
    status, _, err = call("predict", masks_run, "in", "-o", "out", "--window", "16x16", "--overlap", "0.5")
    assert status == 3
    assert "out/unreadable.txt" in err
    assert [path.name for path in (tmp_path / "out/masks").iterdir()] == ["good.png"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["absent", "photos", "-o", "x.csv"], "absent is neither a bundle"),
        (["RUN", "photos", "-o", "x.txt"], "it is a file .csv or .parquet"),
        (["RUN", "photos", "-o", "x.csv", "--overlays"], "--overlays is for masks"),
        (["RUN", "photos", "-o", "x.csv", "--window", "8x8"], "Windows are for segmentation"),
        (["RUN", "photos", "-o", "x.csv", "--window", "large"], "--window is 'large'"),
        (["RUN", "empty", "-o", "x.csv"], "No image file is meant by empty"),
        (["MASKS", "photos", "-o", "photos/0.png"], "masks go into a folder"),
        (["MASKS", "photos", "-o", "x", "--probabilities"], "--probabilities is for classes"),
        (["MASKS", "photos", "-o", "x", "--window", "0x8"], "The window is 0 x 8"),
    ],
)
def test_mistakes_end_with_status_2_and_a_sentence(
    call: Call, digits_run: Path, masks_run: Path, tmp_path: Path, arguments: list[str], words: str
) -> None:
    write_photos(tmp_path / "photos", 1)
    (tmp_path / "empty").mkdir()
    places = {"RUN": digits_run, "MASKS": masks_run}
    status, _, err = call("predict", *(places.get(one, one) for one in arguments))
    assert status == 2
    assert err.startswith("error: ")
    assert words in err


def test_evaluation_prints_and_writes_everything(call: Call, digits_run: Path, tmp_path: Path) -> None:
    status, out, err = call("evaluate", digits_run, "-o", "figures.json")
    assert (status, err) == (0, "")
    told = json.loads((tmp_path / "figures.json").read_text())
    result = json.loads((digits_run / "result.json").read_text())
    assert told["figures"]["accuracy"]["value"] == pytest.approx(result["final"]["accuracy"], abs=1e-3)
    for words in (
        "450 images of digits, part test",
        "accuracy",
        "calibration error (ECE, 15 bins)",
        "true class (rows)",
    ):
        assert words in out
    low, high = (told["figures"]["accuracy"][end] for end in ("low", "high"))
    assert f"{result['final']['accuracy']:.1f} %  [{low:.1f}, {high:.1f}]" in out


def test_evaluation_of_a_bundle_needs_data(call: Call, digits_run: Path) -> None:
    call("export", digits_run, "-o", "bundle")
    status, _, err = call("evaluate", "bundle")
    assert (status, "Name a labeled set" in err) == (2, True)
    status, out, _ = call(
        "evaluate", "bundle", "--data", "digits", "--part", "train", "--ensemble", "data.image_size=[16, 16]"
    )
    assert status == 0
    assert "1,347 images of digits, part train, round 1, network a and round 1, network b" in out


def test_evaluation_of_masks_in_a_folder(call: Call, masks_run: Path) -> None:
    status, out, _ = call("evaluate", masks_run, "--data", masks_run.parent / "data", "--part", "train")
    assert status == 0
    assert "3 images of folder, part train" in out
    assert "mean IoU" in out


def test_many_classes_show_the_commonest_mistakes(call: Call, digits_run: Path, monkeypatch) -> None:
    monkeypatch.setattr("dmt.cli.evaluate._WIDEST", 5)
    out = call("evaluate", digits_run)[1]
    assert "commonest mistakes" in out
    assert "true class (rows)" not in out


def test_export_to_onnx_tells_the_difference(call: Call, masks_run: Path, tmp_path: Path) -> None:
    status, out, err = call("export", masks_run, "--format", "onnx", "-o", "out")
    assert (status, err) == (0, "")
    assert "out: images of any size, batches of any size; on 1 real images the largest difference to PyTorch" in out
    assert "changed labels: 0" in out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["README.md", "model.onnx"]
    assert call("export", masks_run, "-o", "out")[0] == 0
    assert {"model.json", "model.onnx", "round-1-a.safetensors"} <= {path.name for path in (tmp_path / "out").iterdir()}


def test_options_of_onnx_alone_are_refused_for_a_bundle(call: Call, masks_run: Path) -> None:
    status, _, err = call("export", masks_run, "-o", "out", "--ensemble")
    assert (status, "--images and --ensemble are for --format onnx" in err) == (2, True)


@pytest.mark.parametrize("output", ["/proc/x", "dmt.yaml/x", "OTHER"])
@pytest.mark.parametrize("command", ["evaluate", "export", "predict", "init"])
def test_outputs_that_cannot_be_end_with_2_before_any_work(
    call: Call, digits_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, output: str
) -> None:
    write_photos(tmp_path / "photos", 1)
    (tmp_path / "dmt.yaml").touch()
    other = {"export": "dmt.yaml", "predict": "photos"}.get(command, "photos")
    output = other if output == "OTHER" else output + (".csv" if command == "predict" else "")
    if command != "predict":  # whose kind of output depends on the model
        monkeypatch.setattr("dmt.predict.predictor.open_bundle", lambda _: pytest.fail("the output comes first"))
    inputs = {"predict": [digits_run, "photos"], "init": ["photos"]}.get(command, [digits_run])
    status, _, err = call(command, *inputs, "-o", output)
    assert (status, err.startswith("error: "), "Name another" in err or "it is a file" in err) == (2, True, True)


def test_export_leaves_other_files_alone(call: Call, masks_run: Path, tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 1)
    for kind in ("bundle", "onnx"):
        status, _, err = call("export", masks_run, "-o", "photos", "--format", kind)
        assert (status, "holds files that are no export's" in err) == (2, True)


@pytest.mark.parametrize("command", ["predict", "evaluate", "export"])
def test_help_shows_examples_and_loads_no_torch(command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "dmt.cli.main", command, "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"dmt {command}" in done.stdout
    assert "Example" in done.stdout
    assert "| torch\n" not in done.stderr


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (KeyboardInterrupt(), 130, "Interrupted. The same command starts again"),
        (MemoryError("too much"), 4, "Out of memory; a smaller --batch-size or --window needs less"),
        (OSError(errno.ENOSPC, "No space left on device"), 4, "The disk is full"),
    ],
)
def test_what_stops_a_prediction_leaves_nothing_half_done(
    call: Call, digits_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, status, words
) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise error

    write_photos(tmp_path / "photos")
    monkeypatch.setattr("dmt.predict.predictor.infer", stopped)
    found, _, err = call("predict", digits_run, "photos", "-o", "classes.csv")
    assert (found, words in err) == (status, True)
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_the_command_line_and_the_library_overlap_alike() -> None:
    assert f"default: {OVERLAP}." in Overlap.__metadata__[0].help


@pytest.mark.parametrize("option", [["--overlap", "0.5"], ["--window", "whole"], ["--window", "8x8"]])
def test_windows_are_refused_where_there_are_none(
    call: Call, digits_run: Path, tmp_path: Path, option: list[str]
) -> None:
    write_photos(tmp_path / "photos")
    status, _, err = call("predict", digits_run, "photos", "-o", "classes.csv", *option)
    assert (status, "Windows are for segmentation" in err) == (2, True)


def test_an_evaluation_is_written_over_another_one_alone(call: Call, digits_run: Path, tmp_path: Path) -> None:
    assert call("evaluate", digits_run, "-o", "figures.json")[0] == 0
    assert call("evaluate", digits_run, "-o", "figures.json")[0] == 0
    for name, text in (("mine.yaml", "seed: 1\n"), ("mine.json", "{}")):
        (tmp_path / name).write_text(text)
        status, _, err = call("evaluate", digits_run, "-o", name)
        assert (status, (tmp_path / name).read_text()) == (2, text)
        assert f"{name} is there already, and no evaluation has written it" in err


def test_names_that_look_like_markup_are_shown_as_they_are(call: Call, digits_run: Path) -> None:
    for name in ("odd/a\\[/b]", "[red]x", "\\[b]c"):
        status, _, err = call("predict", digits_run, name, "-o", "o.csv")
        assert status == 2
        assert name in err
