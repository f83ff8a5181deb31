"""Splits as text files, a key a line: what a run folder keeps, and what a user names labeled images with."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations, zip_longest
from pathlib import Path, PurePosixPath

import numpy as np

from dmt.config_files import did_you_mean
from dmt.data.image_files import IMAGE_SUFFIXES
from dmt.data.images import ImageSet
from dmt.data.splits import Split
from dmt.errors import DataError
from dmt.files import write_text
from dmt.types import UNLABELED

_CLASSES = "classes.jsonl"
_PARTS = ("labeled", "unlabeled", "validation")


def write_split(
    split: Split, folder: Path, *, train: ImageSet, test: ImageSet | None, validation: ImageSet | None = None
) -> None:
    """Write `labeled.txt`, `unlabeled.txt`, `validation.txt` and `test.txt` into `folder`, a key a line.

    Without a test part `test.txt` is empty.

    Args:
        split: what was drawn from `train`.
        folder: where the files go.
        train: the training images.
        test: the test part, where there is one.
        validation: the validation part that the data bring, where choices are made by it; the split has none then.
    """
    assert validation is None or not split.validation
    for part in _PARTS:
        _write_keys(folder / f"{part}.txt", [train.key(index) for index in getattr(split, part)])
    if validation is not None:
        _write_keys(folder / "validation.txt", _all_keys(validation))
    _write_keys(folder / "test.txt", _all_keys(test))


def read_split(folder: Path, *, train: ImageSet, test: ImageSet | None, validation: ImageSet | None = None) -> Split:
    """Read what `write_split` wrote, with the same arguments.

    Raises:
        DataError: a file is missing, names an unknown image or an image twice, or the test part or the validation part
            that the data bring is not this one.
    """
    drawn = _PARTS if validation is None else _PARTS[:-1]
    try:
        split = Split(**{part: read_keys(folder / f"{part}.txt", train) for part in drawn})
    except DataError as error:
        raise DataError(
            f"{error} {folder.parent} was begun with this list: bring the images back that it names, or name another "
            "folder with --run-dir."
        ) from error
    everything = [*split.labeled, *split.unlabeled, *split.validation]
    if len(set(everything)) < len(everything):
        twice = Counter(everything).most_common(1)[0][0]
        raise DataError(f"{folder}: {train.key(twice)} is in two parts of the split. Each image belongs to one.")
    if validation is not None:
        _check_same(folder / "validation.txt", validation, part="validation")
    _check_same(folder / "test.txt", test, part="test")
    return split


def write_classes(folder: Path, names: Sequence[str]) -> None:
    """Write the classes in their order, a JSON string a line, beside the split."""
    write_text(folder / _CLASSES, "".join(f"{json.dumps(name, ensure_ascii=False)}\n" for name in names))


def check_classes(folder: Path, names: Sequence[str]) -> None:
    """Refuse to go on with other classes, or another order: weights and stored labels know them by number alone.

    Raises:
        DataError: they are not those that `write_classes` wrote.
    """
    if not (folder / _CLASSES).is_file():
        return  # a run that began before they were written
    stored = [json.loads(line) for _, line in read_lines(folder / _CLASSES)]
    for number, (old, new) in enumerate(zip_longest(stored, names)):
        if old != new:
            raise DataError(
                f"{folder.parent} was begun with other classes: class {number} is {old!r} there and {new!r} here. "
                "Bring the classes back in their order, or name another folder with --run-dir."
            )


def find_list(name: str, *, root: Path | None, key: str) -> Path:
    """The text file that a config names: relative to the working folder, or else to the data's own.

    Args:
        name: as in the config.
        root: the folder of the data, where they have one.
        key: the config's key, for messages.

    Raises:
        DataError: it is in neither place.
    """
    path = Path(name).expanduser()
    places = [path] if root is None or path.is_absolute() else [path, root / path]
    for place in places:
        if place.is_file():
            return place
    raise DataError(f"{key} is {name}, but there is no file {' or '.join(map(str, places))}.")


def read_keys(path: Path, images: ImageSet) -> tuple[int, ...]:
    """The indices of the images that a text file names, a key a line; empty lines count nothing.

    A key may end in the suffix of an image file.

    Raises:
        DataError: the file cannot be read, or a line names no image of the set or one that an earlier line names.
    """
    index_of = {images.key(index): index for index in range(len(images))}
    first_line: dict[int, int] = {}
    for number, line in read_lines(path):
        index = _look_up(line, index_of)
        if index is None:
            raise DataError(
                f"{path}, line {number}: no image is named {line.strip()!r}; names look like {images.key(0)!r}."
                f"{did_you_mean(line.strip(), index_of)}"
            )
        if index in first_line:
            raise DataError(f"{path}, line {number}: {line.strip()!r} stands already in line {first_line[index]}.")
        first_line[index] = number
    return tuple(first_line)


def read_lines(path: Path) -> list[tuple[int, str]]:
    """Number and text of every line of a text file that is not empty.

    Raises:
        DataError: the file cannot be read, or is no UTF-8.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")  # with or without the mark that Windows' editors put first
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as a list, one name a line: {error}") from error
    # Names may hold what Unicode calls the end of a line.
    return [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]


def check_disjoint(parts: Mapping[str, Sequence[int]], images: ImageSet) -> None:
    """Refuse an image in two lists.

    Args:
        parts: indices into `images`, by the name of their list.
        images: what the indices are of.

    Raises:
        DataError: two lists share an image.
    """
    for (one, members), (other, others) in combinations(parts.items(), 2):
        shared = sorted(set(members) & set(others))
        if shared:
            more = f", and {len(shared) - 1} more are" if len(shared) > 1 else ""
            raise DataError(
                f"{images.key(shared[0])} is in {one} and in {other}{more}. Each image belongs to one of them."
            )


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


def _look_up(line: str, index_of: Mapping[str, int]) -> int | None:
    """The index of a key, written as it is, or with blanks around it, or with the suffix of its file."""
    path = PurePosixPath(line.strip())
    keys = [line, line.strip(), str(path.with_suffix("")) if path.suffix.lower() in IMAGE_SUFFIXES else line]
    return next((index_of[key] for key in keys if key in index_of), None)


def _check_same(path: Path, images: ImageSet | None, *, part: str) -> None:
    keys = _all_keys(images)
    if [line for _, line in read_lines(path)] != keys:
        raise DataError(
            f"{path} is not the {part} part of this data set ({len(keys)} images). Give the data the {part} images "
            "back that the run began with, or start a new run."
        )


def _all_keys(images: ImageSet | None) -> list[str]:
    return [] if images is None else [images.key(index) for index in range(len(images))]


def _write_keys(path: Path, keys: Sequence[str]) -> None:
    for key in keys:
        if not key.strip() or key.splitlines() != [key]:
            raise DataError(
                f"The image key {key!r} cannot stand on a line of {path}; it is empty or holds a line break."
            )
    write_text(path, "".join(f"{key}\n" for key in keys))
