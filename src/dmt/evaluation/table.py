"""All that figures are made of, as one row of sums an image: figures of any choice of images are then sums of rows."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse

from dmt.metrics import calibration_bins, calibration_error, intersection_over_union, per_class_accuracy

NUM_BINS = 15
"""Of confidence, for the calibration error; of equal width."""

_CELLS_TOGETHER = 2**22
"""Numbers of one kind in memory, 32 MB."""


@dataclass(frozen=True)
class Columns:
    """What the columns of the table are.

    In this order: the confusion matrix row by row; for each bin of confidence the number of sites, the sum of their
    confidences, and how many are right; the sum of the confidences of all that are right.
    """

    num_classes: int

    def __len__(self) -> int:
        return self.num_classes**2 + 3 * NUM_BINS + 1

    def split(self, sums: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Sums `(*, columns)` as confusion `(*, C, C)`, bins `(*, 3, bins)` and the last sum `(*)`."""
        pairs = self.num_classes**2
        confusion = sums[..., :pairs].reshape(*sums.shape[:-1], self.num_classes, self.num_classes)
        return confusion, sums[..., pairs:-1].reshape(*sums.shape[:-1], 3, NUM_BINS), sums[..., -1]


@dataclass(frozen=True)
class Row:
    """An image's sums: `places` of the columns that are not 0, and their `values`."""

    places: np.ndarray
    values: np.ndarray


def image_row(label: np.ndarray, confidence: np.ndarray, target: np.ndarray, *, num_classes: int) -> Row:
    """The sums of an image's sites.

    Args:
        label: `(*S)` predicted classes.
        confidence: `(*S)` their probabilities.
        target: `(*S)` true classes; those outside 0 .. C - 1 count nothing.
        num_classes: C.
    """
    known = (target >= 0) & (target < num_classes)
    label, confidence, target = label[known], confidence[known].astype(np.float64), target[known]
    right, bins = label == target, calibration_bins(confidence, num_bins=NUM_BINS)
    pairs, counts = np.unique(target * num_classes + label, return_counts=True)  # few of the many that there may be
    pieces: list[np.ndarray] = [
        np.bincount(bins, minlength=NUM_BINS),
        np.bincount(bins, weights=confidence, minlength=NUM_BINS),
        np.bincount(bins, weights=right, minlength=NUM_BINS),
        np.array([confidence[right].sum()]),
    ]
    sums: np.ndarray = np.concatenate(pieces)
    places = np.flatnonzero(sums)
    return Row(np.concatenate([pairs, num_classes**2 + places]), np.concatenate([counts, sums[places]]))


def stack(rows: list[Row], columns: Columns) -> sparse.csr_matrix:
    """`(images, columns)`."""
    ends = np.cumsum([0, *(len(row.places) for row in rows)])
    places = np.concatenate([row.places for row in rows])
    values = np.concatenate([row.values for row in rows])
    return sparse.csr_matrix((values, places, ends), shape=(len(rows), len(columns)))


def figures_of(sums: np.ndarray, columns: Columns, *, is_dense: bool) -> dict[str, np.ndarray]:
    """Every figure, percent, of sums `(*, columns)`: `(*)` each, and `per_class` `(*, C)`; NaN where nothing counts."""
    confusion, (counts, confidence, right), sure = _pieces(sums, columns)
    matrices = torch.from_numpy(confusion)
    with np.errstate(invalid="ignore"):
        accuracy = 100.0 * np.trace(confusion, axis1=-2, axis2=-1) / confusion.sum(axis=(-2, -1))
        fine_grained = 100.0 * sure / counts.sum(axis=-1)
    error = calibration_error(confidence, right, counts)
    if is_dense:
        per_class = intersection_over_union(matrices)
        mean = per_class.nanmean(dim=-1).numpy()
        return {"mean_iou": mean, "pixel_accuracy": accuracy, "ece": error, "per_class": per_class.numpy()}
    per_class = per_class_accuracy(matrices)
    return {
        "accuracy": accuracy,
        "fine_grained_accuracy": fine_grained,
        "ece": error,
        "per_class": per_class.numpy(),
    }


def _pieces(sums: np.ndarray, columns: Columns) -> tuple[np.ndarray, tuple[np.ndarray, ...], np.ndarray]:
    confusion, bins, sure = columns.split(sums)
    return np.ascontiguousarray(confusion), tuple(np.moveaxis(bins, -2, 0)), sure


def resampled_sums(table: sparse.csr_matrix, draws: np.random.Generator, *, times: int) -> Iterator[np.ndarray]:
    """Sums over as many images as there are, drawn with replacement, again and again: `(some, columns)` at a time.

    Only so many at a time that neither the draws nor the sums fill the memory.
    """
    num_images, num_columns = table.shape
    together = max(1, _CELLS_TOGETHER // max(num_images, num_columns))
    transposed = table.T.tocsr()
    for start in range(0, times, together):
        count = min(together, times - start)
        drawn = draws.integers(0, num_images, size=(count, num_images))
        places = (drawn + num_images * np.arange(count)[:, None]).ravel()
        weights = np.bincount(places, minlength=count * num_images).reshape(count, num_images)
        yield np.asarray((transposed @ weights.T.astype(np.float64)).T)
