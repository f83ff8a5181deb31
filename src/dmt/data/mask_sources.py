"""Where the mask of an image comes from: a file of its own, or shapes that someone drew."""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from dmt.data.image_files import Readable, read_size
from dmt.data.mask_coding import MaskCoding


class MaskSource(Protocol):
    """A mask that can be read; `str` of it is what messages call it."""

    def size(self) -> tuple[int, int]:
        """Height and width, at little cost."""

    def read(self, coding: MaskCoding) -> Tensor:
        """The class of each pixel, `(H, W)` uint8; 255 = ignored."""


@dataclass(frozen=True)
class MaskFile:
    """A mask in an image file."""

    file: Readable

    def __str__(self) -> str:
        return str(self.file)

    def size(self) -> tuple[int, int]:
        """From the header.

        Raises:
            DataError: the file is missing, damaged or no mask.
        """
        return read_size(self.file)

    def read(self, coding: MaskCoding) -> Tensor:
        """What the values or colors in the file stand for.

        Raises:
            DataError: the file cannot be read, has the wrong kind of pixels, or holds an unknown value or color.
        """
        return coding.read(self.file)
