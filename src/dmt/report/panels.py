"""Single pictures of a row: a photograph, a map of classes, a map of weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image
from torch import Tensor

Color = tuple[int, int, int]

_RAMP: tuple[Color, ...] = ((18, 24, 38), (24, 68, 92), (38, 120, 128), (108, 178, 160), (214, 238, 214))
"""Near black to pale green, its lightness rising evenly: what counts is light, and gray prints say the same."""

_HATCH_PERIOD = 8
_HATCH_LIGHT, _HATCH_DARK = 246, 214


@dataclass(frozen=True, kw_only=True)
class Panel:
    """A picture at its own resolution.

    Attributes:
        caption: what it shows.
        kind: what its colors mean; those of a map stay as they are when it shrinks.
        pixels: `(H, W, 3)` uint8.
        blank: `(H, W)` bool, pixels of which nothing is said; None = none.
        classes: those whose colors it shows.
    """

    caption: str
    kind: Literal["photo", "classes", "weights"]
    pixels: np.ndarray
    blank: np.ndarray | None = None
    classes: frozenset[int] = frozenset()

    def fitted(self, box: int) -> Image.Image:
        """Drawn to fill a square of `box` pixels: small ones grow by a whole factor, large ones shrink."""
        height, width = self.pixels.shape[:2]
        size = _fitting_size(width, height, box)
        is_smooth = self.kind == "photo" and size[0] < width
        resampling = Image.Resampling.LANCZOS if is_smooth else Image.Resampling.NEAREST
        drawn = Image.fromarray(self.pixels).resize(size, resampling)
        if self.blank is not None:
            blank = Image.fromarray(self.blank).resize(size, Image.Resampling.NEAREST)
            drawn.paste(hatching(*size), mask=blank)
        return drawn


def photo(caption: str, image: Tensor) -> Panel:
    """A photograph, `(channels, H, W)` uint8; of bands that are no colors, the first one in grey."""
    shown = image if len(image) == 3 else image[:1].expand(3, -1, -1)
    pixels = np.ascontiguousarray(shown.permute(1, 2, 0).numpy())
    return Panel(caption=caption, kind="photo", pixels=pixels)


def class_map(caption: str, labels: Tensor, palette: Sequence[Color]) -> Panel:
    """Classes `(H, W)` in their colors; whatever has no color is blank."""
    values = labels.numpy()
    blank = (values < 0) | (values >= len(palette))
    known = np.where(blank, 0, values)
    return Panel(
        caption=caption,
        kind="classes",
        pixels=np.array(palette, dtype=np.uint8)[known],
        blank=blank,
        classes=frozenset(np.unique(values[~blank]).tolist()),
    )


def weight_map(caption: str, weights: Tensor, *, blank: Tensor) -> Panel:
    """Weights `(H, W)` in [0, 1], dark to light."""
    return Panel(caption=caption, kind="weights", pixels=ramp(weights.numpy()), blank=blank.numpy())


def ramp(values: np.ndarray) -> np.ndarray:
    """Colors `(*, 3)` uint8 of values `(*)` in [0, 1]."""
    places = np.linspace(0.0, 1.0, len(_RAMP))
    channels = [np.interp(values, places, levels) for levels in np.array(_RAMP).T]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def hatching(width: int, height: int) -> Image.Image:
    """Pale diagonal lines, which no class's color can be taken for."""
    y, x = np.mgrid[:height, :width]
    levels = np.where((x + y) % _HATCH_PERIOD < 2, _HATCH_DARK, _HATCH_LIGHT).astype(np.uint8)
    return Image.fromarray(levels).convert("RGB")


def _fitting_size(width: int, height: int, box: int) -> tuple[int, int]:
    scale = min(box / width, box / height)
    if scale >= 1:
        return width * int(scale), height * int(scale)
    return max(1, round(width * scale)), max(1, round(height * scale))
