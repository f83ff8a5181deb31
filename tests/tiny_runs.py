"""Runs small enough for tests: images that a few dozen steps can learn, and what a run leaves behind."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from dmt.data.images import DataSet
from dmt.run import run
from dmt.train import Training
from dmt.types import IGNORE_INDEX

NUM_CLASSES = 3


def striped_images(count: int, *, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """`(count, 1, 8, 8)` uint8 images whose class is the place of a bright band, and the classes, evenly dealt."""
    random = np.random.default_rng(seed)
    labels = random.permutation(np.arange(count) % NUM_CLASSES)
    pixels = random.integers(0, 120, size=(count, 1, 8, 8))
    for image, label in zip(pixels, labels, strict=True):
        image[0, 2 * label : 2 * label + 2] += 100
    return torch.from_numpy(pixels.astype(np.uint8)), torch.from_numpy(labels)


def striped_set(count: int, *, seed: int) -> TensorDataset:
    """The same as a torch data set."""
    return TensorDataset(*striped_images(count, seed=seed))


def tiny_parts(*, num_train: int = 60, num_test: int = 18) -> dict[str, TensorDataset]:
    """`train` and `test`, for `dmt.run`."""
    return {"train": striped_set(num_train, seed=1), "test": striped_set(num_test, seed=2)}


def tiny_network() -> nn.Module:
    """A network on `striped_images`, with BatchNorm, whose steps cost next to nothing."""
    features = nn.Sequential(nn.Conv2d(1, 4, 3, stride=2), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())
    return nn.Sequential(features, nn.Linear(36, NUM_CLASSES))


TINY_NETWORKS = {"a": tiny_network, "b": tiny_network}


def tiny_config(**changes: Any) -> dict[str, Any]:
    """A chain of two rounds on `tiny_parts`, a fraction of a second long."""
    config: dict[str, Any] = {
        "task": "classification",
        "data": {"name": "stripes", "num_labeled": 9},
        "validation": {"source": "none"},
        "rounds": {"top_fractions": [0.5, 1.0]},
        "duration": {"steps": 50},
        "supervised": {"steps": 50},
        "batch": {"size": 8, "labeled": 4},
        "optimizer": {"lr": 0.05},
        "augment": "photo",
        "precision": "fp32",
    }
    return config | changes


MASK_SIZES = ((10, 12), (10, 12), (9, 14), (13, 8))
"""Heights and widths of the images of `tiny_masks`, in turn."""


@dataclass(frozen=True)
class MaskedArrays:
    """Images of any sizes with masks, held in memory, as an `ImageSet`; `hidden` ones have no mask."""

    pixels: Sequence[Tensor]
    masks: Sequence[Tensor]
    prefix: str
    hidden: frozenset[int] = frozenset()

    def __len__(self) -> int:
        return len(self.pixels)

    def images(self, indices: Sequence[int]) -> Tensor:
        return torch.stack([self.pixels[index] for index in indices])

    def labels(self, indices: Sequence[int]) -> Tensor:
        assert not self.hidden & set(indices), "an image without a mask was asked for it"
        return torch.stack([self.masks[index] for index in indices])

    def key(self, index: int) -> str:
        return f"{self.prefix}/{index:03d}"

    def size(self, index: int) -> tuple[int, int]:
        height, width = self.masks[index].shape
        return height, width

    def known(self) -> np.ndarray:
        return np.array([index not in self.hidden for index in range(len(self))])


def masked_images(
    count: int, *, seed: int, prefix: str = "train", sizes: Sequence[tuple[int, int]] = MASK_SIZES
) -> MaskedArrays:
    """Color images of three bands; the brightest channel tells a pixel's class. An ignored line parts the bands."""
    random = np.random.default_rng(seed)
    pixels, masks = [], []
    for number in range(count):
        height, width = sizes[number % len(sizes)]
        edges = np.sort(random.choice(np.arange(2, width - 2), 2, replace=False))
        row = random.permutation(NUM_CLASSES)[np.digitize(np.arange(width), edges)]
        mask = np.broadcast_to(row, (height, width)).copy()
        image = random.integers(0, 110, size=(3, height, width))
        image += 90 * (np.arange(3)[:, None, None] == mask)
        mask[:, edges] = IGNORE_INDEX
        pixels.append(torch.from_numpy(image.astype(np.uint8)))
        masks.append(torch.from_numpy(mask.astype(np.int64)))
    return MaskedArrays(pixels, masks, prefix)


def tiny_masks(*, num_train: int = 16, num_test: int = 5, **changes: Any) -> DataSet:
    """`masked_images` as a data set; a test hands it to `dmt.run` in place of `dmt.loading.load_dataset`."""
    settings: dict[str, Any] = {
        "name": "bands",
        "class_names": ("red", "green", "blue"),
        "train": masked_images(num_train, seed=1),
        "test": masked_images(num_test, seed=2, prefix="test"),
        "mean": (0.3, 0.3, 0.3),
        "std": (0.2, 0.2, 0.2),
    }
    return DataSet(**settings | changes)


def tiny_mask_network() -> nn.Module:
    """A network on `tiny_masks`, with BatchNorm, whose steps cost next to nothing."""
    return nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, NUM_CLASSES, 1))


TINY_MASK_NETWORKS: dict[str, Callable[[], nn.Module]] = {"a": tiny_mask_network, "b": tiny_mask_network}


def tiny_mask_config(**changes: Any) -> dict[str, Any]:
    """Two networks that teach each other for two rounds on `tiny_masks`, a fraction of a second long."""
    config: dict[str, Any] = {
        "task": "segmentation",
        "data": {"name": "bands", "num_labeled": 4},
        "validation": {"source": "none"},
        "rounds": {"top_fractions": [0.5, 1.0]},
        "duration": {"steps": 20},
        "supervised": {"steps": 30},
        "crop": {"size": [8, 8]},
        "batch": {"size": 4, "labeled": 1},
        "optimizer": {"lr": 0.05, "supervised_lr": 0.1},
        "precision": "fp32",
    }
    return config | changes


RunMasks = Callable[..., dict[str, Any]]


def mask_runner(monkeypatch: pytest.MonkeyPatch, folder: Path) -> RunMasks:
    """A function that runs `tiny_mask_config` with changes, shortly, on twelve images, in `folder / name`.

    It takes another data set as `bands`, other networks as `models`, and an observer.
    """
    # Half the time of runs as short as these; what survives a power cut is asked elsewhere.
    monkeypatch.setattr("os.fsync", lambda _: None)
    short = {"duration": {"steps": 2}, "supervised": {"steps": 12}, "rounds": {"top_fractions": [0.5]}}

    def start(
        *, bands: DataSet | None = None, models: Any = None, name: str = "run", observer: Any = None, **changes: Any
    ) -> dict[str, Any]:
        data = bands or tiny_masks(num_train=12, num_test=3)
        monkeypatch.setattr("dmt.loading.load_dataset", lambda *_, **__: data)
        config = tiny_mask_config(**short | changes)
        return run(config, models=models or TINY_MASK_NETWORKS, run_dir=folder / name, observer=observer)

    return start


def recorded_trainings(monkeypatch: pytest.MonkeyPatch) -> dict[str, Training]:
    """Every stage's training by its title, from now on; none of them takes place."""
    seen: dict[str, Training] = {}
    monkeypatch.setattr("dmt.stages.train", lambda training, **_: seen.update({training.title: training}))
    return seen


def bits_of_run(folder: Path) -> dict[str, Any]:
    """Everything in a finished run that must repeat exactly: weights, scores, pseudo labels, facts and the result."""
    binary = {
        str(path.relative_to(folder)): path.read_bytes()
        for suffix in ("safetensors", "parquet", "png")
        for path in sorted(folder.rglob(f"*.{suffix}"))
    }
    figures = {
        str(path.relative_to(folder)): _without_costs(json.loads(path.read_text()))
        for path in sorted([folder / "result.json", *folder.rglob("DONE"), *folder.rglob("manifest.json")])
    }
    return binary | figures


def differing(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    """Names of the entries that two results of `bits_of_run` do not share."""
    return sorted(name for name in first.keys() | second.keys() if first.get(name) != second.get(name))


def _without_costs(value: Any) -> Any:
    """A JSON value without time and memory, which no two runs share."""
    if isinstance(value, dict):
        return {key: _without_costs(one) for key, one in value.items() if key not in {"seconds", "peak_memory_mb"}}
    return [_without_costs(one) for one in value] if isinstance(value, list) else value
