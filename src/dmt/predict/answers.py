"""What networks say of images, one by one and together."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dmt.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What is said of one image; `*S` is `()` in classification, the image's `(H, W)` in segmentation.

    Attributes:
        label: `(*S)` int64, the most probable class.
        confidence: `(*S)` float32, its probability.
        probabilities: `(C, *S)` float32; None where they were not asked for.
    """

    label: np.ndarray
    confidence: np.ndarray
    probabilities: np.ndarray | None

    @property
    def is_finite(self) -> bool:
        """Whether the network had an answer at all."""
        return bool(np.isfinite(self.confidence).all())

    def at_size(self, size: tuple[int, int]) -> "Answer":
        """A map's answer for another height and width: each new pixel has that of the nearest old one."""
        if self.label.shape == size:
            return self
        probabilities = None if self.probabilities is None else map_at_size(self.probabilities, size)
        label, confidence = (map_at_size(one, size) for one in (self.label, self.confidence))
        return Answer(label=label, confidence=confidence, probabilities=probabilities)


@dataclass(frozen=True)
class Predictions(Sequence[Answer]):
    """An answer for each image, in the order of the images.

    Attributes:
        answers: one by one.
        class_names: what the labels 0, 1, ... are called.
    """

    answers: tuple[Answer, ...]
    class_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.answers)

    def __getitem__(self, index: Any) -> Any:
        return self.answers[index]

    def __iter__(self) -> Iterator[Answer]:
        return iter(self.answers)

    @property
    def labels(self) -> np.ndarray:
        """`(N, *S)` int64.

        Raises:
            DataError: the images differ in size.
        """
        return self._together("label")

    @property
    def confidence(self) -> np.ndarray:
        """`(N, *S)` float32; raises as `labels`."""
        return self._together("confidence")

    @property
    def probabilities(self) -> np.ndarray:
        """`(N, C, *S)` float32; raises as `labels`."""
        return self._together("probabilities")

    @property
    def names(self) -> list[str]:
        """The class of each image.

        Raises:
            DataError: these are masks, which hold a class for each pixel.
        """
        if any(answer.label.ndim for answer in self.answers):
            raise DataError("These are masks, with a class for each pixel: class_names[k] is the name of label k.")
        return [self.class_names[int(label)] for label in self.labels]

    def _together(self, name: str) -> np.ndarray:
        arrays = [getattr(answer, name) for answer in self.answers]
        if len({array.shape for array in arrays}) > 1:
            raise DataError(
                f"The images differ in size, so there is no one array of {name}; take the answers one by one."
            )
        return np.stack(arrays) if arrays else np.empty(0)


def map_at_size(told: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A map `(*, H, W)` at another height and width: each new pixel has what the nearest old one has."""
    if told.shape[-2:] == size:
        return told
    rows, columns = (_nearest(new, old) for new, old in zip(size, told.shape[-2:], strict=True))
    resized: np.ndarray = told[..., rows[:, None], columns[None]]
    return resized


def _nearest(new: int, old: int) -> np.ndarray:
    """For each new pixel, the old one that its center lies in: whole numbers, so that it is exact."""
    places: np.ndarray = (2 * np.arange(new) + 1) * old // (2 * new)
    return places
