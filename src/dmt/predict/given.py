"""Images as a user hands them over: files, arrays, tensors, pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dmt.data.image_files import IMAGE_SUFFIXES
from dmt.data.images import resize
from dmt.data.orientation import upright
from dmt.data.pixels import PixelRule
from dmt.data.torch_images import TorchImages, tensor_of
from dmt.errors import DataError
from dmt.models.description import InputDescription

_GRAY_WEIGHTS = (19595, 38470, 7471)
"""Of red, green and blue, 65536 together: what the library that reads pictures takes (ITU-R BT.601)."""


@dataclass(frozen=True)
class ImageReader:
    """Brings whatever an image is given as into the form that a model was trained on."""

    input: InputDescription

    @cached_property
    def rule(self) -> PixelRule:
        """What values in files stand for."""
        seen = self.input
        return PixelRule(channels=seen.channels, value_range=seen.value_range, exif_orientation=seen.exif_orientation)

    @property
    def suffixes(self) -> frozenset[str]:
        """Of the files in a folder that are images to it; arrays only where pictures are not what it was trained on."""
        return IMAGE_SUFFIXES if self.rule.is_picture else IMAGE_SUFFIXES | {".npy"}

    def read(self, image: Any, *, where: str) -> Tensor:
        """`(channels, H, W)` uint8, at its own size.

        Args:
            image: a path, a uint8 or float tensor `(channels, H, W)` or `(H, W)`, an array `(H, W)` or `(H, W,
                channels)`, or a PIL image; floats in [0, 1].
            where: what messages call it; a path is called by its name.

        Raises:
            DataError: it cannot be read, or has other channels.
        """
        if isinstance(image, str | Path):
            return self.rule.read(Path(image))
        if isinstance(image, Image.Image) and self.rule.exif_orientation:
            image = upright(image)
        if isinstance(image, np.ndarray) and image.ndim == 3 and self.input.channels not in (1, 3):
            image = tensor_of(image.transpose(2, 0, 1))
        try:
            tensor = TorchImages(dataset=[(image,)], prefix="images").images([0])[0]
        except DataError as error:
            raise DataError(str(error).replace("Image 0 of 'images'", where)) from error
        return self._adapted(tensor, where)

    def _adapted(self, image: Tensor, where: str) -> Tensor:
        """The image with the channels of training: gray and colors are made of each other as of files."""
        found, wanted = len(image), self.input.channels
        if found == wanted:
            return image
        if (found, wanted) == (1, 3):
            return image.expand(3, -1, -1)
        if (found, wanted) == (3, 1):
            return _gray(image)
        raise DataError(f"{where} has {found} channels; the model was trained on {wanted}.")

    def sized(self, image: Tensor) -> Tensor:
        """The image at the size that networks see it in."""
        return image if self.input.image_size is None else resize(image[None], self.input.image_size)[0]


@dataclass(frozen=True)
class TensorPart:
    """Images in memory, `(channels, H, W)` uint8 each, as inference takes them."""

    tensors: Sequence[Tensor]

    def __len__(self) -> int:
        return len(self.tensors)

    def images(self, positions: Sequence[int]) -> Tensor:
        """`(n, channels, H, W)` uint8."""
        return torch.stack([self.tensors[position] for position in positions])

    def size(self, position: int) -> tuple[int, int]:
        """Height and width."""
        height, width = self.tensors[position].shape[-2:]
        return height, width


def _gray(image: Tensor) -> Tensor:
    """`(3, H, W)` uint8 -> `(1, H, W)`, in whole numbers and rounded, so that an array is what its file is."""
    weights = torch.tensor(_GRAY_WEIGHTS, dtype=torch.int32).reshape(3, 1, 1)
    return (((image.int() * weights).sum(dim=0, keepdim=True) + 2**15) >> 16).to(torch.uint8)
