"""Finished runs of both tasks, small enough for tests, whose networks can be built anew by name."""

from pathlib import Path
from typing import Any

from dmt.run import run
from tiny_folders import write_folder

SHORT: dict[str, Any] = {
    "rounds": {"top_fractions": [1.0]},
    "duration": {"steps": 3},
    "validation": {"source": "none"},
    "precision": "fp32",
}


def train_digits(folder: Path) -> Path:
    """Two networks on digits, gray images of 16 x 16."""
    config = SHORT | {
        "task": "classification",
        "scheme": "mutual",
        "data": {"name": "digits", "num_labeled": 40},
        "networks": {"a": {"name": "small_cnn"}, "b": {"name": "wrn_10_1"}},
        "supervised": {"steps": 30},
        "batch": {"size": 16, "labeled": 8},
    }
    run(config, run_dir=folder)
    return folder


def train_masks(folder: Path, root: Path, **changes: Any) -> Path:
    """Two networks on a folder of photos and masks of three classes, in two sizes."""
    if not root.exists():
        write_folder(root)
    config = SHORT | {
        "task": "segmentation",
        "data": {"name": "folder", "root": str(root)},
        "networks": {"a": {"name": "small_unet"}, "b": {"name": "small_unet"}},
        "crop": {"size": [16, 16]},
        "supervised": {"steps": 4},
        "batch": {"size": 2, "labeled": 1},
    }
    run(config | changes, run_dir=folder)
    return folder


def train_scenes(folder: Path) -> Path:
    """Two networks on the embedded scenes."""
    config = SHORT | {
        "task": "segmentation",
        "scheme": "mutual",
        "data": {"name": "scenes", "num_labeled": 4},
        "networks": {"a": {"name": "small_unet"}, "b": {"name": "small_unet"}},
        "crop": {"size": [32, 32]},
        "supervised": {"steps": 2},
        "batch": {"size": 2, "labeled": 1},
    }
    run(config, run_dir=folder)
    return folder
