"""`dmt init` as a user meets it, and what follows it: check and train, with nothing written by hand."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from check.tiny_sets import class_folders, masked
from dmt.cli.main import main
from dmt.config_files import load_config

Call = Callable[..., tuple[int, str, str]]
SHORT = ["supervised={steps: 3}", "duration={steps: 2}", "precision=fp32"]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Call:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    # What a developer's own machine holds has no say here.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path / "torch"))

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["dmt", *arguments])
        with pytest.raises(SystemExit) as exit_:
            main()
        captured = capsys.readouterr()
        return int(exit_.value.code or 0), captured.out, captured.err

    return run


def test_a_folder_becomes_a_config_that_says_what_was_guessed(call: Call, tmp_path: Path) -> None:
    class_folders(tmp_path)
    status, out, err = call("init", "data")
    assert (status, err) == (0, "")
    for words in (
        "6 labels, 5 unlabeled images, 6 validation images, 6 images to report on",
        "2 classes: cat, dog.",
        "Layout: class folders",
        "Network: small_cnn from random weights",
        "time",
        "Wrote dmt.yaml. Next: dmt check dmt.yaml, dmt train dmt.yaml",
    ):
        assert words in out
    text = (tmp_path / "dmt.yaml").read_text()
    assert text.startswith("# Made by: dmt init data\n")
    assert "# Time: about " in text
    assert load_config(tmp_path / "dmt.yaml").data.root == "data"
    assert max(len(line) for line in text.splitlines() if line.startswith("#")) <= 120


@pytest.mark.parametrize("make", [class_folders, masked])
def test_check_and_train_follow_without_a_word_written_by_hand(
    make: Callable[[Path], Path], call: Call, tmp_path: Path
) -> None:
    make(tmp_path)
    assert call("init", "data", "--no-timing")[0] == 0
    assert call("config", "dmt.yaml")[0] == 0
    status, out, _ = call("check", "dmt.yaml", "--json", "--no-timing")
    assert (status, json.loads(out)["errors"]) == (0, 0)
    status, _, err = call("train", "dmt.yaml", *SHORT, "--run-dir", "run")
    assert (status, "error" in err) == (0, False)
    assert (tmp_path / "run" / "result.json").is_file()


@pytest.mark.parametrize(("side", "told"), [(24, False), (80, True)])
def test_photos_without_weights_are_told_how_to_come_to_some(call: Call, tmp_path: Path, side: int, told: bool) -> None:
    """Small signs do well from random weights; and whoever has fetched some has other settings from then on."""
    random = np.random.default_rng(0)
    for name in ("labeled/cat/0", "labeled/cat/1", "labeled/dog/0", "labeled/dog/1", "unlabeled/0"):
        path = tmp_path / "data" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (side, side, 3), dtype=np.uint8)).save(path)
    _, out, _ = call("init", "data", "--no-timing")
    assert ('timm.create_model("resnet18", pretrained=True)' in out) == told
    assert ("run `dmt init` again with --force" in (tmp_path / "dmt.yaml").read_text().replace("\n# ", " ")) == told


def test_labels_can_be_held_back(call: Call, tmp_path: Path) -> None:
    class_folders(tmp_path)
    for path in (tmp_path / "data" / "unlabeled").iterdir():
        path.unlink()
    _, out, _ = call("init", "data", "--no-timing", "-o", "all.yaml")
    assert "Every training image has a label: as it stands, this trains on the labels alone." in out
    _, out, _ = call("init", "data", "--no-timing", "--labels", "2")
    assert "2 labels, 4 unlabeled images" in out
    assert load_config(tmp_path / "dmt.yaml").data.num_labeled == 2
    status, _, err = call("init", "data", "--no-timing", "--labels", "99", "--force")
    assert (status, "--labels is 99, but 6 training images have a label" in err) == (2, True)


def test_a_config_is_not_replaced_unless_told(call: Call, tmp_path: Path) -> None:
    class_folders(tmp_path)
    (tmp_path / "dmt.yaml").write_text("mine")
    status, _, err = call("init", "data", "--no-timing")
    assert (status, "dmt.yaml is there already" in err) == (2, True)
    assert (tmp_path / "dmt.yaml").read_text() == "mine"
    assert call("init", "data", "--no-timing", "--force")[0] == 0
    assert load_config(tmp_path / "dmt.yaml").task == "classification"


@pytest.mark.parametrize("folder", ["absent", "empty", "flat"])
def test_what_fits_nothing_ends_with_2_and_writes_nothing(folder: str, call: Call, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "flat").mkdir()
    Image.fromarray(np.zeros((4, 4, 3), dtype=np.uint8)).save(tmp_path / "flat" / "x.png")
    status, _, err = call("init", folder)
    assert status == 2
    assert err.startswith("error: ")
    assert not (tmp_path / "dmt.yaml").exists()


def test_a_hostile_folder_is_shown_as_it_is(call: Call, tmp_path: Path) -> None:
    class_folders(tmp_path)
    folder = (tmp_path / "data").rename(tmp_path / "[red]mein Ordner] ü")
    for part in ("labeled", "validation", "test"):
        (folder / part / "dog").rename(folder / part / "[b]x]")
    status, out, _ = call("init", folder.name, "-o", "[i]a b].yaml", "--no-timing")
    assert status == 0
    assert "2 classes: [b]x], cat." in out
    assert "Wrote [i]a b].yaml. Next: dmt check '[i]a b].yaml'" in out
    assert call("check", "[i]a b].yaml", "--no-timing")[0] == 0
