"""Unlabeled images that cannot be read: left out and listed, up to a number that the user allows."""

import warnings
from dataclasses import replace
from pathlib import Path

import torch

from dmt.data.images import ImageSet
from dmt.data.splits import Split
from dmt.errors import DataError
from dmt.files import write_text

LIST = "unreadable.txt"


def without_unreadable(split: Split, images: ImageSet, *, at_most: int, folder: Path) -> Split:
    """The split without the unlabeled images that cannot be read, which are listed with the reasons in `folder`.

    Every image is decoded once. Those with labels are few and dear: there a damaged one is an error.

    Raises:
        DataError: more than `at_most` cannot be read, or all, or one with a label.
    """
    for index in (*split.labeled, *split.validation):
        images.images([index])
    reasons = {index: reason for index in split.unlabeled if (reason := _why_unreadable(images, index))}
    if len(reasons) > at_most:
        raise DataError(
            f"{len(reasons)} of {len(split.unlabeled)} unlabeled images cannot be read, more than "
            f"data.max_unreadable={at_most}. The first ones: {' '.join(list(reasons.values())[:3])}"
        )
    if reasons and len(reasons) == len(split.unlabeled):
        raise DataError(f"None of the {len(reasons)} unlabeled images can be read. {next(iter(reasons.values()))}")
    if reasons:
        path = folder / LIST
        write_text(path, "".join(f"{images.key(index)}\t{reason}\n" for index, reason in reasons.items()))
        warnings.warn(f"{len(reasons)} unlabeled images cannot be read and are left out: {path}.", stacklevel=2)
    return replace(split, unlabeled=tuple(index for index in split.unlabeled if index not in reasons))


def first_readable(images: ImageSet) -> torch.Tensor:
    """The first image that can be read, `(1, channels, H, W)` uint8.

    Raises:
        DataError: none can.
    """
    for index in range(len(images)):
        if index == len(images) - 1 or not _why_unreadable(images, index):
            return images.images([index])
    raise DataError("There is no image.")


def _why_unreadable(images: ImageSet, index: int) -> str:
    """The reason on one line; empty where the image can be read."""
    try:
        images.images([index])
    except DataError as error:
        return " ".join(str(error).split())
    return ""
