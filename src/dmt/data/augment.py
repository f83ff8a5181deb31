"""Random views of training images, a batch at a time, on whatever device the images are on.

A transform takes `(N, channels, H, W)` images and a numpy generator, from which it draws each parameter as an array of
N: what an image gets does not depend on the device. Transforms before `to_float` work on levels 0..255 (uint8), those
after it on float32 in [0, 1]. Images of real numbers are float32 from the start.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torchvision.transforms.v2 import functional as F

from dmt.config_files import did_you_mean
from dmt.data.images import to_unit
from dmt.data.randaugment import CIFAR_OPERATIONS, REFERENCE_OPERATIONS, RandomOperation
from dmt.errors import ConfigError

Transform: TypeAlias = Callable[[Tensor, np.random.Generator], Tensor]

Augment: TypeAlias = Callable[[Tensor, np.random.Generator], Tensor]
"""Images `(N, channels, H, W)`, uint8 levels or float32 -> float32, of levels in [0, 1], same shape."""


@dataclass(frozen=True)
class Compose:
    """Transforms one after the other, all drawing from one stream."""

    transforms: tuple[Transform, ...]

    def __call__(self, images: Tensor, generator: np.random.Generator) -> Tensor:
        """Apply all transforms."""
        for transform in self.transforms:
            images = transform(images, generator)
        return images


def to_float(images: Tensor, generator: np.random.Generator) -> Tensor:
    """Levels 0..255 to float32 in [0, 1], real numbers as they are; draws nothing."""
    del generator
    return to_unit(images)


@dataclass(frozen=True, kw_only=True)
class RandomFlip:
    """Mirror left to right; works on levels and floats."""

    probability: float = 0.5

    def __call__(self, images: Tensor, generator: np.random.Generator) -> Tensor:
        """Flip a random choice of the images."""
        flipped = _per_image(generator.random(len(images)) < self.probability, images)
        return torch.where(flipped, images.flip(-1), images)


@dataclass(frozen=True, kw_only=True)
class RandomCrop:
    """Pad every side, then cut a window of the old size; works on levels and floats.

    Attributes:
        padding: pixels.
        fill: value of the padding, in the units of the images.
    """

    padding: int
    fill: float

    def __call__(self, images: Tensor, generator: np.random.Generator) -> Tensor:
        """Cut one window from each padded image."""
        count, _, height, width = images.shape
        top, left = (
            torch.from_numpy(start).to(images.device, non_blocking=True)
            for start in generator.integers(0, 2 * self.padding + 1, size=(2, count))
        )
        padded = functional.pad(images, [self.padding] * 4, value=self.fill)
        windows = padded.unfold(2, height, 1).unfold(3, width, 1)
        return windows[torch.arange(count, device=images.device), :, top, left]


@dataclass(frozen=True, kw_only=True)
class RandomAffine:
    """Rotate, scale, shear and move about the center, by a single resampling; works on floats.

    Attributes:
        rotation: degrees, drawn from +- this.
        translation: fraction of the side, drawn from +- this on either axis.
        scale: smallest and largest factor; above 1 enlarges.
        stretch: largest factor by which the width grows while the height shrinks, or the other way round.
        shear: degrees along x, drawn from +- this.
        interpolation: of the resampling.
        fill: value outside the image.
    """

    rotation: float = 0.0
    translation: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    stretch: float = 1.0
    shear: float = 0.0
    interpolation: Literal["bilinear", "nearest"] = "bilinear"
    fill: float = 0.0

    def __call__(self, images: Tensor, generator: np.random.Generator) -> Tensor:
        """Warp each image by a matrix of its own."""
        count = len(images)
        theta = inverse_affine(
            np.radians(generator.uniform(-self.rotation, self.rotation, count)),
            generator.uniform(-self.translation, self.translation, (2, count)),
            generator.uniform(*self.scale, count) * self._stretches(count, generator),
            np.radians(generator.uniform(-self.shear, self.shear, count)),
            image_size=(images.shape[-2], images.shape[-1]),
        )
        grid = functional.affine_grid(
            torch.from_numpy(theta).to(images.device, images.dtype, non_blocking=True),
            list(images.shape),
            align_corners=False,
        )
        # grid_sample knows zeros outside only: shift the scale so that zero means `fill`.
        moved = functional.grid_sample(images - self.fill, grid, mode=self.interpolation, align_corners=False)
        return moved.add_(self.fill).clamp_(0, 1)

    def _stretches(self, count: int, generator: np.random.Generator) -> np.ndarray:
        """`(2, count)` factors of width and height, whose product is 1."""
        if self.stretch == 1.0:
            return np.ones((2, count))
        wider = self.stretch ** generator.uniform(-1, 1, count)
        return np.stack([wider, 1 / wider])


def inverse_affine(
    angle: np.ndarray,
    translation: np.ndarray,
    scale: np.ndarray,
    shear: np.ndarray,
    *,
    image_size: tuple[int, int],
) -> np.ndarray:
    """Maps from output to input places, in `affine_grid`'s coordinates (-1..1 from edge to edge).

    Forward, a place is sheared along x, rotated clockwise (y points down) and scaled about the center, then moved.

    Args:
        angle: `(N,)` radians.
        translation: `(2, N)`, x and y, fractions of width and height.
        scale: `(2, N)`, of width and height.
        shear: `(N,)` radians.
        image_size: (height, width).

    Returns:
        `(N, 2, 3)`.
    """
    height, width = image_size
    cos, sin, tan = np.cos(angle), np.sin(angle), np.tan(shear)
    # (rotation x shear)^-1 / scale in pixels; the off-diagonal terms then cross from one side's unit to the other's.
    linear = np.array([[cos - tan * sin, sin + tan * cos], [-sin, cos]]) / scale[None]
    linear *= np.array([[1, height / width], [width / height, 1]])[:, :, None]
    moved = -2 * np.einsum("ijn,jn->in", linear, translation)
    return np.concatenate([linear, moved[:, None]], axis=1).transpose(2, 0, 1)


@dataclass(frozen=True, kw_only=True)
class Cutout:
    """Paint over a rectangle with a uniform center; works on floats.

    Attributes:
        size: largest height and width as fractions of the side; each is drawn from 0 up to it.
        probability: share of images.
        fill: what it is painted with.
    """

    size: float
    probability: float = 0.5
    fill: float = 0.0

    def __call__(self, images: Tensor, generator: np.random.Generator) -> Tensor:
        """Paint over a random choice of the images."""
        count, _, height, width = images.shape
        painted = generator.random(count) < self.probability
        center = generator.random((2, count, 1))
        half = generator.uniform(0, self.size, (2, count, 1)) / 2
        rows, columns = (
            np.abs((np.arange(side) + 0.5) / side - center[axis]) < half[axis]
            for axis, side in enumerate((height, width))
        )
        mask = painted[:, None, None] & rows[:, :, None] & columns[:, None, :]
        return images.masked_fill(torch.from_numpy(mask[:, None]).to(images.device, non_blocking=True), self.fill)


@dataclass(frozen=True, kw_only=True)
class ColorJitter:
    """Change brightness, contrast and, of 3-channel images, saturation by factors 1 +- these; works on floats."""

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0

    def __call__(self, images: Tensor, generator: np.random.Generator) -> Tensor:
        """Jitter each image by factors of its own."""
        if self.brightness:
            images = (images * _factors(self.brightness, images, generator)).clamp_(0, 1)
        if self.contrast:
            gray = F.rgb_to_grayscale(images) if images.shape[1] == 3 else images.mean(dim=1, keepdim=True)
            mean = gray.mean(dim=(2, 3), keepdim=True)
            images = torch.lerp(mean, images, _factors(self.contrast, images, generator)).clamp_(0, 1)
        if self.saturation and images.shape[1] == 3:
            gray = F.rgb_to_grayscale(images)
            images = torch.lerp(gray, images, _factors(self.saturation, images, generator)).clamp_(0, 1)
        return images


DIGITS_AFFINE = RandomAffine(rotation=15, translation=0.1, scale=(0.87, 1.15), stretch=1.2, shear=8.5)
FASHION_AFFINE = RandomAffine(rotation=5, translation=0.05, scale=(0.9, 1.1), shear=5)
PHOTO_AFFINE = RandomAffine(rotation=10, translation=0.1, scale=(0.9, 1.1), fill=0.5)
STREET_COLORS = ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4)
"""For masks: a student has to see through what its teacher did not."""
GRAY_BORDER_CROP = RandomCrop(padding=4, fill=128)
"""The authors' crop, with the gray that their fill value of 128 means (spec, B20)."""

AUGMENTS: dict[str, Callable[[], Augment]] = {
    "none": lambda: Compose((to_float,)),
    "digits": lambda: Compose((to_float, DIGITS_AFFINE, ColorJitter(brightness=0.3))),
    "fashion-mnist": lambda: Compose((RandomFlip(), to_float, FASHION_AFFINE, Cutout(size=0.5))),
    "reference": lambda: Compose((GRAY_BORDER_CROP, RandomFlip(), RandomOperation(REFERENCE_OPERATIONS), to_float)),
    "cifar": lambda: Compose((GRAY_BORDER_CROP, RandomFlip(), RandomOperation(CIFAR_OPERATIONS), to_float)),
    "photo": lambda: Compose(
        (RandomFlip(), to_float, PHOTO_AFFINE, ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2))
    ),
}
"""Every augmentation by its name."""

ON_LEVELS = frozenset({"reference", "cifar"})
"""Those that need levels: images of real numbers cannot go through them."""

WITHIN_UNIT = frozenset({"digits", "fashion-mnist", "photo", "color"})
"""Those that cut off values outside [0, 1]: images of real numbers may have none there; `color` is segmentation's."""

_DEFAULTS = {"digits": "digits", "fashion-mnist": "fashion-mnist", "cifar-10": "cifar"}


def augment_named(name: str, dataset: str) -> str:
    """What `augment` stands for: itself, or for `default` the data set's own, and `photo` where it has none."""
    return _DEFAULTS.get(dataset, "photo") if name == "default" else name


def build_augment(name: str, dataset: str, *, key: str = "augment") -> Augment:
    """The augmentation that `augment` names.

    Args:
        name: a key of `AUGMENTS`, or `default`.
        dataset: `data.name`.
        key: of the config, for messages.

    Raises:
        ConfigError: no augmentation has this name.
    """
    chosen = augment_named(name, dataset)
    if chosen not in AUGMENTS:
        known = ["default", *AUGMENTS]
        raise ConfigError(f"{key} is {name!r}; known are {', '.join(known)}.{did_you_mean(name, known)}")
    return AUGMENTS[chosen]()


def _factors(span: float, images: Tensor, generator: np.random.Generator) -> Tensor:
    return _per_image(generator.uniform(1 - span, 1 + span, len(images)).astype(np.float32), images)


def _per_image(values: np.ndarray, images: Tensor) -> Tensor:
    return torch.from_numpy(values).to(images.device, non_blocking=True).view(-1, 1, 1, 1)
