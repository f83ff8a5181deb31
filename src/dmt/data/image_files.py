"""Image files: which a folder holds, how large they are, and their pixels; whatever is wrong is a `DataError`."""

import os
import struct
import warnings
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal, Protocol

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import BITSPERSAMPLE, EXTRASAMPLES, PHOTOMETRIC_INTERPRETATION, SAMPLESPERPIXEL, TiffImageFile
from torch import Tensor

from dmt.data.orientation import as_stored, upright, upright_size
from dmt.errors import DataError, first_line

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})
MASK_SUFFIXES = frozenset({".png", ".bmp", ".tif", ".tiff"})
"""Formats that keep every pixel as it is; JPEG would smear one class into another."""

_OTHER_IMAGES = frozenset({".gif", ".heic", ".heif", ".avif", ".jfif", ".jp2", ".jxl", ".svg", ".tga", ".psd", ".dng"})
"""Images to a user, and nothing that is read here."""

_COLOR_BANDS = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3, 8: 3}
"""Of a TIFF, by its PhotometricInterpretation: gray, gray, RGB, palette, CMYK, YCbCr, Lab."""
_ALPHA = (1, 2)
"""A TIFF's ExtraSamples where the band after the colors is transparency; 0 says nothing of what it is."""
_PNG_DEPTH_AT = 24
"""The byte of a PNG that holds its bit depth."""

_EIGHT_BIT_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV"})
# All that Pillow's readers were seen to raise on damaged files, those of the formats' own parsers included.
_READ_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    OverflowError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


class Readable(Protocol):
    """A file, or something like one inside a larger file; `str` of it is what messages call it."""

    @property
    def suffix(self) -> str:
        """Of its name, with the dot."""

    def open(self, mode: Literal["rb"], /) -> BinaryIO:
        """Its bytes."""


def walk_files(folder: Path, suffixes: Collection[str]) -> Iterator[Path]:
    """The files of a folder and those below it, sorted by path; hidden files and folders count nothing.

    Folders that are links are followed, but none twice, so that links in a circle end.

    Raises:
        DataError: there is no such folder, or one of them may not be listed.
    """
    if not folder.is_dir():
        raise DataError(f"There is no folder {folder}.")
    names, unlisted = walk_names(folder, suffixes)
    if unlisted:
        first = unlisted[0]
        raise DataError(f"{first.filename} cannot be listed ({first.strerror}). Allow it, or take the folder out.")
    # A link that leads nowhere is no file.
    return (path for path in names if path.is_file())


def walk_names(folder: Path, suffixes: Collection[str]) -> tuple[list[Path], list[OSError]]:
    """As `walk_files`, links that lead nowhere included, and beside them the errors of folders not to be listed."""
    unlisted: list[OSError] = []
    found = [Path(place, name) for place, names in _by_folder(folder, suffixes, unlisted) for name in names]
    return sorted(found), unlisted


def _by_folder(
    folder: Path, suffixes: Collection[str], unlisted: list[OSError]
) -> Iterator[tuple[str, Collection[str]]]:
    """Each folder once, and the names in it that count; errors of those that cannot be listed go into `unlisted`."""
    seen = set()
    for place, folders, names in os.walk(folder, followlinks=True, onerror=unlisted.append):
        here = Path(place).stat()
        if (here.st_dev, here.st_ino) in seen:
            folders.clear()
            continue
        seen.add((here.st_dev, here.st_ino))
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield place, [name for name in names if _counts(name, suffixes)]


def tell_other_images(folder: Path, suffixes: Collection[str]) -> None:
    """Warn of files below a folder that are images to a user, and left out."""
    others, _ = walk_names(folder, _OTHER_IMAGES)
    if others:
        warnings.warn(
            f"Below {folder}, {others[0]} is left out, {len(others)} of such files in all: allowed are "
            f"{', '.join(sorted(suffixes))}.",
            UserWarning,
            stacklevel=2,
        )


def left_out(folder: Path, suffixes: Collection[str], taken: Collection[Path]) -> list[Path]:
    """Files below a folder, named as images are, that are not taken; links that lead nowhere are told and left out.

    No file is asked for but those: on a remote disk, a million questions take minutes.

    Args:
        folder: to look below.
        suffixes: of images.
        taken: what a reader has found there.
    """
    if sum(len(names) for _, names in _by_folder(folder, suffixes, [])) == len(taken):
        return []  # as usual, and known without a path for each of a million names
    others = [path for path in walk_names(folder, suffixes)[0] if path not in taken]
    broken = [path for path in others if not path.exists()]
    if broken:
        warnings.warn(
            f"Below {folder}, {len(broken)} links lead nowhere and are left out, for instance {broken[0]}. Bring back "
            "what they lead to, or delete them.",
            UserWarning,
            stacklevel=2,
        )
    return sorted(set(others) - set(broken))


def _counts(name: str, suffixes: Collection[str]) -> bool:
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in suffixes  # noqa: PTH122 - a million names


def list_files(folder: Path, suffixes: Collection[str]) -> dict[str, Path]:
    """The files of a folder and those below it, by their path relative to it without suffix, sorted by that.

    Hidden files count nothing.

    Raises:
        DataError: there is no such folder, or two files differ in their suffix alone.
    """
    found: dict[str, Path] = {}
    for path in walk_files(folder, suffixes):
        key = path.relative_to(folder).with_suffix("").as_posix()
        if key in found:
            raise DataError(
                f"{found[key]} and {path.name} are both named {key!r}, since a name has no suffix. Rename one."
            )
        found[key] = path
    return dict(sorted(found.items()))


def read_size(path: Readable, *, exif_orientation: bool = False) -> tuple[int, int]:
    """Height and width of an image file, from its header.

    Raises:
        DataError: the file is missing, empty or no image, or `opened` refuses it.
    """
    with opened(path) as image:
        return upright_size(image) if exif_orientation else (image.height, image.width)


def read_image(path: Readable, *, exif_orientation: bool = False) -> Tensor:
    """The pixels of an image file, as they are stored or turned as EXIF asks: only the first fits every mask.

    Returns:
        `(3, H, W)` uint8 RGB: gray becomes three equal channels, transparent parts show white.

    Raises:
        DataError: the file is missing, cut off, or holds no picture of 8 bits a channel.
    """
    with opened(path) as image:
        array = pil_array(upright(image) if exif_orientation else image, where=str(path))
    if array.ndim == 2:
        return torch.from_numpy(array).expand(3, -1, -1).contiguous()
    return torch.from_numpy(array).permute(2, 0, 1).contiguous()


@contextmanager
def opened(path: Readable) -> Iterator[Image.Image]:
    """An image file as it is stored; whatever goes wrong with it inside the `with` is a `DataError`.

    It is not decoded yet, but for a TIFF that asks to be turned, which Pillow does: that is turned back.

    Raises:
        DataError: it has several pages, more than 8 bits a channel, or bands that are no colors: Pillow would drop
            them, or take near-infrared for transparency.
    """
    try:
        with path.open("rb") as file, Image.open(file) as image:
            _check_one_page(image, path)
            _check_depth(image, path)
            _check_bands(image, path)
            yield as_stored(image)
    except DataError:
        raise
    except UnidentifiedImageError as error:
        raise DataError(
            f"{path} cannot be read: it is empty, damaged or no image of gray or colors. Get the file again, or save "
            "it as a PNG of 8 bits in gray or RGB."
        ) from error
    except _READ_ERRORS as error:
        raise unreadable(path, error) from error


def unreadable(path: Readable, error: Exception) -> DataError:
    """What to say of a file that raised an error, and how to mend it."""
    if isinstance(error, FileNotFoundError):
        return DataError(f"There is no file {path}.")
    if isinstance(error, PermissionError):
        return DataError(f"{path} may not be read. Give yourself the right to, or take it out.")
    if isinstance(error, Image.DecompressionBombError):
        return DataError(
            f"{path} has more pixels than one image may have here, {2 * (Image.MAX_IMAGE_PIXELS or 0):,}. Cut it into "
            "tiles, or save it smaller."
        )
    if "imagecodecs" in str(error):
        return DataError(
            f"{path} is compressed in a way that takes `pip install imagecodecs`. Or save it uncompressed."
        )
    return DataError(f"{path} cannot be read ({first_line(error)}). Get the file again.")


def pil_array(image: Image.Image, *, where: str) -> np.ndarray:
    """Pixels of a PIL image as uint8: gray stays `(H, W)`, all else becomes RGB `(H, W, 3)`; transparent is white.

    Raises:
        DataError: the image has more than 8 bits a channel, or channels that are no colors.
    """
    if image.mode not in _EIGHT_BIT_MODES:
        raise DataError(f"{where} is a PIL image of mode {image.mode}; 8-bit modes are allowed. Rescale it to 0..255.")
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return np.array(image.convert("L" if image.mode in ("1", "L") else "RGB"))


def _check_one_page(image: Image.Image, path: Readable) -> None:
    # Of TIFF alone: what phones append to a JPEG are smaller views of the same picture.
    pages = getattr(image, "n_frames", 1) if image.format == "TIFF" else 1
    if pages > 1:
        raise DataError(f"{path} holds {pages} pages; one image a file is needed. Save each page as a file.")


def _check_depth(image: Image.Image, path: Readable) -> None:
    # Of files alone: Pillow opens 16-bit colors as plain RGB, and keeps their high bytes.
    bits = _bits(image, path)
    if bits > 8:
        raise DataError(
            f"{path} has {bits} bits a channel; 8 are allowed. Save it with 8: an image rescaled to 0..255, a mask "
            "with its values as they are. Or say what the values of all images stand for, data.value_range; colors of "
            "16 bits then are a TIFF or .npy file."
        )


def _bits(image: Image.Image, path: Readable) -> int:
    if isinstance(image, TiffImageFile):
        return max(map(int, image.tag_v2.get(BITSPERSAMPLE, (1,))))
    if isinstance(image, PngImageFile):
        with path.open("rb") as file:
            file.seek(_PNG_DEPTH_AT)
            return file.read(1)[0]
    return 8


def _check_bands(image: Image.Image, path: Readable) -> None:
    """Beyond its colors, a TIFF may have one band that says of itself that it is transparency."""
    if not isinstance(image, TiffImageFile):
        return
    tags = image.tag_v2
    colors = _COLOR_BANDS.get(tags.get(PHOTOMETRIC_INTERPRETATION, 0), 3)
    bands, extra = tags.get(SAMPLESPERPIXEL, 1), tuple(tags.get(EXTRASAMPLES, ()))
    if bands > colors and (bands > colors + 1 or extra not in {(kind,) for kind in _ALPHA}):
        raise DataError(
            f"{path} is a TIFF of {bands} bands, {bands - colors} of which are no colors (ExtraSamples is "
            f"{', '.join(map(str, extra)) or 'absent'}); allowed are gray or RGB, and one band of transparency "
            f"(ExtraSamples {' or '.join(map(str, _ALPHA))}). Save three bands as RGB, or set data.channels={bands}."
        )
