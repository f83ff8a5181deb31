"""Labels of any kind as class numbers, for whole images and for pixels."""

from collections.abc import Sequence
from numbers import Number
from typing import Any

import numpy as np
import torch
from sklearn.utils import assert_all_finite
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d
from torch import Tensor

from dmt.errors import DataError
from dmt.types import IGNORE_INDEX, UNLABELED

_NO_LABEL_IN_TEXT = ("", str(UNLABELED))
"""An array of text turns -1 into "-1"."""


def check_labels(y: Any) -> np.ndarray:
    """Labels of images as an array `(N,)`.

    Raises:
        ValueError: there is none, or it holds infinity or numbers that are no classes.
    """
    if y is None:
        raise DataError(
            "This estimator requires y to be passed, but the target y is None. Pass -1 where there is none."
        )
    if isinstance(y, list | tuple) and len({isinstance(one, str) for one in y}) > 1:
        y = np.array(y, dtype=object)  # else numpy makes text of None and NaN, too
    labels: np.ndarray = column_or_1d(y, warn=True)
    if labels.dtype.kind == "f":
        assert_all_finite(labels, input_name="y", allow_nan=True)
    known = labels[is_known(labels)]
    if len(known):
        check_classification_targets(_tidy(known))
    return labels


def is_known(labels: np.ndarray) -> np.ndarray:
    """`(N,)` bool: which labels say something; -1 does not, nor empty text, nor None or NaN."""
    if labels.dtype.kind == "O":
        return np.array([not _says_nothing(one) for one in labels], dtype=bool)
    if labels.dtype.kind in "US":
        return ~np.isin(labels, _NO_LABEL_IN_TEXT)
    if labels.dtype.kind == "b":
        return np.ones(len(labels), dtype=bool)
    known: np.ndarray = (labels != UNLABELED) & (labels == labels)  # NaN is not equal to itself
    return known


def encode_labels(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The sorted classes, and each label's number among them; -1 where it says nothing.

    Raises:
        DataError: there are fewer than two classes.
    """
    known, codes = is_known(labels), np.full(len(labels), UNLABELED)
    if not known.any():
        raise DataError("No entry of y is a label; a classifier learns from a few labels of two classes or more.")
    classes, codes[known] = np.unique(_tidy(labels[known]), return_inverse=True)
    if len(classes) < 2:
        raise DataError(f"All labels in y are of one class ({classes.tolist()[0]!r}); two classes or more are needed.")
    return classes, codes


def encode_masks(y: Any, sizes: Sequence[tuple[int, int]]) -> tuple[np.ndarray, list[Tensor | None]]:
    """The sorted classes of some masks, and the masks in their numbers, 255 = ignored.

    Args:
        y: a mask `(H, W)` of whole numbers for each image; None or 255 everywhere where there is none.
        sizes: the images' heights and widths.

    Raises:
        DataError: a mask is none, or does not fit its image, or there are no two classes.
    """
    if y is None:
        raise DataError("This estimator requires y to be passed, but the target y is None. Pass None for each image.")
    if len(y) != len(sizes):
        raise DataError(f"X has {len(sizes)} images, but y has {len(y)} masks; pass None where an image has none.")
    masks = [check_mask(mask, size, f"y[{index}]") for index, (mask, size) in enumerate(zip(y, sizes, strict=True))]
    found = [np.unique(mask[mask != IGNORE_INDEX]) for mask in masks if mask is not None]
    classes = np.unique(np.concatenate(found)) if found else np.empty(0, dtype=np.int64)
    if len(classes) < 2:
        what = f"one class ({classes[0]})" if len(classes) else "no class"
        raise DataError(f"The masks in y hold {what}; two classes or more are needed.")
    if len(classes) > IGNORE_INDEX:
        raise DataError(f"The masks in y hold {len(classes)} classes; at most {IGNORE_INDEX} are possible.")
    return classes, [None if mask is None else encoded(mask, classes) for mask in masks]


def check_mask(mask: Any, size: tuple[int, int], what: str) -> np.ndarray | None:
    """A mask `(H, W)` as int64; None where it says nothing.

    Raises:
        DataError: it is no mask of that size.
    """
    if mask is None:
        return None
    values = np.asarray(mask)
    if values.dtype.kind not in "iub" or values.shape != size:
        raise DataError(
            f"{what} is {values.dtype} {values.shape}; a mask of the image's size is needed, whole numbers {size}, or "
            "None."
        )
    values = values.astype(np.int64)
    if values.min() < 0:
        raise DataError(f"{what} holds the value {values.min()}; classes are 0 or more, and {IGNORE_INDEX} is ignored.")
    return None if (values == IGNORE_INDEX).all() else values


def encoded(mask: np.ndarray, classes: np.ndarray) -> Tensor:
    """A mask in numbers of the classes, uint8; what is none of them is ignored, 255."""
    codes = np.searchsorted(classes, mask).clip(max=len(classes) - 1)
    return torch.from_numpy(np.where(classes[codes] == mask, codes, IGNORE_INDEX).astype(np.uint8))


def _says_nothing(label: Any) -> bool:
    """Also what pandas makes of None in a column: NaN, which is not equal to itself, or NA, which is neither."""
    if isinstance(label, str):
        return label in _NO_LABEL_IN_TEXT
    return label is None or type(label).__name__ == "NAType" or bool(label != label) or bool(label == UNLABELED)


def _tidy(labels: np.ndarray) -> np.ndarray:
    """Numbers in an array of objects, where None stood for no label, as an array of numbers; text as it is.

    Raises:
        DataError: there are other objects, or numbers and text.
    """
    if labels.dtype.kind != "O" or all(isinstance(one, str) for one in labels):
        return labels
    if not all(isinstance(one, Number | np.bool_) for one in labels):
        kinds = sorted({type(one).__name__ for one in labels})
        raise DataError(
            f"The labels in y are objects of the types {', '.join(kinds)}. Give text alone or numbers alone."
        )
    return np.array(labels.tolist())
