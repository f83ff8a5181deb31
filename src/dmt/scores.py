"""What a network's answers on a labeled part come to: the figures that are reported, and those that choices go by."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from dmt.errors import CheckpointError
from dmt.files import write_atomic
from dmt.metrics import (
    accuracy,
    confusion_matrix,
    fine_grained_accuracy,
    intersection_over_union,
    mean_iou,
    per_class_accuracy,
    scaled_log_loss,
)
from dmt.selection import top_class


class Scores(ABC):
    """One entry for each image of the part, so that two networks can be compared image by image.

    Class attributes:
        headline: the figure that a result is judged by.
        per_class_figure: its name, class by class.
        title: the headline in words.
        second_title: in words, what decides between equals.
    """

    headline: ClassVar[str]
    per_class_figure: ClassVar[str]
    title: ClassVar[str]
    second_title: ClassVar[str]

    @classmethod
    @abstractmethod
    def measure(cls, probabilities: Tensor, targets: Tensor) -> Self:
        """Scores of a batch: `(n, C, *S)` probabilities, `(n, *S)` true labels."""

    @abstractmethod
    def figures(self) -> dict[str, float]:
        """Everything that is reported, percent; a figure that nothing was counted for is left out."""

    @abstractmethod
    def per_class(self, class_names: Sequence[str]) -> dict[str, float | None]:
        """The headline's figure of each class, percent; None for a class that does not occur."""

    @abstractmethod
    def rank(self) -> tuple[float, float]:
        """What choices go by: the headline figure, and what decides between equals; the higher the better."""

    @abstractmethod
    def minus(self, other: Self) -> tuple[float, float]:
        """Difference of the headline figure to another network's on the same images, and its standard error, points."""

    @property
    @abstractmethod
    def confusion(self) -> Tensor:
        """`(C, C)` counts of sites, rows true classes."""

    def __len__(self) -> int:
        return len(next(iter(vars(self).values())))

    @abstractmethod
    def in_order(self, order: Tensor) -> Self:
        """The same scores with the images in another order."""

    @classmethod
    @abstractmethod
    def pool(cls, scores: Sequence[Self]) -> Self:
        """The scores of several disjoint parts as those of one."""


@dataclass(frozen=True, kw_only=True)
class ImageScores(Scores):
    """Classification: `(n, C)` probabilities, `(n,)` true classes."""

    headline = "accuracy"
    per_class_figure = "per_class_accuracy"
    title = "accuracy"
    second_title = "temperature-scaled log-loss"

    probabilities: Tensor
    targets: Tensor

    @classmethod
    def measure(cls, probabilities: Tensor, targets: Tensor) -> Self:
        """See `Scores`."""
        return cls(probabilities=probabilities.cpu(), targets=targets.cpu())

    def in_order(self, order: Tensor) -> Self:
        """See `Scores`."""
        return replace(self, probabilities=self.probabilities[order], targets=self.targets[order])

    @classmethod
    def pool(cls, scores: Sequence[Self]) -> Self:
        """See `Scores`."""
        return cls(
            probabilities=torch.cat([one.probabilities for one in scores]),
            targets=torch.cat([one.targets for one in scores]),
        )

    @property
    def correct(self) -> Tensor:
        """`(n,)` bool."""
        return self.probabilities.argmax(dim=1) == self.targets

    @property
    def confusion(self) -> Tensor:
        """See `Scores`."""
        num_classes = self.probabilities.shape[1]
        return confusion_matrix(self.probabilities.argmax(dim=1), self.targets, num_classes=num_classes)

    def figures(self) -> dict[str, float]:
        """Accuracy and fine-grained accuracy."""
        fine_grained = fine_grained_accuracy(self.probabilities, self.targets)
        return rounded({"accuracy": accuracy(self.confusion), "fine_grained_accuracy": fine_grained})

    def per_class(self, class_names: Sequence[str]) -> dict[str, float | None]:
        """Share of each true class that is predicted right."""
        return _by_name(class_names, per_class_accuracy(self.confusion))

    def rank(self) -> tuple[float, float]:
        """Accuracy, then the temperature-scaled log-loss."""
        return 100.0 * float(self.correct.double().mean()), -scaled_log_loss(self.probabilities, self.targets)

    def minus(self, other: Self) -> tuple[float, float]:
        """Of the accuracy; the standard error is that of the mean of paired differences."""
        difference = 100.0 * (self.correct.double() - other.correct.double())
        error = float(difference.std()) / math.sqrt(len(difference)) if len(difference) > 1 else math.inf
        return float(difference.mean()), error


@dataclass(frozen=True, kw_only=True)
class PixelScores(Scores):
    """Segmentation: pixels by image and class, and by pair of classes over the whole part.

    Images are compared by these sums alone. A confusion matrix for each would be 360 MB for 150 classes and 2,000
    images, in memory and once more in every stage's folder.

    Attributes:
        intersections: `(n, C)` pixels that are of the class and predicted as it.
        unions: `(n, C)` pixels that are of the class or predicted as it.
        matrix: `(C, C)` counts of all pixels, rows true classes.
    """

    headline = "mean_iou"
    per_class_figure = "per_class_iou"
    title = "mean IoU"
    second_title = "pixel accuracy"

    intersections: Tensor
    unions: Tensor
    matrix: Tensor

    @classmethod
    def measure(cls, probabilities: Tensor, targets: Tensor) -> Self:
        """See `Scores`; ignored pixels count nothing."""
        num_classes = probabilities.shape[1]
        pairs = zip(top_class(probabilities), targets, strict=True)
        return cls.of(torch.stack([confusion_matrix(one, target, num_classes=num_classes) for one, target in pairs]))

    @classmethod
    def of(cls, confusions: Tensor) -> Self:
        """From `(n, C, C)`: a confusion matrix for each image."""
        confusions = confusions.cpu()
        hits = confusions.diagonal(dim1=1, dim2=2)
        unions = confusions.sum(dim=1) + confusions.sum(dim=2) - hits
        return cls(intersections=hits.contiguous(), unions=unions, matrix=confusions.sum(dim=0))

    @property
    def confusion(self) -> Tensor:
        """See `Scores`."""
        return self.matrix

    def in_order(self, order: Tensor) -> Self:
        """See `Scores`."""
        return replace(self, intersections=self.intersections[order], unions=self.unions[order])

    @classmethod
    def pool(cls, scores: Sequence[Self]) -> Self:
        """See `Scores`."""
        return cls(
            intersections=torch.cat([one.intersections for one in scores]),
            unions=torch.cat([one.unions for one in scores]),
            matrix=torch.stack([one.matrix for one in scores]).sum(dim=0),
        )

    def figures(self) -> dict[str, float]:
        """Mean IoU over the classes that occur, their number, and pixel accuracy."""
        seen = int((~intersection_over_union(self.matrix).isnan()).sum())
        figures = {"mean_iou": float(mean_iou(self.matrix)), "pixel_accuracy": accuracy(self.matrix)}
        return rounded(figures) | {"num_classes_seen": seen}

    def per_class(self, class_names: Sequence[str]) -> dict[str, float | None]:
        """IoU of each class."""
        return _by_name(class_names, intersection_over_union(self.matrix))

    def rank(self) -> tuple[float, float]:
        """Mean IoU, then pixel accuracy."""
        return float(mean_iou(self.matrix)), accuracy(self.matrix)

    def minus(self, other: Self) -> tuple[float, float]:
        """Of the mean IoU, which is no mean over images: its standard error is the jackknife's, leaving out each.

        Where one image alone makes the difference, the error is no smaller than that, as it is for accuracies.
        """
        difference, count = self.rank()[0] - other.rank()[0], len(self)
        if count < 2:
            return difference, math.inf
        without = self._without_each() - other._without_each()
        error = math.sqrt(float((without - without.mean()).square().sum()) * (count - 1) / count)
        rests_on_one = float((without * difference).min()) < _ROUNDING
        return difference, max(error, abs(difference)) if rests_on_one else error

    def _without_each(self) -> Tensor:
        """`(n,)` mean IoU of all images but one."""
        intersections, unions = (one.sum(dim=0) - one for one in (self.intersections, self.unions))
        return (100.0 * intersections.double() / unions.double()).nanmean(dim=-1)


_ROUNDING = 1e-9
"""Points; what is nearer to 0 is none."""

KINDS: tuple[type[Scores], ...] = (ImageScores, PixelScores)


def rounded(figures: Mapping[str, float]) -> dict[str, float]:
    """Figures as they are written down: four places, and none where nothing was counted, since JSON has no NaN."""
    return {name: round(value, 4) for name, value in figures.items() if not math.isnan(value)}


def save_scores(path: Path, scores: dict[str, Scores]) -> None:
    """Write named scores (`test`, `validation`) to one safetensors file."""
    tensors = {
        f"{name}/{field}": tensor.contiguous() for name, one in scores.items() for field, tensor in vars(one).items()
    }
    content = save(tensors)
    write_atomic(path, lambda temporary: temporary.write_bytes(content))


def load_scores(path: Path) -> dict[str, Scores]:
    """Read what `save_scores` wrote.

    Raises:
        CheckpointError: the file is missing or broken.
    """
    found: dict[str, dict[str, Tensor]] = {}
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}). Delete it to have it made again.") from error
    for key, tensor in tensors.items():
        name, _, field = key.partition("/")
        found.setdefault(name, {})[field] = tensor
    return {name: _restore(fields, path) for name, fields in sorted(found.items())}


def _restore(fields: dict[str, Tensor], path: Path) -> Scores:
    if fields.keys() == {"confusions"}:  # of a run before 2026-11-29
        return PixelScores.of(fields["confusions"])
    for kind in KINDS:
        if kind.__dataclass_fields__.keys() == fields.keys():  # type: ignore[attr-defined]
            return kind(**fields)
    raise CheckpointError(f"{path} holds {', '.join(sorted(fields))}, no scores. Delete it to have it made again.")


def _by_name(class_names: Sequence[str], values: Tensor) -> dict[str, float | None]:
    pairs = zip(class_names, values.tolist(), strict=True)
    return {name: None if math.isnan(value) else round(value, 4) for name, value in pairs}
