"""Files of numbers: bands as `.npy` and TIFF files hold them, and 16 bits of gray in a PNG."""

import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from tokenize import TokenError
from typing import Any

import numpy as np
from PIL import Image
from tifffile import TiffFile, TiffFileError, TiffPageSeries

from dmt.data.image_files import Readable, opened, pil_array, read_size, unreadable
from dmt.errors import DataError

ARRAY_SUFFIX, TIFF_SUFFIXES = ".npy", frozenset({".tif", ".tiff"})
_HEADER_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
"""By the version of a `.npy` file; the others hold names that are not ASCII, which images lack."""
# All that the readers of arrays and TIFFs were seen to raise on damaged files.
_READ_ERRORS = (
    OSError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    OverflowError,
    RuntimeError,
    AttributeError,
    ArithmeticError,
    MemoryError,
    RecursionError,
    SyntaxError,
    TokenError,
    Image.DecompressionBombError,
    struct.error,
    zlib.error,
    TiffFileError,
)


def read_bands(source: Readable) -> np.ndarray:
    """The numbers of an image file as they are stored, `(H, W, bands)`.

    `.npy` files hold `(H, W)` or `(H, W, bands)`; TIFFs any number of bands and bits; PNGs 16 bits in gray.

    Raises:
        DataError: the file is missing or damaged, or holds no image of numbers.
    """
    suffix = source.suffix.lower()
    with _telling_damage(source):
        if suffix == ARRAY_SUFFIX:
            return _shaped(_read_array(source), source)
        if suffix in TIFF_SUFFIXES:
            return _shaped(_read_tiff(source), source)
        return _shaped(_read_picture(source), source)


def band_size(source: Readable) -> tuple[int, int]:
    """Height and width of what `read_bands` reads, from the file's header; a file that is cut off has them, too.

    Raises:
        DataError: the file is missing, has a damaged header, or one of no image of numbers.
    """
    suffix = source.suffix.lower()
    with _telling_damage(source):
        if suffix == ARRAY_SUFFIX:
            return _array_size(source)
        if suffix in TIFF_SUFFIXES:
            return _tiff_size(source)
        return _picture_size(source)


@contextmanager
def _telling_damage(source: Readable) -> Iterator[None]:
    try:
        yield
    except DataError:
        raise
    except _READ_ERRORS as error:
        raise unreadable(source, error) from error


def _read_array(source: Readable) -> np.ndarray:
    with source.open("rb") as file:
        array: Any = np.load(file, allow_pickle=False)
    if not isinstance(array, np.ndarray):
        raise ValueError("it is an archive of arrays, not one")
    return array


def _array_size(source: Readable) -> tuple[int, int]:
    with source.open("rb") as file:
        read_header = _HEADER_READERS.get(np.lib.format.read_magic(file))
        if read_header is not None:
            shape, _, dtype = read_header(file)
            _check_shape(shape, dtype, source)
            return shape[0], shape[1]
    height, width = _shaped(_read_array(source), source).shape[:2]
    return height, width


def _read_tiff(source: Readable) -> np.ndarray:
    with source.open("rb") as file, TiffFile(file) as tiff:
        series = _one_series(tiff)
        array: np.ndarray = series.asarray()
        return np.moveaxis(array, 0, 2) if _is_planar(series) else array


def _tiff_size(source: Readable) -> tuple[int, int]:
    with source.open("rb") as file, TiffFile(file) as tiff:
        series = _one_series(tiff)
        shape = series.shape[1:] + series.shape[:1] if _is_planar(series) else series.shape
        _check_shape(shape, np.dtype(series.dtype), source)
        return shape[0], shape[1]


def _one_series(tiff: TiffFile) -> TiffPageSeries:
    series = tiff.series
    if len(series) != 1 or (len(tiff.pages) > 1 and "S" not in series[0].axes and series[0].ndim > 2):
        raise ValueError(f"it holds {len(tiff.pages)} pages; one image a file is needed")
    _check_area(series[0].shape)
    return series[0]


def _is_planar(series: TiffPageSeries) -> bool:
    """Whether bands are stored plane after plane, which the axes tell; samples last is our order."""
    return series.ndim == 3 and series.axes.startswith("S")


def _read_picture(source: Readable) -> np.ndarray:
    """Of PNGs also 16 bits, in gray alone: Pillow keeps but the high bytes of colors."""
    with source.open("rb") as file, Image.open(file) as image:
        if _is_of_numbers(image):
            return np.array(image)
    with opened(source) as image:
        return pil_array(image, where=str(source))


def _picture_size(source: Readable) -> tuple[int, int]:
    with source.open("rb") as file, Image.open(file) as image:
        if _is_of_numbers(image):
            return image.height, image.width
    return read_size(source)


def _is_of_numbers(image: Image.Image) -> bool:
    return image.mode.startswith("I") or image.mode == "P"


def _check_area(shape: Sequence[int]) -> None:
    """As Pillow does for pictures: a small file may unfold to more than memory holds."""
    limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
    if limit and int(np.prod(shape, dtype=np.float64)) > 16 * limit:
        raise ValueError(f"its header promises {' x '.join(map(str, shape))} values, too many for one image")


def _shaped(array: np.ndarray, source: Readable) -> np.ndarray:
    _check_shape(array.shape, array.dtype, source)
    # In the machine's own byte order, which torch needs.
    native: np.ndarray = np.ascontiguousarray(np.atleast_3d(array), dtype=array.dtype.newbyteorder("="))
    return native


def _check_shape(shape: Sequence[int], dtype: np.dtype[Any], source: Readable) -> None:
    if dtype.kind not in "uif" or len(shape) not in (2, 3) or 0 in shape:
        raise DataError(
            f"{source} holds {dtype} of shape {tuple(shape)}; numbers of shape (height, width) or (height, width, "
            "bands) are needed."
        )
