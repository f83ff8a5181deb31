"""Splits as text files, a key a line: what a run folder keeps, and what a user names labeled images with."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dmt.data.images import ImageSet
from dmt.data.splits import Split
from dmt.errors import DataError
from dmt.files import write_text
from dmt.types import UNLABELED

_PARTS = ("labeled", "unlabeled", "validation")


def write_split(split: Split, folder: Path, *, train: ImageSet, test: ImageSet) -> None:
    """Write `labeled.txt`, `unlabeled.txt`, `validation.txt` and `test.txt` into `folder`, a key a line."""
    for part in _PARTS:
        _write_keys(folder / f"{part}.txt", [train.key(index) for index in getattr(split, part)])
    _write_keys(folder / "test.txt", [test.key(index) for index in range(len(test))])


def read_split(folder: Path, *, train: ImageSet, test: ImageSet) -> Split:
    """Read what `write_split` wrote.

    Raises:
        DataError: a file is missing, names an unknown image or an image twice, or the test part is not this one.
    """
    split = Split(**{part: read_keys(folder / f"{part}.txt", train) for part in _PARTS})
    everything = [*split.labeled, *split.unlabeled, *split.validation]
    if len(set(everything)) < len(everything):
        twice = Counter(everything).most_common(1)[0][0]
        raise DataError(f"{folder}: {train.key(twice)} is in two parts of the split. Each image belongs to one.")
    if read_keys(folder / "test.txt", test) != tuple(range(len(test))):
        raise DataError(f"{folder / 'test.txt'} is not the test part of this data set ({len(test)} images).")
    return split


def read_keys(path: Path, images: ImageSet) -> tuple[int, ...]:
    """The indices of the images that a text file names, a key a line; empty lines count nothing.

    Raises:
        DataError: the file cannot be read, or a line names no image of the set or one that an earlier line names.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as a list of image keys: {error}") from error
    index_of = {images.key(index): index for index in range(len(images))}
    first_line: dict[int, int] = {}
    for number, key in enumerate(lines, start=1):
        if not key.strip():
            continue
        index = index_of.get(key, index_of.get(key.strip()))
        if index is None:
            raise DataError(
                f"{path}, line {number}: no training or test image is named {key.strip()!r}; "
                f"names look like {images.key(0)!r}."
            )
        if index in first_line:
            raise DataError(f"{path}, line {number}: {key.strip()!r} stands already in line {first_line[index]}.")
        first_line[index] = number
    return tuple(first_line)


def read_labeled_keys(path: Path, images: ImageSet, labels: np.ndarray) -> np.ndarray:
    """The indices of the labeled images that the user names.

    Raises:
        DataError: the file is missing or empty, or holds an unknown key, a key twice, or an image without a label.
    """
    listed = read_keys(path, images)
    if not listed:
        raise DataError(f"{path} names no image; one key a line is needed, e.g. {images.key(0)}.")
    for index in listed:
        if labels[index] == UNLABELED:
            raise DataError(f"{path} names {images.key(index)}, which has no label.")
    return np.array(listed, dtype=np.int64)


def _write_keys(path: Path, keys: Sequence[str]) -> None:
    for key in keys:
        if not key.strip() or key.splitlines() != [key]:
            raise DataError(
                f"The image key {key!r} cannot stand on a line of {path}; it is empty or holds a line break."
            )
    write_text(path, "".join(f"{key}\n" for key in keys))
