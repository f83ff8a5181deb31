"""A user's torch `Dataset` as an image set: what its items may be, and how they become bytes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from dmt.data.image_files import pil_array
from dmt.data.images import resize
from dmt.errors import DataError
from dmt.types import UNLABELED


@dataclass(frozen=True, kw_only=True)
class TorchImages:
    """A map-style torch `Dataset` as an `ImageSet`; its items are `(image, label)`, or images alone.

    An image may be a uint8 tensor `(channels, H, W)` or `(H, W)`, a float tensor of that shape in [0, 1], a numpy array
    `(H, W)` or `(H, W, channels)` of either type, or a PIL image.

    Attributes:
        dataset: anything with `__getitem__` and `__len__`.
        prefix: begins every key, e.g. `train`.
        image_size: (height, width) to resize every image to (bilinear, antialiased); None leaves the size.
        channels: 1 turns color into gray, 3 turns gray into three equal channels; None leaves the channels.
    """

    dataset: Any
    prefix: str = "train"
    image_size: tuple[int, int] | None = None
    channels: int | None = None
    # Images are decoded to get at a label, and labels are asked for often; those of images are small enough to keep.
    _labels: dict[int, Tensor] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not (hasattr(self.dataset, "__len__") and hasattr(self.dataset, "__getitem__")):
            raise DataError(
                f"The data set '{self.prefix}' is a {type(self.dataset).__name__}; it needs __getitem__ and __len__ "
                "(a map-style torch Dataset)."
            )
        if self.channels not in (None, 1, 3):
            raise DataError(f"channels is {self.channels}; allowed are 1, 3 and None.")

    def __len__(self) -> int:
        return len(self.dataset)

    def images(self, indices: Sequence[int]) -> Tensor:
        """`(n, channels, H, W)` uint8.

        Raises:
            DataError: an image is none of the kinds above, or differs in shape from the first of this call.
        """
        images = [self._image(int(index)) for index in indices]
        if not images:
            raise DataError(f"No indices were given for images of '{self.prefix}'.")
        for index, image in zip(indices, images, strict=True):
            if image.shape != images[0].shape:
                raise DataError(
                    f"Image {index} of '{self.prefix}' is {tuple(image.shape)}, but image {indices[0]} is "
                    f"{tuple(images[0].shape)} (channels, height, width). Give image_size and channels."
                )
        return torch.stack(images)

    def labels(self, indices: Sequence[int]) -> Tensor:
        """`(n,)` int64.

        Raises:
            DataError: the items hold no labels, or a label is no whole number.
        """
        labels = [self._label(int(index)) for index in indices]
        return torch.stack(labels) if labels else torch.empty(0, dtype=torch.int64)

    def key(self, index: int) -> str:
        """For example `train/00042`."""
        return f"{self.prefix}/{index:05d}"

    def size(self, index: int) -> tuple[int, int]:
        """The one size of all images."""
        height, width = self._one_size
        return height, width

    def known(self) -> np.ndarray:
        """Every image whose class is not -1."""
        return (self.labels(range(len(self))) != UNLABELED).numpy()

    @cached_property
    def _one_size(self) -> tuple[int, int]:
        if self.image_size is not None:
            return self.image_size
        height, width = self._image(0).shape[-2:]
        return height, width

    def _image(self, index: int) -> Tensor:
        image = self._decode(self.dataset[index], index)
        return image if self.image_size is None else resize(image[None], self.image_size)[0]

    def _decode(self, item: Any, index: int) -> Tensor:
        """The image of an item at its own size."""
        raw = item[0] if isinstance(item, tuple | list) and item else item
        image = _to_uint8(raw, where=f"Image {index} of '{self.prefix}'")
        if self.channels is not None:
            image = _to_channels(image, self.channels, where=f"Image {index} of '{self.prefix}'")
        return image

    def _label(self, index: int) -> Tensor:
        if index not in self._labels:
            label = self._read_label(index)
            if label.numel() != 1:
                raise DataError(
                    f"The label of item {index} of '{self.prefix}' has the shape {tuple(label.shape)}; a class is one "
                    "whole number (of scores or ones and zeros for each class: their argmax)."
                )
            self._labels[index] = label.reshape(())
        return self._labels[index]

    def _read_label(self, index: int) -> Tensor:
        item = self.dataset[index]
        if not isinstance(item, tuple | list) or len(item) < 2:
            raise DataError(f"Item {index} of '{self.prefix}' is an image without a label; (image, label) is needed.")
        try:
            label = torch.as_tensor(item[1])
        except (TypeError, ValueError, RuntimeError) as error:
            raise DataError(f"The label of item {index} of '{self.prefix}' is {item[1]!r}, no whole number.") from error
        if label.is_floating_point() or label.is_complex() or label.dtype == torch.bool:
            raise DataError(f"The label of item {index} of '{self.prefix}' is {label.dtype}; whole numbers are needed.")
        return label.to(torch.int64)


def _to_uint8(raw: Any, *, where: str) -> Tensor:
    """Any supported image as uint8 `(channels, H, W)`."""
    if isinstance(raw, Image.Image):
        raw = pil_array(raw, where=where)
    if isinstance(raw, np.ndarray):
        image = _from_numpy(raw, where=where)
    elif isinstance(raw, Tensor):
        image = raw[None] if raw.ndim == 2 else raw
    else:
        raise DataError(
            f"{where} is a {type(raw).__name__}; a uint8 or float tensor, a numpy array or a PIL image is needed."
        )
    if image.ndim != 3 or 0 in image.shape:
        raise DataError(f"{where} has the shape {tuple(raw.shape)}; (channels, H, W) or (H, W) is needed.")
    return _levels(image, where=where)


def _levels(image: Tensor, *, where: str) -> Tensor:
    if image.dtype == torch.uint8:
        return image
    if not image.is_floating_point():
        raise DataError(f"{where} is {image.dtype}; uint8 (0..255) or float in [0, 1] is needed.")
    low, high = image.min().item(), image.max().item()
    if not (math.isfinite(low) and math.isfinite(high)):
        raise DataError(f"{where} holds NaN or infinite values; floats must be in [0, 1].")
    if not (low >= 0 and high <= 1):
        raise DataError(f"{where} has float values {low:g} .. {high:g}; floats must be in [0, 1] (divide by 255?).")
    return (image.detach().float() * 255).round().to(torch.uint8)


def _from_numpy(array: np.ndarray, *, where: str) -> Tensor:
    if array.dtype != np.uint8 and array.dtype.kind != "f":
        raise DataError(f"{where} is a numpy array of {array.dtype}; uint8 (0..255) or float in [0, 1] is needed.")
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] > 4):
        raise DataError(f"{where} is a numpy array {array.shape}; (H, W) or (H, W, channels) is needed.")
    image = tensor_of(array)
    return image[None] if array.ndim == 2 else image.permute(2, 0, 1).contiguous()


def tensor_of(array: np.ndarray) -> Tensor:
    """An array as torch takes it: in this machine's order of bytes, of at most 64 bits, and free to be written to."""
    dtype = np.float64 if array.dtype.itemsize > 8 else array.dtype.newbyteorder("=")
    return torch.from_numpy(np.require(array, dtype=dtype, requirements=["C", "W"]))


def _to_channels(image: Tensor, channels: int, *, where: str) -> Tensor:
    if len(image) == channels:
        return image
    if len(image) not in (1, 3):
        raise DataError(f"{where} has {len(image)} channels; only 1 or 3 can be turned into {channels}.")
    converted: Tensor = F.rgb_to_grayscale(image, num_output_channels=channels)
    return converted.contiguous()
