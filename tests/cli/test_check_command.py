"""`dmt check` as a user and a program meet it: what it prints, and how it ends."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from check.tiny_sets import class_folders, masked
from dmt.cli.main import main

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Call:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["dmt", *arguments])
        with pytest.raises(SystemExit) as exit_:
            main()
        captured = capsys.readouterr()
        return int(exit_.value.code or 0), captured.out, captured.err

    return run


def test_a_set_without_a_fault_ends_with_0_and_an_estimate(call: Call, tmp_path: Path) -> None:
    class_folders(tmp_path)
    status, out, err = call("check", "mine.yaml")
    assert (status, err) == (0, "")
    for words in ("labeled", "44x56 (6)", "RGB (6)", "cat", "Time: about", "80 steps", "Memory: about", "Disk: up to"):
        assert words in out
    assert out.splitlines()[-1] == "0 errors, 0 warnings, 0 notes. Next: dmt train mine.yaml"


def test_the_next_command_has_the_same_changes(call: Call, tmp_path: Path) -> None:
    class_folders(tmp_path)
    _, out, _ = call("check", "mine.yaml", "seed=3", "rounds={top_fractions: [1.0]}", "--no-timing")
    assert out.splitlines()[-1].endswith("Next: dmt train mine.yaml seed=3 'rounds={top_fractions: [1.0]}'")


def test_masks_are_counted_in_pixels(call: Call, tmp_path: Path) -> None:
    masked(tmp_path)
    status, out, _ = call("check", "mine.yaml", "--no-timing")
    assert status == 0
    assert "share of pixels" in out
    assert "33.3" in out
    assert "Time:" not in out


def test_errors_end_with_2_and_the_whole_list(call: Call, tmp_path: Path) -> None:
    class_folders(tmp_path)
    names = [f"[red]{k}] ü.png" for k in range(12)]
    for name in names:
        (tmp_path / "data" / "unlabeled" / name).write_bytes(b"no image")
    shutil.copy(tmp_path / "data/labeled/cat/0.png", tmp_path / "data/test/cat/copy.png")
    status, out, err = call("check", "mine.yaml")
    assert (status, err) == (2, "")
    for name in sorted(names)[:9]:
        assert name in out
    for words in ("error unreadable-image", "and 2 more", "error leak", "13 errors", "mend the errors first"):
        assert words in out


def test_json_is_one_whole_object(call: Call, tmp_path: Path) -> None:
    class_folders(tmp_path)
    shutil.copy(tmp_path / "data/labeled/cat/0.png", tmp_path / "data/test/cat/copy.png")
    for number in range(12):
        (tmp_path / "data" / "unlabeled" / f"bild ü{number}.png").write_bytes(b"no image")
    status, out, _ = call("check", "mine.yaml", "--json")
    found = json.loads(out)
    assert status == 2
    assert set(found) == KEYS
    assert (found["errors"], found["warnings"], found["notes"], found["estimate"]) == (13, 0, 0, None)
    unreadable = next(one for one in found["findings"] if one["code"] == "unreadable-image")
    assert unreadable["count"] == len(unreadable["messages"]) == 12
    assert unreadable["example"] == "data/unlabeled/bild ü0.png" or unreadable["example"].endswith("bild ü0.png")
    assert set(unreadable) == {"level", "code", "message", "example", "count", "messages"}
    assert found["parts"]["labeled"] == {
        "images": 6,
        "looked_at": 6,
        "readable": 6,
        "images_per_class": {"cat": 3, "dog": 3},
        "sizes": {"44x56": 6},
        "num_sizes": 1,
        "modes": {"RGB": 6},
    }
    assert found["parts"]["unlabeled"]["images_per_class"] is None


KEYS = {
    "format", "config", "task", "dataset", "method", "errors", "warnings", "notes", "class_names", "imbalance",
    "parts", "findings", "estimate",
}  # fmt: skip


def test_json_has_the_estimate(call: Call, tmp_path: Path) -> None:
    class_folders(tmp_path)
    status, out, _ = call("check", "mine.yaml", "--json", "supervised.steps=7")
    estimate = json.loads(out)["estimate"]
    assert status == 0
    assert estimate["steps"] == 7 + 40
    assert estimate["in_words"].startswith("about ")
    assert min(estimate["seconds"], estimate["memory_mb"], estimate["disk_mb"]) > 0
    assert set(estimate["seconds_a_step"]) == {"supervised a", "pseudo-labeled a"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["absent.yaml"], "absent.yaml does not exist"),
        (["digits-2"], "Did you mean 'digits-20'"),
        (["mine.yaml", "sed=1"], "sed: unknown key"),
        (["mine.yaml", "data.root=absent"], "absent"),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_a_config_that_cannot_be_used_is_an_error_in_both_forms(
    call: Call, tmp_path: Path, arguments: list[str], words: str, as_json: bool
) -> None:
    class_folders(tmp_path)
    status, out, _ = call("check", *arguments, *(["--json"] if as_json else []))
    assert status == 2
    if as_json:
        found = json.loads(out)
        assert set(found) == KEYS
        assert found["errors"] == 1
        assert words in found["findings"][0]["message"]
    else:
        assert words in out
        assert "1 error, 0 warnings" in out


def test_a_preset_is_checked_as_well(call: Call) -> None:
    status, out, _ = call("check", "digits-20", "--no-timing", "--sample", "50")
    assert status == 0
    assert "1,327 (50 looked at)" in out
