"""Figures of a model on a labeled set, with bootstrap intervals over its images."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from dmt.errors import CheckpointError
from dmt.evaluation.labeled import LabeledSet
from dmt.evaluation.table import NUM_BINS, Columns, Row, figures_of, image_row, resampled_sums, stack
from dmt.inference import infer
from dmt.predict import Predictor
from dmt.randomness import generator
from dmt.selection import top_class
from dmt.types import Observer

FORMAT = 1
RESAMPLES = 1000
LEVEL = 0.95
WITHOUT_INTERVAL = ("ece",)


@dataclass(frozen=True)
class Figure:
    """A figure in percent, and the ends of its interval; None where nothing was counted, or there is no interval."""

    value: float | None
    low: float | None
    high: float | None

    def as_json(self) -> dict[str, float | None]:
        """For a file."""
        return {"value": self.value, "low": self.low, "high": self.high}


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What an evaluation came to.

    Attributes:
        title: data set and part.
        what: which network of its run it was.
        task: of the model.
        num_images: that were looked at.
        class_names: in the model's order.
        figures: by name; `ece` is the expected calibration error.
        per_class: accuracy of each true class, or its IoU.
        confusion: `(C, C)` counts of sites, rows true classes.
        bins: `(3, bins)` of confidence: number of sites, sum of confidences, number right.
        seed: of the resampling.
    """

    title: str
    what: str
    task: str
    num_images: int
    class_names: tuple[str, ...]
    figures: dict[str, Figure]
    per_class: dict[str, Figure]
    confusion: np.ndarray
    bins: np.ndarray
    seed: int

    def as_json(self) -> dict[str, Any]:
        """For a file: percent, counts of sites."""
        counts = self.confusion.sum(axis=1).tolist()
        classes = zip(self.per_class.items(), counts, strict=True)
        return {
            "format": FORMAT,
            "task": self.task,
            "network": self.what,
            "data": self.title,
            "num_images": self.num_images,
            "num_sites": int(self.confusion.sum()),
            "figures": {name: figure.as_json() for name, figure in self.figures.items()},
            "per_class": {name: {**figure.as_json(), "num_sites": count} for (name, figure), count in classes},
            "class_names": list(self.class_names),
            "confusion": self.confusion.tolist(),
            "calibration": [_bin(number, *sums) for number, sums in enumerate(self.bins.T.tolist())],
            "bootstrap": {"resamples": RESAMPLES, "level": LEVEL, "seed": self.seed, "over": "images"},
        }


def evaluate_on(
    predictor: Predictor,
    labeled: LabeledSet,
    *,
    batch_size: int | None = None,
    workers: int = 0,
    seed: int = 0,
    observer: Observer,
) -> Evaluation:
    """Have a model answer about a labeled set, and count.

    Intervals hold the middle 95 % of what 1,000 sets of as many images come to, drawn from this one with replacement;
    pixels of one image are no independent witnesses, so images are drawn. The calibration error has 15 bins of
    confidence, of equal width, and no interval: a draw adds its own chance to the gap of each bin, so that most draws
    are above what they are drawn from.

    Args:
        predictor: the model.
        labeled: with its classes.
        batch_size: images that go through the network together; None = the predictor's own.
        workers: processes that load images.
        seed: of the resampling.
        observer: told of the progress.

    Raises:
        DataError: an image or its label cannot be read.
        CheckpointError: the network gives values that are not finite.
    """
    columns = Columns(len(predictor.class_names))
    rows = _rows(
        predictor,
        labeled,
        batch_size=predictor.batch_size if batch_size is None else batch_size,
        workers=workers,
        observer=observer,
    )
    table = stack([row for _, row in sorted(rows, key=lambda one: one[0])], columns)
    sums = np.asarray(table.sum(axis=0)).ravel()
    figures = _figures(table, sums, columns, is_dense=predictor.is_dense, seed=seed)
    confusion, bins, _ = columns.split(sums)
    per_class = figures.pop("per_class")
    return Evaluation(
        title=labeled.title,
        what=predictor.what,
        task=predictor.description.task,
        num_images=len(labeled.part),
        class_names=predictor.class_names,
        figures={name: _figure(*column[:, 0]) for name, column in figures.items()},
        per_class={name: _figure(*per_class[:, k]) for k, name in enumerate(predictor.class_names)},
        confusion=confusion.astype(np.int64),
        bins=bins,
        seed=seed,
    )


def _rows(
    predictor: Predictor, labeled: LabeledSet, *, batch_size: int, workers: int, observer: Observer
) -> Iterator[tuple[int, Row]]:
    batches = infer(
        [predictor.network],
        labeled.part,
        engine=predictor.engine,
        batch_size=batch_size,
        workers=workers,
        title=labeled.title,
        observer=observer,
    )
    for positions, logits in batches:
        probabilities = logits[0].softmax(dim=1)
        columns = (top_class(probabilities), probabilities.amax(dim=1), labeled.labels(positions))
        for position, *of_image in zip(positions, *(column.cpu().numpy() for column in columns), strict=True):
            label, confidence, target = map(np.atleast_1d, of_image)
            if not np.isfinite(confidence).all():
                key = labeled.part.keys[position]
                raise CheckpointError(f"The network gives NaN or infinite values for {key} of {labeled.title}.")
            yield position, image_row(label, confidence, target, num_classes=len(predictor.class_names))


def _figures(
    table: sparse.csr_matrix, sums: np.ndarray, columns: Columns, *, is_dense: bool, seed: int
) -> dict[str, np.ndarray]:
    """Value, low and high end of every figure, `(3, 1)`, and of every class, `(3, C)`."""
    value = figures_of(sums[None], columns, is_dense=is_dense)
    resampled = [
        figures_of(some, columns, is_dense=is_dense)
        for some in resampled_sums(table, generator(seed, "bootstrap"), times=RESAMPLES)
    ]
    ends = [50 * (1 - LEVEL), 50 * (1 + LEVEL)]
    found = {}
    for name, point in value.items():
        drawn = np.concatenate([some[name] for some in resampled]).reshape(RESAMPLES, -1)
        interval = np.full((2, point.size), np.nan) if name in WITHOUT_INTERVAL else _percentiles(drawn, ends)
        found[name] = np.concatenate([point.reshape(1, -1), interval])
    return found


def _percentiles(drawn: np.ndarray, ends: list[float]) -> np.ndarray:
    """`(2, columns)`; NaN for a column that is NaN throughout, which numpy would warn of."""
    result = np.full((len(ends), drawn.shape[1]), np.nan)
    some = ~np.isnan(drawn).all(axis=0)
    result[:, some] = np.nanpercentile(drawn[:, some], ends, axis=0)
    return result


def _figure(value: float, low: float, high: float) -> Figure:
    return Figure(*(None if np.isnan(one) else round(float(one), 4) for one in (value, low, high)))


def _bin(number: int, count: float, confidence: float, right: float) -> dict[str, Any]:
    """A bin of confidence, percent."""
    means = {"confidence": confidence, "accuracy": right}
    return {
        "from": round(100 * number / NUM_BINS, 4),
        "to": round(100 * (number + 1) / NUM_BINS, 4),
        "num_sites": int(count),
        **{name: round(100 * total / count, 4) if count else None for name, total in means.items()},
    }
