"""What a network's answers on a labeled part come to: the figures that are reported, and those that choices go by."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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

    def take(self, order: Tensor) -> Self:
        """The scores of some of the images, in the given order."""
        return type(self)(**{name: value[order] for name, value in vars(self).items()})

    @classmethod
    def pool(cls, scores: Sequence["Scores"]) -> Self:
        """The scores of several disjoint parts as those of one."""
        names = vars(scores[0])
        return cls(**{name: torch.cat([getattr(one, name) for one in scores]) for name in names})


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
    """Segmentation: one confusion matrix an image, `(n, C, C)` counts of pixels, rows true classes."""

    headline = "mean_iou"
    per_class_figure = "per_class_iou"
    title = "mean IoU"
    second_title = "pixel accuracy"

    confusions: Tensor

    @classmethod
    def measure(cls, probabilities: Tensor, targets: Tensor) -> Self:
        """See `Scores`; ignored pixels count nothing."""
        num_classes = probabilities.shape[1]
        pairs = zip(top_class(probabilities), targets, strict=True)
        matrices = [confusion_matrix(one, target, num_classes=num_classes) for one, target in pairs]
        return cls(confusions=torch.stack(matrices).cpu())

    @property
    def confusion(self) -> Tensor:
        """See `Scores`."""
        return self.confusions.sum(dim=0)

    def figures(self) -> dict[str, float]:
        """Mean IoU over the classes that occur, their number, and pixel accuracy."""
        seen = int((~intersection_over_union(self.confusion).isnan()).sum())
        figures = {"mean_iou": float(mean_iou(self.confusion)), "pixel_accuracy": accuracy(self.confusion)}
        return rounded(figures) | {"num_classes_seen": seen}

    def per_class(self, class_names: Sequence[str]) -> dict[str, float | None]:
        """IoU of each class."""
        return _by_name(class_names, intersection_over_union(self.confusion))

    def rank(self) -> tuple[float, float]:
        """Mean IoU, then pixel accuracy."""
        return float(mean_iou(self.confusion)), accuracy(self.confusion)

    def minus(self, other: Self) -> tuple[float, float]:
        """Of the mean IoU, which is no mean over images: its standard error is the jackknife's, leaving out each."""
        difference = float(mean_iou(self.confusion) - mean_iou(other.confusion))
        count = len(self.confusions)
        if count < 2:
            return difference, math.inf
        without = mean_iou(self.confusion - self.confusions) - mean_iou(other.confusion - other.confusions)
        spread = float((without - without.mean()).square().sum())
        return difference, math.sqrt(spread * (count - 1) / count)


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
    for kind in KINDS:
        if kind.__dataclass_fields__.keys() == fields.keys():  # type: ignore[attr-defined]
            return kind(**fields)
    raise CheckpointError(f"{path} holds {', '.join(sorted(fields))}, no scores. Delete it to have it made again.")


def _by_name(class_names: Sequence[str], values: Tensor) -> dict[str, float | None]:
    pairs = zip(class_names, values.tolist(), strict=True)
    return {name: None if math.isnan(value) else round(value, 4) for name, value in pairs}
