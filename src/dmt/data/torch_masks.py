"""A user's torch `Dataset` of images with masks as an image set."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dmt.data.images import resize_mask
from dmt.data.memory import TensorMemory
from dmt.data.torch_images import TorchImages
from dmt.errors import DataError
from dmt.types import IGNORE_INDEX

_NO_MASK = torch.empty(0, 0, dtype=torch.uint8)


@dataclass(frozen=True, kw_only=True)
class TorchMasks(TorchImages):
    """A map-style torch `Dataset` of `(image, mask)` as an `ImageSet`; images may differ in size.

    A mask is a tensor, an array or a PIL image of whole numbers, `(H, W)` or `(1, H, W)`. An item without one, whose
    mask is None, or whose mask ignores every pixel has no label.

    Attributes:
        ignore_index: the value in masks that counts nothing.
    """

    ignore_index: int = IGNORE_INDEX
    _sizes: dict[int, tuple[int, int]] = field(default_factory=dict, init=False, repr=False, compare=False)
    # An item is decoded to get at its mask, and masks are asked for often.
    _memory: TensorMemory = field(default_factory=TensorMemory, init=False, repr=False, compare=False)

    def labels(self, indices: Sequence[int]) -> Tensor:
        """`(n, H, W)` int64; 255 = ignored.

        Raises:
            DataError: an item has no mask, or a mask does not fit its image or is none.
        """
        masks = [self.mask(int(index)) for index in indices]
        for index, mask in zip(indices, masks, strict=True):
            if mask is None:
                raise DataError(f"Item {index} of '{self.prefix}' has no mask; (image, mask) is needed.")
        return torch.stack([mask.to(torch.int64) for mask in masks if mask is not None])

    def size(self, index: int) -> tuple[int, int]:
        """Height and width of an image, as `images` gives it; the item is decoded once."""
        if index not in self._sizes:
            height, width = self.image_size or self._image(index).shape[-2:]
            self._sizes[index] = (height, width)
        return self._sizes[index]

    def known(self) -> np.ndarray:
        """Every image with a mask that tells something; all masks are read once."""
        return np.array([self.mask(index) is not None for index in range(len(self))], dtype=bool)

    def mask(self, index: int) -> Tensor | None:
        """The classes of an image's pixels, `(H, W)` uint8, 255 = ignored; None where they are not known.

        Raises:
            DataError: as `labels`.
        """
        mask = self._memory.recall(index, partial(self._read_mask, index))
        return mask if mask.numel() else None

    def _read_mask(self, index: int) -> Tensor:
        item = self.dataset[index]
        raw = item[1] if isinstance(item, tuple | list) and len(item) > 1 else None
        if raw is None:
            return _NO_MASK
        mask = to_mask(raw, ignore_index=self.ignore_index, where=f"The mask of item {index} of '{self.prefix}'")
        height, width = self._decode(item, index).shape[-2:]
        if mask.shape != (height, width):
            raise DataError(
                f"Image {index} of '{self.prefix}' is {height} x {width} (height x width), but its mask is "
                f"{mask.shape[0]} x {mask.shape[1]}. An image and its mask must be of one size."
            )
        return _NO_MASK if bool((mask == IGNORE_INDEX).all()) else resize_mask(mask, self.image_size)


def to_mask(raw: Any, *, ignore_index: int, where: str) -> Tensor:
    """Any supported mask as uint8 `(H, W)`, 255 = ignored.

    Args:
        raw: a tensor, an array or a PIL image.
        ignore_index: the value that counts nothing.
        where: what it is, for messages.

    Raises:
        DataError: it is no such thing, or holds values that are no classes.
    """
    try:
        values = np.asarray(raw) if isinstance(raw, Image.Image | np.ndarray) else torch.as_tensor(raw).cpu().numpy()
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{where} is a {type(raw).__name__}; an array (H, W) of whole numbers is needed.") from error
    values = values[0] if values.ndim == 3 and len(values) == 1 else values
    if values.ndim != 2 or 0 in values.shape or values.dtype.kind not in "iub":
        raise DataError(f"{where} is {values.dtype} {values.shape}; whole numbers (H, W) are needed.")
    ignored, values = values == ignore_index, values.astype(np.int64)
    wrong = values[~ignored & ((values < 0) | (values >= IGNORE_INDEX))]
    if len(wrong):
        raise DataError(
            f"{where} holds the value {wrong[0]}; classes are 0 .. {IGNORE_INDEX - 1}, and {ignore_index} is ignored."
        )
    return torch.from_numpy(np.where(ignored, IGNORE_INDEX, values).astype(np.uint8))
