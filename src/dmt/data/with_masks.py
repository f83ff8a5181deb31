"""Images in memory that may differ in size, and any images with masks in memory."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dmt.data.images import ImageSet
from dmt.errors import DataError


@dataclass(frozen=True)
class LooseImages:
    """Images of any sizes as an `ImageSet` without labels.

    Attributes:
        pixels: `(channels, H, W)` each, uint8 levels or float32.
        prefix: begins every key, e.g. `train`.
    """

    pixels: Sequence[Tensor]
    prefix: str

    def __len__(self) -> int:
        return len(self.pixels)

    def images(self, indices: Sequence[int]) -> Tensor:
        """`(n, channels, H, W)`, of images of one size."""
        return torch.stack([self.pixels[int(index)] for index in indices])

    def labels(self, indices: Sequence[int]) -> Tensor:
        """Refuse: there is none."""
        raise DataError(f"Images of '{self.prefix}' have no labels.")

    def key(self, index: int) -> str:
        """For example `train/00042`."""
        return f"{self.prefix}/{index:05d}"

    def size(self, index: int) -> tuple[int, int]:
        """Height and width of an image."""
        height, width = self.pixels[index].shape[-2:]
        return height, width

    def known(self) -> np.ndarray:
        """None."""
        return np.zeros(len(self), dtype=bool)


@dataclass(frozen=True)
class WithMasks:
    """The images of a set with masks of their sizes, as an `ImageSet`.

    Attributes:
        source: the images; labels that it may have are not looked at.
        masks: `(H, W)` uint8 each, 255 = ignored; None where there is none.
    """

    source: ImageSet
    masks: Sequence[Tensor | None]

    def __post_init__(self) -> None:
        assert len(self.source) == len(self.masks)

    def __len__(self) -> int:
        return len(self.masks)

    def images(self, indices: Sequence[int]) -> Tensor:
        """As the source gives them."""
        return self.source.images(indices)

    def labels(self, indices: Sequence[int]) -> Tensor:
        """`(n, H, W)` int64.

        Raises:
            DataError: one of them has no mask.
        """
        masks = [(index, self.masks[int(index)]) for index in indices]
        for index, mask in masks:
            if mask is None:
                raise DataError(f"{self.key(int(index))} has no mask.")
        return torch.stack([mask.to(torch.int64) for _, mask in masks if mask is not None])

    def key(self, index: int) -> str:
        """As the source names it."""
        return self.source.key(index)

    def size(self, index: int) -> tuple[int, int]:
        """Height and width of an image."""
        return self.source.size(index)

    def known(self) -> np.ndarray:
        """Every image that has a mask."""
        return np.array([mask is not None for mask in self.masks], dtype=bool)
