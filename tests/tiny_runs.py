"""Runs small enough for tests: images that a few dozen steps can learn, and what a run leaves behind."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import TensorDataset

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


def bits_of_run(folder: Path) -> dict[str, Any]:
    """Everything in a finished run that must repeat exactly: weights, scores, pseudo labels, facts and the result."""
    binary = {
        str(path.relative_to(folder)): path.read_bytes()
        for suffix in ("safetensors", "parquet")
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
