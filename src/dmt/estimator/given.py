"""What a user hands over as X: a table, arrays of images or paths of files; told apart and brought into one shape."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from dmt.errors import DataError

Kind: TypeAlias = Literal["rows", "arrays", "paths"]
Pictures: TypeAlias = np.ndarray | list[np.ndarray]
"""`(N, H, W, channels)`, or a list of `(H, W, channels)` where images differ in size."""

_FEW_CHANNELS = 4


def kind_of(X: Any) -> Kind:
    """Whether X is a table of rows, images as arrays, or paths; whatever else is left to the check of tables."""
    if is_list(X):
        first = next(iter(X), None)
        if isinstance(first, str | Path):
            return "paths"
        if getattr(first, "ndim", 0) in (2, 3):
            return "arrays"
    dimensions = getattr(X, "ndim", None)
    if dimensions is None:
        dimensions = _dimensions(X)
    return "arrays" if dimensions >= 3 else "rows"


def is_list(X: Any) -> bool:
    """Whether X holds one thing after the other: a list, or what has one dimension."""
    return isinstance(X, list | tuple) or getattr(X, "ndim", 2) == 1


def paths_in(X: Any) -> list[Path]:
    """X as paths.

    Raises:
        DataError: one of them is no path.
    """
    for index, one in enumerate(X):
        if not isinstance(one, str | Path):
            raise DataError(f"X begins with a path, but X[{index}] is a {type(one).__name__}. Give paths alone.")
    return [Path(one).expanduser() for one in X]


def pictures_in(X: Any) -> Pictures:
    """X as images whose last dimension is channels.

    Raises:
        DataError: it holds no images, or what is in them is no finite number.
    """
    if is_list(X):
        images = [_with_channels(np.asarray(one), f"X[{index}]", 2) for index, one in enumerate(X)]
        same = {(image.shape, image.dtype) for image in images}
        return np.stack(images) if len(same) == 1 else images
    return _with_channels(np.asarray(X), "X", 3)


def rows_as_pictures(X: np.ndarray, image_shape: Sequence[int]) -> np.ndarray:
    """Rows of numbers as images: each is an image line by line, as `reshape` has it.

    Raises:
        DataError: rows are of another length.
    """
    if X.shape[1] != int(np.prod(image_shape)):
        raise DataError(
            f"X has {X.shape[1]} features, but image_shape is {tuple(image_shape)}, which takes "
            f"{int(np.prod(image_shape))}."
        )
    pictures: np.ndarray = _with_channels(X.reshape(len(X), *image_shape), "X", 3)
    return pictures


def _dimensions(X: Any) -> int:
    try:
        return int(np.asarray(X).ndim)
    except (ValueError, TypeError):  # rows of unequal length, or what is no array at all
        return 2


def _with_channels(array: np.ndarray, what: str, without: int) -> np.ndarray:
    """An array with channels last, from one with `without` dimensions and no channels, or with one more."""
    if array.ndim not in (without, without + 1) or 0 in array.shape:
        allowed = ("(N, H, W)", "(N, H, W, channels)") if without == 3 else ("(H, W)", "(H, W, channels)")
        raise DataError(f"{what} has the shape {array.shape}; images are {' or '.join(allowed)}.")
    if array.dtype.kind not in "biuf":
        raise DataError(f"{what} holds {array.dtype}; images are uint8 or other real numbers.")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise DataError(f"{what} contains NaN or infinity; images are finite numbers.")
    array = array[..., None] if array.ndim == without else array
    before = array.shape[-3]
    if array.shape[-1] > _FEW_CHANNELS and before in (1, 3):
        raise DataError(
            f"{what} has the shape {array.shape}, which looks like channels first; they come last: "
            f"numpy.moveaxis(X, {array.ndim - 3}, -1)."
        )
    return array
