"""Arrays as map-style data sets: what `dmt.run(config, datasets=...)` takes beside torch's own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from dmt.errors import DataError


@dataclass(frozen=True)
class ArrayItems(Dataset[Any]):
    """Item i is `(images[i], labels[i])`, or the image alone where there are no labels."""

    images: Sequence[Any] | np.ndarray | Tensor
    labels: Sequence[Any] | np.ndarray | Tensor | None = None

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Any:
        image = self.images[index]
        return image if self.labels is None else (image, self.labels[index])


def as_dataset(part: Any, *, name: str) -> Any:
    """A part of `datasets` as something with `__getitem__` and `__len__`.

    Args:
        part: a map-style torch data set as it is; a pair `(X, y)` of arrays or lists; an array of images alone.
        name: of the part, for messages.

    Raises:
        DataError: it is none of these, or X and y differ in length.
    """
    if isinstance(part, tuple):
        return _pair(part, name)
    if not (hasattr(part, "__len__") and hasattr(part, "__getitem__")) or getattr(part, "ndim", 1) == 0:
        raise DataError(
            f"datasets[{name!r}] is a {type(part).__name__}; a map-style torch data set is needed, or arrays: a pair "
            "(X, y), or X alone for `unlabeled`."
        )
    return ArrayItems(part) if isinstance(part, np.ndarray | Tensor) else part


def _pair(part: tuple[Any, ...], name: str) -> ArrayItems:
    if len(part) != 2:
        raise DataError(f"datasets[{name!r}] is a tuple of {len(part)}; a pair of arrays is needed: (X, y).")
    for what, values in zip("Xy", part, strict=True):
        if not (hasattr(values, "__len__") and hasattr(values, "__getitem__")) or getattr(values, "ndim", 1) == 0:
            raise DataError(
                f"{what} of datasets[{name!r}] is a {type(values).__name__}; an array or a list is needed, an entry an "
                "image."
            )
    if len(part[0]) != len(part[1]):
        raise DataError(
            f"datasets[{name!r}] has {len(part[0])} images in X and {len(part[1])} labels in y; one label an image is "
            "needed."
        )
    return ArrayItems(*part)
