"""What the values or colors in a mask file stand for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dmt.data.image_files import Readable, opened
from dmt.errors import DataError
from dmt.types import IGNORE_INDEX

Color: TypeAlias = tuple[int, int, int]

MAX_CLASSES = IGNORE_INDEX
"""Masks are bytes in memory and in pseudo-label files, and one value means ignored."""

_UNKNOWN = -1
_NUM_VALUES = 256
_LOSSY = ("JPEG", "MPO", "JPEG2000")


@dataclass(frozen=True, kw_only=True)
class MaskCoding:
    """From stored values to classes.

    Attributes:
        table: `(256,)` int16, the class of each value: 255 = ignored, -1 = a value that a mask must not hold.
        colors: the class of each color, for masks in RGB; None where such masks are an error.
        allowed: the values that a mask may hold, in words.
    """

    table: np.ndarray
    colors: Mapping[Color, int] | None = None
    allowed: str

    def read(self, path: Readable) -> Tensor:
        """The classes in a mask file, `(H, W)` uint8; 255 = ignored.

        Raises:
            DataError: the file cannot be read, has the wrong kind of pixels, was compressed as a photo is, or holds an
                unknown value or color.
        """
        with opened(path) as image:
            _refuse_lossy(image, path)
            if image.mode in ("RGB", "RGBA"):
                pixels, palette = _opaque(image, path), None
            elif image.mode in ("1", "L", "P"):
                pixels, palette = np.array(image).astype(np.uint8), image.getpalette("RGB")
            else:
                raise DataError(
                    f"{path} is a mask of mode {image.mode}; a mask is a gray or palette image of 8 bits, whose values "
                    f"are {self.allowed}."
                )
        if pixels.ndim == 3:
            return torch.from_numpy(self._from_colors(pixels, path))
        self._check_palette(pixels, palette, path)
        return torch.from_numpy(self._from_values(pixels, path))

    def _from_values(self, values: np.ndarray, path: Readable) -> np.ndarray:
        classes: np.ndarray = self.table[values]
        unknown = values[classes == _UNKNOWN]
        if len(unknown):
            raise DataError(f"{path} holds the value {unknown.min()} in {_count(unknown)}; allowed are {self.allowed}.")
        return classes.astype(np.uint8)

    def _from_colors(self, rgb: np.ndarray, path: Readable) -> np.ndarray:
        if self.colors is None:
            raise DataError(
                f"{path} is a mask in RGB colors, and it is not known which class a color stands for. Save gray or "
                f"palette masks whose values are {self.allowed}; for data.name=folder, classes.txt may name the colors."
            )
        codes = _packed(rgb)
        classes = np.full(codes.shape, _UNKNOWN, dtype=np.int16)
        for color, k in self.colors.items():
            classes[codes == _packed(np.array(color))] = k
        unknown = codes[classes == _UNKNOWN]
        if len(unknown):
            raise DataError(
                f"{path} holds the color {_unpacked(unknown.min())} in {_count(unknown)}, which is the color of no "
                "class. Add it to classes.txt (the name `ignore` is for pixels that count nothing)."
            )
        return classes.astype(np.uint8)

    def _check_palette(self, values: np.ndarray, palette: Sequence[int] | None, path: Readable) -> None:
        """Refuse a palette mask whose values say another class than their colors do."""
        if self.colors is None or palette is None:
            return
        shown = list(zip(palette[0::3], palette[1::3], palette[2::3], strict=True))
        for value in np.unique(values[values < len(shown)]).tolist():
            by_color = self.colors.get(shown[value])
            if by_color is not None and by_color != self.table[value]:
                raise DataError(
                    f"{path} shows the value {value} in the color {shown[value]}, which classes.txt gives to class "
                    f"{by_color}. In a palette mask the value is the class: save the mask in RGB, or mend classes.txt."
                )


def _refuse_lossy(image: Image.Image, path: Readable) -> None:
    """By what the file is, whatever it is called: neighbors of an edge would have classes in between."""
    if image.format in _LOSSY or "jpeg" in str(image.info.get("compression", "")):
        raise DataError(f"{path} is a mask in a format that changes values. Save masks as PNG.")


def plain_coding(
    class_names: Sequence[str], *, ignore_index: int = IGNORE_INDEX, colors: Mapping[Color, int] | None = None
) -> MaskCoding:
    """Value k is class k, and `ignore_index` is ignored; any other value is an error."""
    table = np.full(_NUM_VALUES, _UNKNOWN, dtype=np.int16)
    table[: len(class_names)] = np.arange(len(class_names))
    allowed = f"0..{len(class_names) - 1} ({class_names[0]} .. {class_names[-1]})"
    if 0 <= ignore_index < _NUM_VALUES:
        table[ignore_index] = IGNORE_INDEX
        allowed += f" and {ignore_index} (ignored)"
    return MaskCoding(table=table, colors=colors, allowed=allowed)


def table_coding(class_of: Mapping[int, int]) -> MaskCoding:
    """Values that a data set's own table maps to classes; any other value is ignored (spec, section 4)."""
    table = np.full(_NUM_VALUES, IGNORE_INDEX, dtype=np.int16)
    table[list(class_of)] = list(class_of.values())
    return MaskCoding(table=table, allowed="0..255")


def voc_palette(num_classes: int) -> tuple[Color, ...]:
    """PASCAL VOC's colors: bits 0, 1 and 2 of the class are the highest bits of red, green and blue, and so on."""
    return tuple(
        (_spread_bits(k, channel=0), _spread_bits(k, channel=1), _spread_bits(k, channel=2)) for k in range(num_classes)
    )


def _spread_bits(k: int, *, channel: int) -> int:
    return sum((k >> (3 * place + channel) & 1) << (7 - place) for place in range(3))


def _opaque(image: Image.Image, path: Readable) -> np.ndarray:
    if image.mode == "RGBA" and image.getchannel("A").getextrema() != (255, 255):
        raise DataError(f"{path} is a mask with transparent pixels, which have no class. Save it without transparency.")
    return np.array(image.convert("RGB"))


def _packed(rgb: np.ndarray) -> np.ndarray:
    """Colors `(..., 3)` as one number each, red highest."""
    wide = rgb.astype(np.int32)
    packed: np.ndarray = wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]
    return packed


def _unpacked(code: int) -> Color:
    return int(code) >> 16, int(code) >> 8 & 255, int(code) & 255


def _count(unknown: np.ndarray) -> str:
    """In how many pixels the lowest of some unknown values is, and how many others there are."""
    values, counts = np.unique(unknown, return_counts=True)
    others = f" (and {len(values) - 1} further unknown)" if len(values) > 1 else ""
    return f"{counts[0]} pixel{'s' * bool(counts[0] != 1)}{others}"
