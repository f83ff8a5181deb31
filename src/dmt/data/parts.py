"""What a run may look at: labeled images, unlabeled images without their labels, and images to be scored on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from dmt.data.images import ImageSet
from dmt.errors import DataError
from dmt.types import LabeledSubset


@dataclass(frozen=True)
class Part:
    """Some images of a set, addressed by position, with their labels."""

    source: ImageSet
    indices: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.indices)

    def images(self, positions: Sequence[int]) -> Tensor:
        """`(n, channels, H, W)` uint8."""
        return self.source.images([self.indices[position] for position in positions])

    def labels(self, positions: Sequence[int]) -> Tensor:
        """`(n, *S)` int64."""
        return self.source.labels([self.indices[position] for position in positions])

    def size(self, position: int) -> tuple[int, int]:
        """Height and width of an image."""
        return self.source.size(self.indices[position])

    def subset(self, positions: Sequence[int]) -> "Part":
        """Some of the images."""
        return Part(self.source, tuple(self.indices[position] for position in positions))

    @property
    def keys(self) -> list[str]:
        """The images' names."""
        return [self.source.key(index) for index in self.indices]


class SealedLabels:
    """True labels of unlabeled images.

    Only `evaluate.py` opens it, to say how good pseudo labels were; a test holds training to that.
    """

    def __init__(self, part: Part) -> None:
        self._part = part

    def open(self) -> Part:
        """The labels; whoever calls this must not train."""
        return self._part


class UnlabeledPart:
    """Some images of a set, addressed by position; there is no way to a label but `truth`."""

    def __init__(self, source: ImageSet, indices: tuple[int, ...], *, has_truth: bool) -> None:
        part = Part(source, indices)
        self._part = part
        self.truth = SealedLabels(part) if has_truth else None

    def __len__(self) -> int:
        return len(self._part)

    def images(self, positions: Sequence[int]) -> Tensor:
        """`(n, channels, H, W)` uint8.

        Raises:
            DataError: one of them cannot be read.
        """
        try:
            return self._part.images(positions)
        except DataError as error:
            # Fixed when a run begins: pseudo labels know their images by place.
            raise DataError(
                f"{error} Or leave up to N such images out, in a new run: data.max_unreadable=N."
            ) from error

    def size(self, position: int) -> tuple[int, int]:
        """Height and width of an image."""
        return self._part.size(position)

    def subset(self, positions: Sequence[int]) -> "UnlabeledPart":
        """Some of the images; how good their pseudo labels are is not told."""
        some = self._part.subset(positions)
        return UnlabeledPart(some.source, some.indices, has_truth=False)

    @property
    def keys(self) -> list[str]:
        """The images' names."""
        return self._part.keys


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Everything one arm of a run works on.

    `validation` is None where no labels were set aside for choices; `subsets` holds the labels that networks start from
    where they start from different ones.
    """

    num_classes: int
    labeled: Part
    subsets: Mapping[LabeledSubset, Part] = field(default_factory=dict)
    unlabeled: UnlabeledPart
    validation: Part | None
    test: Part | None

    def labeled_for(self, subset: LabeledSubset) -> Part:
        """The labels that a stage trains on."""
        return self.labeled if subset == "all" else self.subsets[subset]
