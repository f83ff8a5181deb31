"""Segmentation by the command line: the demo's preset in small, and a user's own folder with every mistake."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dmt.cli.main import main
from tiny_folders import write_folder

TINY = [
    "data.image_size=[32, 32]",
    "data.num_unlabeled=12",
    "supervised.steps=6",
    "duration.steps=4",
    "rounds.top_fractions=[0.5, 1.0]",
    "batch={size: 4, labeled: 1}",
    "precision=fp32",
]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def dmt(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["dmt", *arguments])
        with pytest.raises(SystemExit) as exit_:
            main()
        captured = capsys.readouterr()
        return int(exit_.value.code or 0), captured.out, captured.err

    return dmt


def test_a_run_on_scenes_leaves_what_the_contract_says(call: Any, tmp_path: Path) -> None:
    status, out, _ = call("train", "scenes-24", *TINY, "--run-dir", "mine")
    assert status == 0
    for words in ("supervised", "round 2, network b", "ensemble of the last round", "test mean IoU", "overview.png"):
        assert words in out
    run = tmp_path / "mine"
    result = json.loads((run / "result.json").read_text())
    assert (result["task"], result["scheme"], result["num_labeled"], result["num_test"]) == (
        "segmentation",
        "mutual",
        24,
        150,
    )
    assert set(result["final"]["per_class_iou"]) == {"background", *map(str, range(10))}
    for figures in (result["supervised"], result["final"], result["ensemble"], *result["rounds"]):
        assert 0 <= figures["mean_iou"] <= 100
        assert 0 <= figures["pixel_accuracy"] <= 100
        assert 1 <= figures["num_classes_seen"] <= 11
    taught = [row for row in result["rounds"] if row["round"]]
    assert [row["folder"] for row in taught] == ["rounds/1/a", "rounds/1/b", "rounds/2/a", "rounds/2/b"]
    for row in taught:
        assert row["num_pseudo_labels"] == sum(row["pseudo_labels_per_class"]) <= sum(row["predicted_per_class"])
        assert 0 <= row["pseudo_label_accuracy"] <= 100
        assert len(list((run / row["folder"] / "pseudo_labels" / "labels").rglob("*.png"))) == 12
    assert sum(taught[-1]["predicted_per_class"]) == taught[-1]["num_pseudo_labels"] == 12 * 32 * 32
    assert Image.open(run / "pictures" / "overview.png").width > 100
    assert "mean IoU" in (run / "report.html").read_text()
    status, out, _ = call("train", "scenes-24", *TINY, "--run-dir", "mine")
    assert (status, "This run is finished" in out) == (0, True)


@pytest.mark.parametrize(
    "changes",
    [
        ["method=cbst", "rounds.selection=renormalized"],
        ["method=self_training", "rounds.selection=threshold", "loss.confidence_threshold=0.1"],
        ["method=online_self_training", "crop.pseudo=plain"],
        ["method=dmt_flip", "rounds.top_fractions=[1.0]"],
        ["method=dmt_naive", "rounds.dms_share=0.8"],
        ["method=dmt", "validation={source: cut, size: 4}"],
        ["method=oracle"],
    ],
    ids=lambda changes: changes[0],
)
def test_every_method_and_option_runs_to_its_end(call: Any, tmp_path: Path, changes: list[str]) -> None:
    given = {change.partition("=")[0] for change in changes}
    without = {"data.num_unlabeled"} if changes == ["method=oracle"] else set()
    short = [one for one in TINY if one.partition("=")[0] not in given | without]
    status, _, err = call("train", "scenes-24", *short, *changes, "--run-dir", "mine")
    assert status == 0, err
    result = json.loads((tmp_path / "mine" / "result.json").read_text())
    one_network = changes[0] in {"method=cbst", "method=self_training", "method=online_self_training", "method=oracle"}
    assert result["scheme"] == ("chain" if one_network else "mutual")


OWN = [
    "task: segmentation",
    "data: {name: folder, root: data}",
    "validation: {source: none}",
    "networks: {a: {name: small_unet}, b: {name: small_unet}}",
    "crop: {size: [16, 16]}",
    "rounds: {top_fractions: [1.0]}",
    "supervised: {steps: 3}",
    "duration: {steps: 3}",
    "batch: {size: 2, labeled: 1}",
    "precision: fp32",
]


def test_a_users_folder_with_images_of_two_sizes(call: Any, tmp_path: Path) -> None:
    write_folder(tmp_path / "data")
    (tmp_path / "mine.yaml").write_text("\n".join(OWN))
    status, _, err = call("train", "mine.yaml", "--run-dir", "run")
    assert status == 0, err
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert (result["num_labeled"], result["num_unlabeled"], result["num_test"]) == (3, 2, 1)
    assert "pseudo_label_accuracy" not in result["rounds"][-1], "unlabeled images have no masks here"


def test_a_run_through_windows_is_scored_as_its_evaluation_scores_it(call: Any, tmp_path: Path) -> None:
    write_folder(tmp_path / "data")
    (tmp_path / "mine.yaml").write_text("\n".join(OWN))
    windows = ["rounds={top_fractions: [1.0], window: [16, 16]}", "supervised.steps=20"]
    status, _, err = call("train", "mine.yaml", *windows, "--run-dir", "run")
    assert status == 0, err
    result = json.loads((tmp_path / "run/result.json").read_text())
    for of_run, options in ((result["final"], []), (result["ensemble"], ["--ensemble"])):
        found = {}
        for window in (["--window", "whole"], []):
            assert call("evaluate", "run", *options, *window, "-o", "found.json")[0] == 0
            found = json.loads((tmp_path / "found.json").read_text())["figures"]
            same = found["mean_iou"]["value"] == pytest.approx(of_run["mean_iou"], abs=1e-3)
            assert same == (window == []), "whole images have other figures, or nothing is asked here"


def test_masks_that_nobody_needs_do_not_end_a_run(call: Any, tmp_path: Path) -> None:
    """A mask of an unlabeled image tells how good pseudo labels are; one that cannot be read tells nothing."""
    write_folder(tmp_path / "data")
    for number in (4, 5):
        size = Image.open(tmp_path / "data" / "images" / f"{number}.png").size
        Image.new("L", size, 77).save(tmp_path / "data" / "masks" / f"{number}.png")
    (tmp_path / "mine.yaml").write_text("\n".join(OWN))
    status, out, err = call("train", "mine.yaml", "--run-dir", "run")
    assert status == 0, err
    assert "How good the pseudo labels are is not told" in out
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert "pseudo_label_accuracy" not in result["rounds"][-1]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_image_is_one_sentence_in_a_worker_too(call: Any, tmp_path: Path, workers: int) -> None:
    write_folder(tmp_path / "data")
    path = tmp_path / "data" / "images" / "4.png"
    path.write_bytes(path.read_bytes()[:200])  # its header is whole
    (tmp_path / "mine.yaml").write_text("\n".join(OWN))
    status, _, err = call("train", "mine.yaml", f"workers={workers}", "--run-dir", "run")
    assert status == 2
    assert "images/4.png" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("content", [b"", b"nothing", None], ids=["empty", "no image", "cut off"])
def test_damaged_images_are_skipped_and_listed_where_that_is_allowed(
    call: Any, tmp_path: Path, content: bytes | None
) -> None:
    write_folder(tmp_path / "data")
    path = tmp_path / "data" / "images" / "4.png"
    path.write_bytes(path.read_bytes()[:200] if content is None else content)
    (tmp_path / "mine.yaml").write_text("\n".join(OWN))
    status, _, err = call("train", "mine.yaml", "data.max_unreadable=1", "--run-dir", "run")
    assert status == 0, err
    assert "1 unlabeled images cannot be read and are left out" in err
    assert (tmp_path / "run/splits/unreadable.txt").read_text().startswith("4\t")
    assert json.loads((tmp_path / "run/result.json").read_text())["num_unlabeled"] == 1
    for name, words in (("5.png", "more than data.max_unreadable=1"), ("0.png", "images/0.png cannot be read")):
        (tmp_path / "data/images" / name).write_bytes(b"")
        status, _, err = call("train", "mine.yaml", "data.max_unreadable=1", "--run-dir", "other")
        assert (status, words in err) == (2, True), err


def _mask(root: Path, number: int, array: np.ndarray) -> None:
    Image.fromarray(array).save(root / "masks" / f"{number}.png")


MISTAKES: dict[str, tuple[Any, list[str]]] = {
    "sizes differ": (lambda root: _mask(root, 0, np.zeros((9, 9), np.uint8)), ["images/0.png", "masks/0.png"]),
    "value": (lambda root: _mask(root, 0, np.full((24, 20), 77, np.uint8)), ["77", "480", "masks/0.png"]),
    "colors": (lambda root: _mask(root, 0, np.zeros((24, 20, 3), np.uint8)), ["masks/0.png", "RGB"]),
    "16 bit": (lambda root: _mask(root, 0, np.zeros((24, 20), np.uint16)), ["masks/0.png"]),
    "no mask": (lambda root: (root / "masks" / "0.png").unlink(), ["0"]),
    "twice": (
        lambda root: shutil.copy(root / "images" / "0.png", root / "images" / "0.jpg"),
        ["0.jpg"],
    ),
    "overlap": (lambda root: (root / "unlabeled.txt").write_text("4\n0\n"), ["unlabeled", "labeled"]),
    "corrupt": (lambda root: (root / "images" / "4.png").write_bytes(b"nothing"), ["images/4.png"]),
    "unknown": (lambda root: (root / "test.txt").write_text("30\n"), ["test.txt", "30"]),
    "no classes": (lambda root: (root / "classes.txt").unlink(), ["classes.txt"]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence_that_names_the_file(call: Any, tmp_path: Path, mistake: str) -> None:
    write_folder(tmp_path / "data")
    spoil, words = MISTAKES[mistake]
    spoil(tmp_path / "data")
    (tmp_path / "mine.yaml").write_text("\n".join(OWN))
    status, _, err = call("train", "mine.yaml", "--run-dir", "run")
    assert status == 2, err
    assert "Traceback" not in err
    for word in words:
        assert word in err


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("networks.a.name=timm:resnet18", ["deeplab:timm:resnet18"]),
        ("augment=strong", ["augment", "strong"]),
        ("rounds.dms_share=0.0001", ["rounds.dms_share"]),
        ("crop.scale=[2, 1]", ["crop.scale"]),
        ("data.name=digits", ["digits", "segmentation"]),
        ("data.num_labeled=9", ["data.num_labeled", "9"]),
    ],
)
def test_a_wrong_setting_is_named(call: Any, tmp_path: Path, change: str, words: list[str]) -> None:
    write_folder(tmp_path / "data")
    (tmp_path / "mine.yaml").write_text("\n".join(OWN))
    status, _, err = call("train", "mine.yaml", change, "--run-dir", "run")
    assert status == 2, err
    for word in words:
        assert word in err
