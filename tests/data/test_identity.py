"""Files that were changed on the disk are other data: a run says so, and does not go on or show older figures."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from dmt.config_files import load_config
from dmt.data.catalog import load_dataset
from dmt.errors import DataError
from dmt.run import run
from tiny_folders import FOLDER_CONFIG, write_folder


def photos(root: Path) -> dict[str, Any]:
    """Two classes of four images each, four more without a class, and a test part; and the config of a short run."""
    random = np.random.default_rng(0)
    for number in range(16):
        folder = root / ("unlabeled" if number % 4 == 3 else f"{'test' if number > 11 else 'labeled'}/{number % 2}")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (12, 12, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    return {
        "task": "classification",
        "data": {"name": "folder", "root": str(root)},
        "method": "supervised",
        "networks": {"a": {"name": "small_cnn"}},
        "supervised": {"steps": 2},
        "batch": {"size": 4, "labeled": 2},
        "precision": "fp32",
    }


def masks(root: Path) -> dict[str, Any]:
    write_folder(root)
    config: dict[str, Any] = yaml.safe_load(FOLDER_CONFIG) | {"method": "supervised"}
    return config | {"data": {"name": "folder", "root": str(root), "labeled": "labeled.txt", "test": "test.txt"}}


def repaint(path: Path) -> None:
    with Image.open(path) as image:
        pixels = np.array(image)
    Image.fromarray(pixels[::-1].copy() if path.parent.name != "masks" else np.roll(pixels, 1, axis=1)).save(path)


CHANGES: dict[str, tuple[Callable[[Path], Any], Callable[[Path], object], str]] = {
    "an image": (photos, lambda root: repaint(root / "labeled/0/0.png"), "train image labeled/0/0.png differs"),
    "an unlabeled image": (
        photos,
        lambda root: repaint(root / "unlabeled/3.png"),
        "train image unlabeled/3.png differs",
    ),
    "a test image": (photos, lambda root: repaint(root / "test/0/12.png"), "test image test/0/12.png differs"),
    "one more image": (
        photos,
        lambda root: shutil.copy(root / "unlabeled/3.png", root / "unlabeled/new.png"),
        r"number of train images differs \(13 there and 14 here\)",
    ),
    "one image less": (
        photos,
        lambda root: (root / "unlabeled/7.png").unlink(),
        r"number of train images differs \(13 there and 12 here\)",
    ),
    "a mask": (masks, lambda root: repaint(root / "masks/0.png"), "label of train image 0 differs"),
    "a test mask": (masks, lambda root: repaint(root / "masks/3.png"), "label of test image 3 differs"),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("is_finished", [True, False])
def test_changed_files_are_another_run(tmp_path: Path, change: str, is_finished: bool) -> None:
    build, mend, message = CHANGES[change]
    config = build(tmp_path / "data")
    first = run(config, run_dir=tmp_path / "run")
    assert run(config, run_dir=tmp_path / "run") == first
    if not is_finished:
        (tmp_path / "run" / "result.json").unlink()
    mend(tmp_path / "data")
    with pytest.raises(DataError, match=f"run on other data: the {message}"):
        run(config, run_dir=tmp_path / "run")


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (10_000, r"label of train image labeled/0/0\.png differs \(0 there and 1 here\)"),
        (2, "list of train labels differs"),
    ],
)
def test_a_label_that_was_corrected_in_a_table_is_another_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: int, message: str
) -> None:
    monkeypatch.setattr("dmt.data.identity._NUM_TOLD", told)
    config = photos(tmp_path)
    table = tmp_path / "table.csv"
    images = sorted((tmp_path / "labeled").rglob("*.png"))
    rows = [f"{path.relative_to(tmp_path)},{path.parent.name}" for path in images]
    table.write_text("\n".join(["path,label", *rows]) + "\n")
    config["data"] = {"name": "manifest", "root": str(table)}
    run(config, run_dir=tmp_path / "run")
    table.write_text(table.read_text().replace("0/0.png,0", "0/0.png,1"))
    with pytest.raises(DataError, match=message):
        run(config, run_dir=tmp_path / "run")


def test_a_damaged_image_may_be_mended(tmp_path: Path) -> None:
    config = photos(tmp_path / "data")
    damaged = tmp_path / "data/unlabeled/3.png"
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:90])
    first = run(config, run_dir=tmp_path / "run")
    damaged.write_bytes(whole)
    assert run(config, run_dir=tmp_path / "run") == first


def test_files_that_were_only_copied_again_are_the_same(tmp_path: Path) -> None:
    config = photos(tmp_path / "data")
    first = run(config, run_dir=tmp_path / "run")
    shutil.copytree(tmp_path / "data", tmp_path / "copy")
    shutil.rmtree(tmp_path / "data")
    shutil.move(tmp_path / "copy", tmp_path / "data")
    assert run(config, run_dir=tmp_path / "run") == first


def test_data_that_were_loaded_before_are_the_same(tmp_path: Path) -> None:
    """As `dmt compare` loads them once for all of its runs, each of which `dmt train --resume` may take up."""
    config = photos(tmp_path / "data")
    loaded = load_dataset(load_config(config).data, task="classification")
    first = run(config, loaded, run_dir=tmp_path / "run")
    assert run(config, run_dir=tmp_path / "run") == first


def test_a_part_that_is_not_used_may_change(tmp_path: Path) -> None:
    config = photos(tmp_path / "data") | {"validation": {"source": "none"}}
    shutil.copytree(tmp_path / "data/test", tmp_path / "data/validation")
    first = run(config, run_dir=tmp_path / "run")
    shutil.rmtree(tmp_path / "data/validation/0")
    assert run(config, run_dir=tmp_path / "run") == first
