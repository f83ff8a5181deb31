"""Images and their masks as files, decoded when they are asked for."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from dmt.data.image_files import Readable
from dmt.data.images import resize, resize_mask
from dmt.data.mask_coding import MaskCoding
from dmt.data.mask_sources import MaskSource
from dmt.data.memory import TensorMemory
from dmt.data.pixels import RGB, PixelRule
from dmt.data.problems import refuse
from dmt.errors import DataError
from dmt.types import IGNORE_INDEX


@dataclass(frozen=True)
class ImageFile:
    """An image's name in split files, its file, and its mask where there is one."""

    key: str
    image: Readable
    mask: MaskSource | None


@dataclass(frozen=True, kw_only=True)
class MaskedImages:
    """Images with masks as files, as an `ImageSet`; images without a mask have no label.

    Masks are as they are stored, and so are images, unless `rule` turns them as their EXIF asks. What was decoded stays
    in memory while it is little; the files are taken to stay as they are.

    Attributes:
        files: the images, in order.
        coding: what the values in masks stand for.
        image_size: (height, width) to resize to: images bilinearly with antialias, masks to the nearest pixel; None
            leaves every image its own size.
        rule: what the values in image files stand for.
    """

    files: tuple[ImageFile, ...]
    coding: MaskCoding
    image_size: tuple[int, int] | None = None
    rule: PixelRule = RGB
    _sizes: dict[int, tuple[int, int]] = field(default_factory=dict, init=False, repr=False, compare=False)
    _memory: TensorMemory = field(default_factory=TensorMemory, init=False, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.files)

    def images(self, indices: Sequence[int]) -> Tensor:
        """`(n, channels, H, W)` uint8.

        Raises:
            DataError: a file cannot be read, or images differ in size.
        """
        images = [self._memory.recall(("image", int(index)), partial(self._image, int(index))) for index in indices]
        return self._stack(images, indices, like=torch.empty(0, self.rule.channels, 0, 0, dtype=torch.uint8))

    def labels(self, indices: Sequence[int]) -> Tensor:
        """`(n, H, W)` int64; 255 = ignored.

        Raises:
            DataError: an image has no mask, a mask cannot be read or holds unknown values, or masks differ in size.
        """
        masks = [self._memory.recall(("mask", int(index)), partial(self._mask, int(index))) for index in indices]
        return self._stack(masks, indices, like=torch.empty(0, 0, 0, dtype=torch.uint8)).to(torch.int64)

    def key(self, index: int) -> str:
        """The path below the image folder, without suffix."""
        return self.files[index].key

    def size(self, index: int) -> tuple[int, int]:
        """Height and width as `images` gives them; of a file that is a picture only the header is read, once."""
        return self._file_size(index) if self.image_size is None else self.image_size

    def source(self, index: int) -> Readable:
        """An image's file."""
        return self.files[index].image

    def known(self) -> np.ndarray:
        """Every image that has a mask file."""
        return np.array([file.mask is not None for file in self.files], dtype=bool)

    def subset(self, indices: Sequence[int]) -> "MaskedImages":
        """Some of the images, in this order."""
        files = tuple(self.files[index] for index in indices)
        some = replace(self, files=files)
        some._sizes.update({place: self._sizes[index] for place, index in enumerate(indices) if index in self._sizes})
        return some

    def check_sizes(self, *, tolerant: bool = False) -> None:
        """Read the header of every image, and compare the sizes of those that have a mask with their masks'.

        Args:
            tolerant: leave images that cannot be read to whoever decodes them.

        Raises:
            DataError: they differ, or a file is no image, with or without a mask.
        """
        for index, file in enumerate(self.files):
            try:
                size = self._file_size(index)
            except DataError as error:
                if not tolerant:
                    refuse(error, "unreadable-image", str(file.image))
                continue
            if file.mask is not None:
                _check_mask_size(file, file.mask, size, is_turned=self.rule.exif_orientation)

    def _file_size(self, index: int) -> tuple[int, int]:
        if index not in self._sizes:
            self._sizes[index] = self.rule.size(self.files[index].image)
        return self._sizes[index]

    def _image(self, index: int) -> Tensor:
        image = self.rule.read(self.files[index].image)
        return image if self.image_size is None else resize(image[None], self.image_size)[0]

    def _mask(self, index: int) -> Tensor:
        file = self.files[index]
        if file.mask is None:
            raise DataError(f"{file.image} has no mask.")
        return resize_mask(file.mask.read(self.coding), self.image_size)

    def _stack(self, tensors: Sequence[Tensor], indices: Sequence[int], *, like: Tensor) -> Tensor:
        for index, tensor in zip(indices, tensors, strict=True):
            if tensor.shape != tensors[0].shape:
                first = self.files[indices[0]].image
                raise DataError(
                    f"{self.files[index].image} is {_times(tensor.shape)} (height x width), but {first} is "
                    f"{_times(tensors[0].shape)}; images that go through a network together are of one size. "
                    "Set data.image_size."
                )
        return torch.stack(list(tensors)) if tensors else like


_ORIENTATION_HINTS = {
    False: " If its EXIF asks for it to be turned, and the mask fits it so, set data.exif_orientation=true.",
    True: " data.exif_orientation turns images as their EXIF asks, and masks never.",
}
"""By whether images are turned; where height and width of an image and its mask are exchanged."""


def count_pixels(images: MaskedImages, indices: Sequence[int], *, num_classes: int) -> np.ndarray:
    """How many pixels of each class the masks of some images hold, `(C,)` int64; every mask is read once.

    Raises:
        DataError: a mask cannot be read or holds unknown values.
    """
    counts = np.zeros(IGNORE_INDEX + 1, dtype=np.int64)
    for index in indices:
        try:
            counts += np.bincount(images.labels([index]).numpy().ravel(), minlength=len(counts))
        except DataError as error:
            refuse(error, "bad-mask", str(images.files[index].mask))
    return counts[:num_classes]


def _check_mask_size(file: ImageFile, mask: MaskSource, size: tuple[int, int], *, is_turned: bool) -> None:
    try:
        mask_size = mask.size()
    except DataError as error:
        refuse(error, "bad-mask", str(mask))
        return
    if size != mask_size:
        hint = _ORIENTATION_HINTS[is_turned] if size == mask_size[::-1] else ""
        refuse(
            DataError(
                f"{file.image} is {_times(size)} (height x width), but its mask {mask} is {_times(mask_size)}. An "
                f"image and its mask must be of one size.{hint}"
            ),
            "mask-size",
            str(file.image),
        )


def _times(shape: Sequence[int]) -> str:
    return f"{shape[-2]} x {shape[-1]}"
