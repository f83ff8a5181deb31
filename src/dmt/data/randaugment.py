"""The authors' RandAugment (spec, section 1.15): one of 16 operations an image, its strength m drawn from 1..10.

Works on levels 0..255 as Pillow does, images of one operation at a time, with a strength of its own for each image.
Blends, autocontrast and filters may be one level away from Pillow's result, everything else equals it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F

MAX_MAGNITUDE = 10
"""The strength m is drawn from 1 to this; an operation's `high` is its value here."""

_CUTOUT_COLOR = (125, 123, 114)
_FIXED_POINT = 16
"""Fractional bits of Pillow's nearest-neighbor warp; with the same bits, ties fall the same way."""


@dataclass(frozen=True)
class Strength:
    """What each image of a group was drawn: the operation's value `(n,)` and a place `(n, 2)`, y and x in [0, 1)."""

    value: np.ndarray
    place: np.ndarray

    def of(self, images: Tensor) -> Tensor:
        """The values as float32 `(n, 1, 1, 1)` beside the images."""
        return torch.from_numpy(self.value.astype(np.float32)).to(images.device, non_blocking=True).view(-1, 1, 1, 1)


@dataclass(frozen=True)
class Operation:
    """One operation and its range.

    Attributes:
        name: as in the table of the spec.
        low, high: the value at m = 0 and at m = 10.
        apply: (uint8 images of one group, their strengths) -> uint8 images.
        signed: whether half of the images get the negative value.
    """

    name: str
    low: float
    high: float
    apply: Callable[[Tensor, Strength], Tensor]
    signed: bool = False

    def values(self, magnitude: np.ndarray, sign: np.ndarray) -> np.ndarray:
        """`(n,)` values from m in 1..10 and signs -1 or 1."""
        value = self.low + magnitude / MAX_MAGNITUDE * (self.high - self.low)
        return value * sign if self.signed else value


@dataclass(frozen=True)
class RandomOperation:
    """One operation an image, drawn uniformly; none is the identity, and none is skipped."""

    operations: tuple[Operation, ...]

    def __call__(self, images: Tensor, generator: np.random.Generator) -> Tensor:
        """Draw an operation, m, a sign and a place for each image, then work group by group."""
        count = len(images)
        chosen = generator.integers(len(self.operations), size=count)
        magnitude = generator.integers(1, MAX_MAGNITUDE + 1, size=count)
        sign = generator.choice([-1.0, 1.0], size=count)
        place = generator.random((count, 2))
        result = torch.empty_like(images)
        for number, operation in enumerate(self.operations):
            group = np.flatnonzero(chosen == number)
            if len(group):
                strength = Strength(operation.values(magnitude[group], sign[group]), place[group])
                index = torch.from_numpy(group).to(images.device, non_blocking=True)
                result[index] = operation.apply(images[index], strength)
        return result


def auto_contrast(images: Tensor, strength: Strength) -> Tensor:
    """Stretch each channel to 0..255."""
    del strength
    result: Tensor = F.autocontrast(images)
    return result


def equalize(images: Tensor, strength: Strength) -> Tensor:
    """Make each channel's histogram flat."""
    del strength
    result: Tensor = F.equalize(images)
    return result


def invert(images: Tensor, strength: Strength) -> Tensor:
    """255 - level."""
    del strength
    result: Tensor = F.invert(images)
    return result


def posterize(images: Tensor, strength: Strength) -> Tensor:
    """Keep max(1, int(value)) leading bits: fewer at small m, so strength falls as m rises, as the authors have it."""
    bits = np.maximum(1, strength.value.astype(np.int64))
    mask = torch.from_numpy((256 - 2 ** (8 - bits)).astype(np.uint8)).to(images.device, non_blocking=True)
    return images & mask.view(-1, 1, 1, 1)


def solarize(images: Tensor, strength: Strength) -> Tensor:
    """Invert levels at or above the value."""
    return torch.where(images.float() < strength.of(images), images, 255 - images)


def solarize_add(images: Tensor, strength: Strength) -> Tensor:
    """Add the value to every level, then invert levels of 128 and more."""
    brighter = (images.float() + strength.of(images).round()).clamp_(max=255).to(torch.uint8)
    return torch.where(brighter < 128, brighter, 255 - brighter)


def color(images: Tensor, strength: Strength) -> Tensor:
    """Blend with the gray image; gray images stay as they are."""
    return images if images.shape[1] != 3 else _blend(_gray(images), images, strength)


def contrast(images: Tensor, strength: Strength) -> Tensor:
    """Blend with the image's mean gray."""
    mean = _gray(images).mean(dim=(1, 2, 3), keepdim=True)
    return _blend(mean.add_(0.5).floor_(), images, strength)


def brightness(images: Tensor, strength: Strength) -> Tensor:
    """Blend with black."""
    return _blend(torch.zeros((), device=images.device), images, strength)


def sharpness(images: Tensor, strength: Strength) -> Tensor:
    """Blend with the smoothed image, whose outermost pixels are the original's."""
    return _blend(F.adjust_sharpness(images, 0.0).float(), images, strength)


def rotate(images: Tensor, strength: Strength) -> Tensor:
    """Turn counterclockwise by degrees about the center."""
    height, width = images.shape[-2:]
    angle = np.radians(strength.value)
    cos, sin = np.cos(angle), np.sin(angle)
    center_x, center_y = width / 2, height / 2
    across = center_x - cos * center_x + sin * center_y
    down = center_y - sin * center_x - cos * center_y
    return warp_nearest(images, np.stack([cos, -sin, across, sin, cos, down], axis=1))


def shear_x(images: Tensor, strength: Strength) -> Tensor:
    """Take each row from x + value * y."""
    return _warp_one(images, strength.value, entry=1)


def shear_y(images: Tensor, strength: Strength) -> Tensor:
    """Take each column from y + value * x."""
    return _warp_one(images, strength.value, entry=3)


def translate_x_pixels(images: Tensor, strength: Strength) -> Tensor:
    """Take pixels from x + value."""
    return _warp_one(images, strength.value, entry=2)


def translate_y_pixels(images: Tensor, strength: Strength) -> Tensor:
    """Take pixels from y + value."""
    return _warp_one(images, strength.value, entry=5)


def translate_x_fraction(images: Tensor, strength: Strength) -> Tensor:
    """Take pixels from x + value * width."""
    return _warp_one(images, strength.value * images.shape[-1], entry=2)


def translate_y_fraction(images: Tensor, strength: Strength) -> Tensor:
    """Take pixels from y + value * height."""
    return _warp_one(images, strength.value * images.shape[-2], entry=5)


def cutout(images: Tensor, strength: Strength) -> Tensor:
    """Paint a square of side `value` with a uniform center.

    As in the authors' code, the drawn rectangle holds both its ends (so the side is one pixel more); what hangs over
    the left or upper edge is moved inside, what hangs over the others is lost.
    """
    height, width = images.shape[-2:]
    rows = _covered(strength.place[:, 0] * height, strength.value, side=height)
    columns = _covered(strength.place[:, 1] * width, strength.value, side=width)
    mask = torch.from_numpy((rows[:, :, None] & columns[:, None, :])[:, None]).to(images.device, non_blocking=True)
    fill = torch.tensor(_CUTOUT_COLOR, dtype=torch.float32).view(1, 3, 1, 1)
    if images.shape[1] != len(_CUTOUT_COLOR):
        fill = F.rgb_to_grayscale(fill)
    return torch.where(mask, fill.round().to(images), images)


def warp_nearest(images: Tensor, matrices: np.ndarray) -> Tensor:
    """Pillow's affine transform with nearest-neighbor sampling and black outside.

    Args:
        images: `(n, channels, H, W)`.
        matrices: `(n, 6)`, rows (a, b, c, d, e, f): the output at (x, y), measured from the upper left corner, shows
            the input at (a x + b y + c, d x + e y + f).
    """
    height, width = images.shape[-2:]
    offsets = matrices[:, [2, 5]] + (matrices[:, [0, 3]] + matrices[:, [1, 4]]) / 2
    unit = 2**_FIXED_POINT
    a, b, d, e = (_fixed(matrices[:, column], unit)[:, None, None] for column in (0, 1, 3, 4))
    c, f = (_fixed(offsets[:, column], unit)[:, None, None] for column in (0, 1))
    y, x = np.mgrid[:height, :width]
    source_x, source_y = (a * x + b * y + c) >> _FIXED_POINT, (d * x + e * y + f) >> _FIXED_POINT
    inside = (source_x >= 0) & (source_x < width) & (source_y >= 0) & (source_y < height)
    flat = np.where(inside, source_y * width + source_x, 0).reshape(len(images), 1, -1)
    index = torch.from_numpy(flat).to(images.device, non_blocking=True).expand(-1, images.shape[1], -1)
    moved = images.flatten(2).gather(2, index).view_as(images)
    return moved.mul_(torch.from_numpy(inside[:, None]).to(images.device, non_blocking=True))


def _fixed(values: np.ndarray, unit: int) -> np.ndarray:
    return np.asarray(np.floor(values * unit + 0.5), dtype=np.int64)


def _warp_one(images: Tensor, values: np.ndarray, *, entry: int) -> Tensor:
    """Warp by the identity with one entry of the matrix replaced."""
    matrices = np.tile(np.array([1.0, 0.0, 0.0, 0.0, 1.0, 0.0]), (len(values), 1))
    matrices[:, entry] = values
    return warp_nearest(images, matrices)


def _covered(center: np.ndarray, size: np.ndarray, *, side: int) -> np.ndarray:
    """`(n, side)` bool: the pixels of one axis that the square covers."""
    first = np.floor(np.maximum(0, center - size / 2))[:, None]
    pixel = np.arange(side)
    return np.asarray((pixel >= first) & (pixel <= first + size[:, None]))


def _gray(images: Tensor) -> Tensor:
    """`(n, 1, H, W)` float32 levels, rounded to whole ones."""
    if images.shape[1] != 3:
        return images.float().mean(dim=1, keepdim=True).round_()
    gray: Tensor = F.rgb_to_grayscale(images.float())
    return gray.round_()


def _blend(degenerate: Tensor, images: Tensor, strength: Strength) -> Tensor:
    """Degenerate at factor 0, image at 1, beyond it above; fractions of a level are cut off, as Pillow does."""
    blended = degenerate + strength.of(images) * (images.float() - degenerate)
    return blended.clamp_(0, 255).to(torch.uint8)


_LEVELS = (
    Operation("AutoContrast", 0, 1, auto_contrast),
    Operation("Equalize", 0, 1, equalize),
    Operation("Invert", 0, 1, invert),
    Operation("Posterize", 0, 4, posterize),
    Operation("Solarize", 0, 256, solarize),
    Operation("SolarizeAdd", 0, 110, solarize_add),
    Operation("Color", 0.1, 1.9, color),
    Operation("Contrast", 0.1, 1.9, contrast),
    Operation("Brightness", 0.1, 1.9, brightness),
    Operation("Sharpness", 0.1, 1.9, sharpness),
)
_SHAPES = (
    Operation("Rotate", 0, 30, rotate, signed=True),
    Operation("ShearX", 0, 0.3, shear_x, signed=True),
    Operation("ShearY", 0, 0.3, shear_y, signed=True),
)

REFERENCE_OPERATIONS = (
    *_LEVELS,
    *_SHAPES,
    Operation("CutoutAbs", 0, 40, cutout),
    Operation("TranslateXabs", 0, 100, translate_x_pixels, signed=True),
    Operation("TranslateYabs", 0, 100, translate_y_pixels, signed=True),
)
"""The authors' ranges, meant for large images: at 32 pixels, 8.75 % of the images become black (spec, B21)."""

CIFAR_OPERATIONS = (
    *_LEVELS,
    *_SHAPES,
    Operation("CutoutAbs", 0, 16, cutout),
    Operation("TranslateX", 0, 0.3, translate_x_fraction, signed=True),
    Operation("TranslateY", 0, 0.3, translate_y_fraction, signed=True),
)
"""The same with ranges that leave something of a 32-pixel image to see."""
