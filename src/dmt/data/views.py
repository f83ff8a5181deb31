"""Training views in segmentation: one geometry for an image, its label and its confidence codes (spec 1.16).

The image is resized bilinearly (align_corners=False), the maps by `nearest-exact`: it picks the pixel that the place
of the bilinear sample lies in. Plain `nearest`, all that a tv_tensors.Mask gets from the older torchvisions that we
allow, rounds the pixel's corner down and so moves labels against the image by up to a pixel; hence plain tensors.
The whole image is resized before the window is cut: the window alone, which is possible, rounds some levels otherwise.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from torch import Tensor
from torch.nn import functional
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from dmt.config_files import did_you_mean
from dmt.data.images import like
from dmt.errors import ConfigError, DataError
from dmt.types import IGNORE_INDEX

Maps: TypeAlias = tuple[Tensor, Tensor, Tensor]
"""Image `(channels, H, W)`, levels or float32, label `(H, W)` int64, confidence code `(H, W)` int32 in 0..65535."""

View: TypeAlias = Callable[[Tensor, Tensor, Tensor, np.random.Generator], Maps]
"""(image, label, code, generator) -> the first three at the crop size."""

_BLACK, _NO_CONFIDENCE = 0, 0


@dataclass(frozen=True, kw_only=True)
class RandomView:
    """Scale both sides by one factor, cut a window, mirror left to right, all at random.

    What the window has below or to the right of the scaled image is black, ignored, and of code 0.

    Attributes:
        crop_size: (height, width) of the window.
        scale: smallest and largest factor; sides are rounded down, but stay 1 at least.
        flip: probability of mirroring.
    """

    crop_size: tuple[int, int]
    scale: tuple[float, float] = (0.5, 1.5)
    flip: float = 0.5

    def __post_init__(self) -> None:
        _require_crop(self.crop_size)
        if not 0 < self.scale[0] <= self.scale[1] < math.inf:
            raise ConfigError(f"A view's scale is {self.scale}; two factors above 0 are needed, the smaller one first.")
        if not 0 <= self.flip <= 1:
            raise ConfigError(f"A view's flip is {self.flip}; allowed are probabilities from 0 to 1.")

    def __call__(self, image: Tensor, label: Tensor, code: Tensor, generator: np.random.Generator) -> Maps:
        """Draw a view: always four numbers, so that no setting moves what comes next in the stream."""
        size, down, across, mirror = generator.random(4).tolist()
        factor = self.scale[0] + (self.scale[1] - self.scale[0]) * size
        height, width = (max(1, int(side * factor)) for side in image.shape[-2:])
        top = _start(height, self.crop_size[0], down)
        left = _start(width, self.crop_size[1], across)

        def window(pixels: Tensor, fill: int) -> Tensor:
            cut = pixels[..., top : top + self.crop_size[0], left : left + self.crop_size[1]]
            below, right = self.crop_size[0] - cut.shape[-2], self.crop_size[1] - cut.shape[-1]
            padded = functional.pad(cut, [0, right, 0, below], value=fill)
            return padded.flip(-1) if mirror < self.flip else padded

        levels, label, code = _resize(image, label, code, (height, width))
        return like(image, window(levels, _BLACK)), window(label, IGNORE_INDEX), window(code, _NO_CONFIDENCE)


@dataclass(frozen=True, kw_only=True)
class PlainView:
    """Resize to the crop size, whatever becomes of the proportions; draws nothing (the authors' `--no-aug`)."""

    crop_size: tuple[int, int]

    def __post_init__(self) -> None:
        _require_crop(self.crop_size)

    def __call__(self, image: Tensor, label: Tensor, code: Tensor, generator: np.random.Generator) -> Maps:
        """Resize all three."""
        del generator
        levels, label, code = _resize(image, label, code, self.crop_size)
        return like(image, levels), label, code


VIEWS = ("default", "color", "no-flip", "none")
"""Every view by its name; `color` is `default` whose colors change on the device."""


def build_view(name: str, *, crop_size: tuple[int, int], scale: tuple[float, float] = (0.5, 1.5)) -> View:
    """The view that `augment` names in segmentation.

    Args:
        name: `default` and `color` (random scale, window and mirroring), `no-flip` (the same without mirroring, where
            left and right matter: digits, letters) or `none` (a resize and nothing else).
        crop_size: (height, width) of the result.
        scale: smallest and largest factor; of `none`, without effect.

    Raises:
        ConfigError: no view has this name, or a size or factor is out of range.
    """
    if name not in VIEWS:
        raise ConfigError(f"augment is {name!r}; known are {', '.join(VIEWS)}.{did_you_mean(name, VIEWS)}")
    if name == "none":
        return PlainView(crop_size=crop_size)
    return RandomView(crop_size=crop_size, scale=scale, flip=0.0 if name == "no-flip" else 0.5)


def _resize(image: Tensor, label: Tensor, code: Tensor, size: tuple[int, int]) -> Maps:
    """All three at one size; the image's levels as floats, since torchvision's kernels for bytes differ by machine."""
    if not image.shape[-2:] == label.shape == code.shape:
        raise DataError(
            f"An image of {_sides(image)} pixels came with a label of {_sides(label)} and confidences of "
            f"{_sides(code)}; all three must be of one size."
        )
    levels = F.resize(image.float(), list(size), InterpolationMode.BILINEAR, antialias=False)
    label, code = (F.resize(one[None], list(size), InterpolationMode.NEAREST_EXACT)[0] for one in (label, code))
    return levels, label, code


def _start(side: int, crop: int, draw: float) -> int:
    """The first row or column of the window; each is equally likely for a `draw` from [0, 1)."""
    return int(draw * (max(0, side - crop) + 1))


def _require_crop(crop_size: tuple[int, int]) -> None:
    if min(crop_size) < 1:
        raise ConfigError(f"A view's crop size is {crop_size}; height and width of at least 1 are needed.")


def _sides(pixels: Tensor) -> str:
    return " x ".join(str(side) for side in pixels.shape[-2:])
