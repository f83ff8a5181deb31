"""Scenes: an embedded segmentation set, handwritten digits on textured color backgrounds, drawn when asked for.

A pixel belongs to the digit whose ink covers it, else to the background; the rim around the ink is ignored. A scene is
a function of its part, index and size, so nothing is stored or downloaded, and no handwriting is in both parts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn import functional

from dmt.data.images import DataSet
from dmt.errors import ConfigError
from dmt.randomness import generator
from dmt.types import IGNORE_INDEX

IMAGE_SIZE = (64, 64)
CLASS_NAMES = ("background", *(str(digit) for digit in range(10)))
PALETTE = (
    (52, 54, 60),
    (230, 85, 85),
    (244, 157, 72),
    (247, 214, 84),
    (150, 201, 90),
    (66, 160, 112),
    (84, 205, 205),
    (76, 134, 219),
    (125, 100, 205),
    (212, 110, 200),
    (190, 150, 120),
)

_NUM_SCENES = {"train": 600, "test": 150}
_SHORTEST_SIDE = 32
_SEED = 0
"""A constant: the scenes must be the same in every run, whatever its seed."""

# Over the training part at the default size; a test measures them again.
_MEAN = (0.4196, 0.4207, 0.4203)
_STD = (0.2380, 0.2371, 0.2366)


def scenes(image_size: tuple[int, int] | None = None) -> DataSet:
    """600 training and 150 test scenes of two to four digits; class 0 is the background, class 1 + d the digit d.

    Args:
        image_size: (height, width); None = 64 x 64. Scenes are drawn at this size; digits grow with the shorter side.

    Raises:
        ConfigError: a side is too short for digits that one can read.
    """
    height, width = image_size or IMAGE_SIZE
    if min(height, width) < _SHORTEST_SIDE:
        raise ConfigError(
            f"data.image_size is [{height}, {width}]; scenes need sides of {_SHORTEST_SIDE} or more, so that one can "
            "read the digits."
        )
    train, test = (SceneImages(part=part, image_size=(height, width)) for part in _NUM_SCENES)
    return DataSet(
        name="scenes", class_names=CLASS_NAMES, train=train, test=test, mean=_MEAN, std=_STD, palette=PALETTE
    )


@dataclass(frozen=True, kw_only=True)
class SceneImages:
    """The scenes of one part; those that were asked for stay in memory, once in a process.

    Attributes:
        part: `train` or `test`.
        image_size: (height, width).
    """

    part: str
    image_size: tuple[int, int]

    def __len__(self) -> int:
        return _NUM_SCENES[self.part]

    def images(self, indices: Sequence[int]) -> Tensor:
        """`(n, 3, H, W)` uint8."""
        pixels = torch.empty((len(indices), 3, *self.image_size), dtype=torch.uint8)
        for row, index in enumerate(indices):
            pixels[row] = self._scene(index)[0]
        return pixels

    def labels(self, indices: Sequence[int]) -> Tensor:
        """`(n, H, W)` int64."""
        labels = torch.empty((len(indices), *self.image_size), dtype=torch.int64)
        for row, index in enumerate(indices):
            labels[row] = self._scene(index)[1]
        return labels

    def key(self, index: int) -> str:
        """For example `train/00042`."""
        return f"{self.part}/{index:05d}"

    def size(self, index: int) -> tuple[int, int]:
        """The one size of all scenes."""
        del index
        return self.image_size

    def known(self) -> np.ndarray:
        """Every scene."""
        return np.ones(len(self), dtype=bool)

    def _scene(self, index: int) -> tuple[Tensor, Tensor]:
        # Through a range, which refuses an index outside.
        return _draw(self.part, range(len(self))[int(index)], self.image_size)


@lru_cache(maxsize=sum(_NUM_SCENES.values()))
def _draw(part: str, index: int, image_size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Image `(3, H, W)` and label `(H, W)`, both uint8; callers copy."""
    stream = generator(_SEED, f"scenes/{part}", sample=index)
    pixels = _background(image_size, stream)
    label = torch.zeros(image_size, dtype=torch.uint8)
    handwriting, digits = _handwriting(part)
    picked = stream.integers(len(digits), size=stream.integers(2, 5))
    inks = _inks(handwriting[picked], image_size, stream)
    covered = inks > 0.5
    for ink, inside, around, digit in zip(inks, covered, _grown(covered), digits[picked].tolist(), strict=True):
        pixels = torch.lerp(pixels, _ink_color(pixels, inside, stream), ink)
        label[around] = IGNORE_INDEX
        label[inside] = 1 + digit
    grain = _floats(stream.normal(0, 0.025, pixels.shape))
    return (pixels + grain).clamp_(0, 1).mul_(255).round_().to(torch.uint8), label


@lru_cache
def _handwriting(part: str) -> tuple[Tensor, np.ndarray]:
    """A part's half of scikit-learn's digits: `(n, 1, 8, 8)` ink in [0, 1], and which digits they are."""
    bunch = load_digits()
    middle = len(bunch.target) // 2
    half = slice(None, middle) if part == "train" else slice(middle, None)
    return _floats(bunch.images[half] / 16)[:, None], bunch.target[half]


def _background(image_size: tuple[int, int], stream: np.random.Generator) -> Tensor:
    """`(3, H, W)` in [0, 1], rather dark: a color gradient, clouds, and stripes or spots."""
    y, x = ((torch.arange(side) + 0.5) / min(image_size) for side in image_size)
    y = y[:, None]
    # A lightness, and a little color on top.
    start, end = _colors(stream.uniform(0.15, 0.5, (2, 1)) + stream.uniform(-0.12, 0.12, (2, 3)))
    angle = stream.uniform(0, 2 * np.pi)
    ramp = (y - y.mean()) * np.sin(angle) + (x - x.mean()) * np.cos(angle)
    clouds = _floats(stream.normal(0, 0.07, (1, 3, 5, 5)))
    texture = _stripes if stream.random() < 0.5 else _spots
    return (
        torch.lerp(start, end, 0.5 + 0.7 * ramp)
        + functional.interpolate(clouds, size=image_size, mode="bicubic")[0]
        + texture(y, x, stream)
    ).clamp_(0, 1)


def _stripes(y: Tensor, x: Tensor, stream: np.random.Generator) -> Tensor:
    """`(3, H, W)` to add to a background: stripes with soft edges; `y` `(H, 1)` and `x` `(W,)` in shorter sides."""
    angle, phase = stream.uniform(0, 2 * np.pi, 2)
    waves = torch.sin((y * np.sin(angle) + x * np.cos(angle)) * (2 * np.pi * stream.uniform(2, 6)) + phase)
    return torch.tanh(3 * waves) * _colors(stream.uniform(-0.16, 0.16, (1, 3)))[0]


def _spots(y: Tensor, x: Tensor, stream: np.random.Generator) -> Tensor:
    """`(3, H, W)` to add to a background: round spots with soft edges."""
    count = stream.integers(4, 10)
    down, across = _floats(stream.random((2, count)))[..., None, None]
    radius = _floats(stream.uniform(0.05, 0.2, count))[:, None, None]
    distances = torch.hypot(y - down * y.max(), x - across * x.max())
    colors = _floats(stream.uniform(-0.25, 0.25, (3, count)) + stream.uniform(-0.1, 0.2, (1, count)))
    return torch.einsum("cn,nhw->chw", colors, torch.sigmoid((radius - distances) * 40))


def _inks(handwriting: Tensor, image_size: tuple[int, int], stream: np.random.Generator) -> Tensor:
    """`(n, H, W)` in [0, 1]: digits `(n, 1, 8, 8)`, each at its own place, by one resampling."""
    count = len(handwriting)
    heights = stream.uniform(0.36, 0.48, count) * min(image_size)
    angles = np.radians(stream.uniform(-10, 10, count))
    centers = _centers(heights, image_size, stream)
    # From the scene to the 8 x 8 image; in both, x and y are -1..1 from edge to edge.
    rotation = np.array([[np.cos(angles), np.sin(angles)], [-np.sin(angles), np.cos(angles)]])
    linear = rotation * np.array(image_size[::-1])[:, None] / heights
    shift = -np.einsum("ijn,jn->in", linear, centers)
    theta = _floats(np.concatenate([linear, shift[:, None]], axis=1).transpose(2, 0, 1))
    grid = functional.affine_grid(theta, [count, 1, *image_size], align_corners=False)
    values = functional.grid_sample(handwriting, grid, mode="bicubic", align_corners=False)[:, 0]
    # A stroke reaches to where the resampled ink is 0.42 of full, and has an edge about a pixel wide.
    return ((values - 0.42) * 5 + 0.5).clamp_(0, 1)


def _centers(heights: np.ndarray, image_size: tuple[int, int], stream: np.random.Generator) -> np.ndarray:
    """`(2, n)` x and y in -1..1: each digit takes the first of its random places that is clear of those before it."""
    pixels = np.array(image_size[::-1]) / 2
    taken = np.empty((0, 2))
    for number, height in enumerate(heights):
        places = stream.uniform(-0.75, 0.75, (24, 2))
        distances = np.linalg.norm((places[:, None] - taken) * pixels, axis=2)
        gaps = distances - (heights[:number] + height) / 2
        # Cut off at 0, so that the first clear place wins, or where none is clear the one that overlaps least.
        best = gaps.min(axis=1, initial=0).argmax()
        taken = np.concatenate([taken, places[best : best + 1]])
    return taken.T


def _ink_color(pixels: Tensor, inside: Tensor, stream: np.random.Generator) -> Tensor:
    """`(3, 1, 1)`: of four random bright colors the one that is farthest from what the digit covers."""
    candidates = _colors(stream.uniform(0.55, 1, (4, 3)))
    beneath = (pixels * inside).sum(dim=(1, 2), keepdim=True) / inside.sum().clamp_min(1)
    return candidates[(candidates - beneath).square().sum(dim=1).argmax()]


def _grown(masks: Tensor) -> Tensor:
    """Masks `(n, H, W)` with the pixels next to them, diagonal ones as well."""
    return functional.max_pool2d(masks.float(), kernel_size=3, stride=1, padding=1) > 0


def _colors(values: np.ndarray) -> Tensor:
    """`(n, 3)` -> `(n, 3, 1, 1)`."""
    return _floats(values)[:, :, None, None]


def _floats(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))
