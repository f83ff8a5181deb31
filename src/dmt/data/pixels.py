"""What the values in an image file stand for: the rule that one data set's images share, and reading by it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dmt.data.bands import ARRAY_SUFFIX, TIFF_SUFFIXES, band_size, read_bands
from dmt.data.image_files import Readable, opened, pil_array, read_image, read_size
from dmt.data.orientation import upright
from dmt.errors import DataError

_OF_PICTURES = frozenset({1, 3, 4})
_LEVELS = 255


@dataclass(frozen=True, kw_only=True)
class PixelRule:
    """How the values of a file become channels of 256 levels.

    Without a range, files are pictures of 8 bits a channel: 1 channel is gray (colors are weighted as the eye does), 3
    are RGB (gray is repeated). With other channels or a range, files hold bands, which are taken as they are stored.

    Attributes:
        channels: of the images as networks get them.
        value_range: the values of level 0 and of level 255, with all others between; what lies outside is an error,
            never cut off. None = 0..255.
        exif_orientation: whether pictures are turned as their EXIF asks; bands never are.
    """

    channels: int = 3
    value_range: tuple[float, float] | None = None
    exif_orientation: bool = False

    @property
    def is_picture(self) -> bool:
        """Whether files are pictures that any viewer shows, and not bands of numbers."""
        return self.channels in (1, 3) and self.value_range is None

    def read(self, source: Readable) -> Tensor:
        """The image, `(channels, H, W)` uint8.

        Raises:
            DataError: the file is missing, damaged, or does not fit the rule.
        """
        if not self.is_picture or source.suffix.lower() == ARRAY_SUFFIX:
            return self._from_bands(read_bands(source), source)
        if self.channels == 3:
            with self._telling_bands(source):
                return read_image(source, exif_orientation=self.exif_orientation)
        with self._telling_bands(source), opened(source) as image:
            array = pil_array(upright(image) if self.exif_orientation else image, where=str(source))
        return torch.from_numpy(array if array.ndim == 2 else np.array(Image.fromarray(array).convert("L")))[None]

    def size(self, source: Readable) -> tuple[int, int]:
        """Height and width, from the file's header.

        Raises:
            DataError: as `read`.
        """
        if self.is_picture and source.suffix.lower() != ARRAY_SUFFIX:
            with self._telling_bands(source):
                return read_size(source, exif_orientation=self.exif_orientation)
        return band_size(source)

    @contextmanager
    def _telling_bands(self, source: Readable) -> Iterator[None]:
        """A TIFF that is no picture, but whole, says how many bands it has."""
        try:
            yield
        except DataError as error:
            if source.suffix.lower() not in TIFF_SUFFIXES:
                raise
            try:
                found = read_bands(source).shape[2]
            except DataError:
                raise error from None
            if found in _OF_PICTURES:
                raise
            raise DataError(
                f"{source} has {found} bands, and data.channels is {self.channels}. Set data.channels={found} if all "
                "files have as many, or save this one as a picture in gray or RGB."
            ) from error

    def _from_bands(self, bands: np.ndarray, source: Readable) -> Tensor:
        found = bands.shape[2]
        if found != self.channels and not (found == 1 and self.channels == 3):
            raise DataError(
                f"{source} has {found} band{'s' * (found != 1)}, but data.channels is {self.channels}. Set "
                "data.channels to what all files have, or save this one like the others."
            )
        levels = torch.from_numpy(self._levels(bands, source)).permute(2, 0, 1)
        return levels.expand(self.channels, -1, -1).contiguous()

    def _levels(self, bands: np.ndarray, source: Readable) -> np.ndarray:
        if self.value_range is None:
            if bands.dtype != np.uint8:
                raise DataError(
                    f"{source} holds values of {bands.dtype}, {_extent(bands)}; say what they stand for: "
                    "data.value_range=[LOWEST, HIGHEST] becomes 0..255."
                )
            return bands
        low, high = self.value_range
        if bands.dtype == np.uint8 and high > _LEVELS:
            raise DataError(
                f"{source} has 8 bits, and data.value_range is [{low:g}, {high:g}]: it would be almost black. One "
                "range is for all files; save them with as many bits."
            )
        if not (np.isfinite(bands).all() and bands.min() >= low and bands.max() <= high):
            raise DataError(
                f"{source} holds the values {_extent(bands)}, but data.value_range is [{low:g}, {high:g}]. Widen it: "
                "nothing is cut off silently."
            )
        scaled = (bands.astype(np.float64) - low) * (_LEVELS / (high - low))
        return np.rint(scaled).astype(np.uint8)


RGB = PixelRule()
"""Pictures in color: what most files are."""


def _extent(bands: np.ndarray) -> str:
    if not np.isfinite(bands).all():
        return "NaN or infinite"
    return f"{bands.min():g} .. {bands.max():g}"
