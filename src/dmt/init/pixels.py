"""What the values in image files are: pictures, or bands of numbers that a config must explain."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dmt.data.bands import read_bands
from dmt.data.class_folders import FILE_SUFFIXES
from dmt.data.image_files import opened, read_size, walk_files
from dmt.data.manifest import read_manifest
from dmt.data.orientation import orientation
from dmt.data.problems import gathered
from dmt.errors import DataError

_NUMBERS = (".npy", ".tif", ".tiff", ".png")
"""Files that may hold more than 8 bits, or bands that are no colors."""
_LOOKED_AT, _TRIED = 500, 5
_MAX_8_BIT = 255
_BIT_DEPTHS = (8, 10, 12, 14, 16)
_USUAL_RANGES = ((0.0, 1.0), (-1.0, 1.0), *((0.0, 2.0**bits - 1) for bits in _BIT_DEPTHS))
"""Of images that are no whole numbers."""


@dataclass(frozen=True)
class _Extent:
    file: Path
    dtype: np.dtype[Any]
    bands: int
    lowest: float
    highest: float


def pixel_settings(files: list[Path]) -> tuple[dict[str, Any], str]:
    """`channels` and `value_range` where files are no pictures of 8 bits, and a sentence about them.

    Args:
        files: all image files.
    """
    numbers = [file for file in files if file.suffix.lower() in _NUMBERS]
    if not any(_is_no_picture(file) for file in _evenly(numbers, _TRIED)):
        return {}, ""
    extents = list(_extents(_evenly(numbers, _LOOKED_AT)))
    if not extents:
        return {}, ""
    _refuse_mixed_bits(extents)
    bands = max(extent.bands for extent in extents)
    settings: dict[str, Any] = {} if bands in (1, 3) else {"channels": bands}
    kinds = sorted({str(extent.dtype) for extent in extents})
    told = f"files hold {bands} band{'s' * (bands != 1)} of {', '.join(kinds)}"
    if kinds != ["uint8"]:
        low, high = _range(extents)
        settings["value_range"] = [low, high]
        seen = f"{min(one.lowest for one in extents):g} .. {max(one.highest for one in extents):g}"
        told += f", the values {seen} in {len(extents)} of them"
    return settings, told


def orientation_settings(files: list[Path]) -> tuple[dict[str, Any], str]:
    """`exif_orientation` where photos ask to be turned, and a sentence about them.

    Args:
        files: all image files.
    """
    looked_at = _evenly(files, _LOOKED_AT)
    turned = sum(map(_asks_to_be_turned, looked_at))
    if not turned:
        return {}, ""
    return {"exif_orientation": True}, f"EXIF asks for {turned} of {len(looked_at)} files to be turned, which is done"


def _asks_to_be_turned(file: Path) -> bool:
    try:
        with opened(file) as image:
            return orientation(image) != 1
    except DataError:  # told of where images are loaded
        return False


def _refuse_mixed_bits(extents: list[_Extent]) -> None:
    """One range is for all files: pictures of 8 bits would be black beside one of 16.

    Raises:
        DataError: there are both.
    """
    low = [extent for extent in extents if extent.dtype == np.uint8]
    high = [extent for extent in extents if extent.dtype != np.uint8 and extent.highest > _MAX_8_BIT]
    if low and high:
        raise DataError(
            f"{low[0].file} has 8 bits and {high[0].file} holds {high[0].dtype}, up to {high[0].highest:g}: "
            f"{len(low)} of {len(extents)} files are like the first, and one range of values is for all. Save them "
            "alike."
        )


def image_files(root: Path) -> list[Path]:
    """The images below a folder, or that a table names; masks are none."""
    if not root.is_dir():
        with gathered():  # wrong rows are told of when the data are loaded
            return [root.parent / path for path in read_manifest(root, allow_outside=True).paths]
    return list(walk_files(root / "images" if (root / "images").is_dir() else root, FILE_SUFFIXES))


def _is_no_picture(file: Path) -> bool:
    if file.suffix.lower() == ".npy":
        return True
    try:
        read_size(file)
    except DataError:
        return any(True for _ in _extents([file]))  # a damaged file is neither
    return False


def _extents(files: list[Path]) -> Iterator[_Extent]:
    for file in files:
        try:
            bands = read_bands(file)
        except DataError:
            continue
        finite = bands[np.isfinite(bands)]
        if finite.size:
            yield _Extent(file, bands.dtype, bands.shape[2], float(finite.min()), float(finite.max()))


def _range(extents: list[_Extent]) -> tuple[float, float]:
    """Whole numbers: the least usual bit depth that holds them; others: a usual range, or what was seen, rounded."""
    low, high = min(one.lowest for one in extents), max(one.highest for one in extents)
    if all(one.dtype.kind in "ui" for one in extents) and low >= 0:
        depth = next((bits for bits in _BIT_DEPTHS if high < 2**bits), None)
        if depth is not None:
            return 0.0, float(2**depth - 1)
    for least, most in _USUAL_RANGES:
        if least <= low and high <= most and (most <= 1 or high > most / 2):
            return least, most
    if low == high:
        return low, low + 1.0
    digits = 1 - math.floor(math.log10(high - low))  # two of the span, outwards: only some files were looked at
    scale = 10.0**digits
    return round(math.floor(low * scale) / scale, digits), round(math.ceil(high * scale) / scale, digits)


def _evenly(files: list[Path], count: int) -> list[Path]:
    return files[:: max(1, -(-len(files) // count))] if files else []
