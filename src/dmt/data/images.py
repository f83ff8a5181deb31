"""What a data set is to the rest of the program: images by index, labels by index, and a stable name for each image."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from dmt.data.pixels import RGB, PixelRule
from dmt.errors import DataError
from dmt.types import UNLABELED

_RESIZE_CHUNK = 4096
"""Images resized at a time, so that a whole data set never stands in memory as floats."""


class ImageSet(Protocol):
    """Images with their labels; `index` is 0 .. len - 1 everywhere.

    In segmentation images may differ in size; then only those of one size can be asked for in one call. Images are
    levels, or real numbers (float32) that come to networks as they are, whatever their range: see `to_unit`.
    """

    def __len__(self) -> int:
        """How many images."""

    def images(self, indices: Sequence[int]) -> Tensor:
        """`(n, channels, H, W)`, uint8 levels or float32."""

    def labels(self, indices: Sequence[int]) -> Tensor:
        """`(n, *S)` int64."""

    def key(self, index: int) -> str:
        """The image's name in split files and stores: the same in every run."""

    def size(self, index: int) -> tuple[int, int]:
        """Height and width of an image, at little cost where its file's header tells them."""

    def known(self) -> np.ndarray:
        """`(N,)` bool: whose true label is known, at little cost."""


@dataclass(frozen=True)
class ArrayImages:
    """Images held in memory.

    Attributes:
        pixels: `(N, channels, H, W)`, uint8 levels or float32.
        truth: `(N,)` int64.
        prefix: begins every key, e.g. `train`.
    """

    pixels: Tensor
    truth: Tensor
    prefix: str

    def __post_init__(self) -> None:
        if self.pixels.dtype not in (torch.uint8, torch.float32) or self.pixels.ndim != 4:
            raise DataError(
                f"Images of '{self.prefix}' should be uint8 or float32 (N, channels, H, W), but are "
                f"{_describe(self.pixels)}."
            )
        if self.truth.dtype != torch.int64 or self.truth.shape != self.pixels.shape[:1]:
            raise DataError(
                f"Labels of '{self.prefix}' should be int64 ({len(self.pixels)},), one for each image, but are "
                f"{_describe(self.truth)}."
            )

    def __len__(self) -> int:
        return len(self.pixels)

    def images(self, indices: Sequence[int]) -> Tensor:
        """`(n, channels, H, W)`, as `pixels`."""
        return self.pixels[_index(indices)]

    def labels(self, indices: Sequence[int]) -> Tensor:
        """`(n,)` int64."""
        return self.truth[_index(indices)]

    def key(self, index: int) -> str:
        """For example `train/00042`."""
        return f"{self.prefix}/{index:05d}"

    def size(self, index: int) -> tuple[int, int]:
        """The one size of all images."""
        return self.pixels.shape[2], self.pixels.shape[3]

    def known(self) -> np.ndarray:
        """Every image whose class is not -1."""
        return (self.truth != UNLABELED).numpy()


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """A data set with all that a network must know of it.

    Attributes:
        name: as in `data.name`.
        class_names: the name of class 0, 1, ...
        train: images to draw labeled, unlabeled and validation parts from.
        test: images for reported figures only; None where the data bring none.
        validation: a validation part that the data bring.
        mean, std: per channel, of images as networks get them: levels in [0, 1].
        labeled: indices of the training images that are the labeled ones, where the data settle it.
        unlabeled: likewise; None = all training images that are neither labeled nor set aside.
        palette: an RGB color for each class, in segmentation.
        reference_splits: draws a published split instead of one of ours: split seed -> order of the training images,
            whose first ones are labeled; None for a seed that no split was published for.
        root: where the files are, for lists that a config names relative to it.
        pixel_rule: how image files become channels, for files that come later.
    """

    name: str
    class_names: tuple[str, ...]
    train: ImageSet
    test: ImageSet | None
    validation: ImageSet | None = None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    labeled: tuple[int, ...] | None = None
    unlabeled: tuple[int, ...] | None = None
    palette: tuple[tuple[int, int, int], ...] | None = None
    reference_splits: Callable[[int], Sequence[int] | None] | None = None
    root: Path | None = None
    pixel_rule: PixelRule = RGB

    def __post_init__(self) -> None:
        if len(self.class_names) < 2 or len(set(self.class_names)) < len(self.class_names):
            raise DataError(
                f"Data set '{self.name}': class names {self.class_names}; two or more different are needed."
            )
        if not self.mean or len(self.mean) != len(self.std) or min(self.std) <= 0:
            raise DataError(
                f"Data set '{self.name}': mean {self.mean} and std {self.std} need one number a channel, std above 0."
            )

    @property
    def num_classes(self) -> int:
        """C."""
        return len(self.class_names)

    @property
    def channels(self) -> int:
        """1 for gray, 3 for color."""
        return len(self.mean)

    @cached_property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the training images, by the first that can be read."""
        return next((size for _, size in readable_sizes(self.train)), None) or self.train.size(0)


def readable_sizes(images: ImageSet) -> Iterator[tuple[int, tuple[int, int]]]:
    """Index and size of every image whose size can be read."""
    for index in range(len(images)):
        with contextlib.suppress(DataError):
            yield index, images.size(index)


def to_unit(images: Tensor) -> Tensor:
    """Images as networks get them: levels 0..255 as float32 in [0, 1], real numbers as they are."""
    return images if images.is_floating_point() else images.float().div_(255)


def resize(images: Tensor, image_size: tuple[int, int]) -> Tensor:
    """Resize bilinearly, with antialiasing where it shrinks.

    Args:
        images: `(N, channels, H, W)`, uint8 levels, which are rounded again, or float32.
        image_size: (height, width).
    """
    if tuple(images.shape[-2:]) == tuple(image_size):
        return images
    # Floats, since torchvision's kernels for bytes differ by machine.
    chunks = [
        like(images, F.resize(chunk.float(), list(image_size), antialias=True))
        for chunk in torch.split(images, _RESIZE_CHUNK)
    ]
    return torch.cat(chunks)


def like(images: Tensor, resampled: Tensor) -> Tensor:
    """Resampled floats as levels where the images they come from are levels."""
    return resampled if images.is_floating_point() else resampled.round_().clamp_(0, 255).to(torch.uint8)


def resize_mask(mask: Tensor, image_size: tuple[int, int] | None) -> Tensor:
    """A mask `(H, W)` at another size, or as it is: each new pixel has the class at its center."""
    if image_size is None or tuple(mask.shape) == image_size:
        return mask
    # Plain "nearest" would take the upper left corners, and shift the mask against its image.
    resized: Tensor = F.resize(mask[None], list(image_size), interpolation=InterpolationMode.NEAREST_EXACT)
    return resized[0]


def pixel_statistics(pixels: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, of images as networks get them.

    Those of levels are exact: from counts of the 256 levels.

    Args:
        pixels: `(N, channels, H, W)`, uint8 levels or float32.
    """
    if pixels.is_floating_point():
        std, mean = torch.std_mean(pixels.double(), dim=(0, 2, 3), correction=0)
        return tuple(mean.tolist()), tuple(spread or 1.0 for spread in std.tolist())
    return _moments([_level_counts(channel) for channel in pixels.unbind(dim=1)])


def _moments(counts: Sequence[np.ndarray] | np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Means and standard deviations of channels, from how often each of their 256 levels occurs."""
    levels = np.arange(256) / 255
    means = [float(np.average(levels, weights=count)) for count in counts]
    spreads = [
        float(np.sqrt(np.average((levels - mean) ** 2, weights=count)))
        for mean, count in zip(means, counts, strict=True)
    ]
    stds = [spread or 1.0 for spread in spreads]  # of a channel without any variation: it becomes 0 everywhere
    return tuple(means), tuple(stds)


def measured(images: ImageSet, *, at_most: int = 1000) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel as `pixel_statistics`, of images evenly chosen from a set.

    Images that cannot be read are left to whoever trains on them.
    """
    counts: np.ndarray | None = None
    first: DataError | None = None
    for index in range(0, len(images), max(1, -(-len(images) // at_most))):
        try:
            own = np.stack([_level_counts(channel) for channel in images.images([index]).unbind(dim=1)])
        except DataError as error:
            first = first or error
        else:
            counts = own if counts is None else counts + own
    if counts is None:
        raise DataError(f"None of the images can be read: {first}") from first
    return _moments(counts)


def value_span(images: ImageSet, *, at_most: int = 1000) -> tuple[float, float]:
    """The lowest and the highest value, of images evenly chosen from a set that can be read."""
    low, high = float("inf"), float("-inf")
    for index in range(0, len(images), max(1, -(-len(images) // at_most))):
        with contextlib.suppress(DataError):
            one = images.images([index])
            low, high = min(low, float(one.min())), max(high, float(one.max()))
    return low, high


def _level_counts(channel: Tensor) -> np.ndarray:
    # In pieces, since bincount works on a copy of eight bytes a pixel.
    pieces = [piece.numpy() for piece in torch.split(channel, 4096)]
    counts: np.ndarray = np.sum([np.bincount(piece.reshape(-1), minlength=256) for piece in pieces], axis=0)
    return counts


def _index(indices: Sequence[int]) -> Tensor:
    return torch.as_tensor(indices, dtype=torch.int64)


def _describe(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
