"""Estimators that train in a second, and data for them."""

from typing import Any

import numpy as np

import dmt
from tiny_runs import masked_images, striped_images

NUM_TRAIN, NUM_KNOWN = 60, 12


def stripes(*, seed: int = 1, count: int = NUM_TRAIN) -> tuple[np.ndarray, np.ndarray]:
    """`(N, 8, 8)` uint8 images and their classes 0, 1, 2."""
    pixels, labels = striped_images(count, seed=seed)
    return pixels[:, 0].numpy(), labels.numpy()


def hidden(labels: np.ndarray, *, nothing: Any = -1, known: int = NUM_KNOWN) -> np.ndarray:
    """All labels but the first few taken away."""
    dtype = labels.dtype if nothing == -1 else object
    return np.array([*labels[:known], *[nothing] * (len(labels) - known)], dtype=dtype)


def classifier(**changes: Any) -> dmt.SemiSupervisedClassifier:
    """Short, and without augmentation."""
    short = {"steps": 20, "supervised_steps": 60, "top_fractions": (0.5, 1.0), "batch_size": 16, "labeled_per_batch": 4}
    plain = {"augment": "none", "random_state": 0, "learning_rate": 0.05}
    return dmt.SemiSupervisedClassifier(**short | plain | changes)


def bands(count: int = 10, *, seed: int = 1, sizes: Any = ((10, 12),)) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Images `(H, W, 3)` and masks `(H, W)` of classes 0, 1, 2 and 255."""
    source = masked_images(count, seed=seed, sizes=sizes)
    return [one.permute(1, 2, 0).numpy() for one in source.pixels], [one.numpy() for one in source.masks]


def segmenter(**changes: Any) -> dmt.SemiSupervisedSegmenter:
    """Likewise, for masks."""
    short = {"steps": 8, "supervised_steps": 40, "top_fractions": (1.0,), "batch_size": 4, "labeled_per_batch": 1}
    return dmt.SemiSupervisedSegmenter(
        **short | {"augment": "no-flip", "random_state": 0, "config": {"crop.scale": [1.0, 1.0]}} | changes
    )
