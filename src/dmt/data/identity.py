"""Whether data are those that a run began with: their number, some images, and the labels that the run looks at."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dmt.data.image_list import ListedImages
from dmt.data.images import ArrayImages, DataSet, ImageSet
from dmt.data.masked_images import MaskedImages
from dmt.errors import DataError
from dmt.files import write_text

# A text file, as the split's are: a network of round 0 is taken over only where all of them are the same.
_FILE = "data.txt"
_NUM_READ = 64
"""Images of a part that are read: enough to tell data apart, and nothing beside a round."""
_UNREADABLE = "unreadable"
"""May be left out (data.max_unreadable) or mended; else it is told where it is used."""


def write_identity(folder: Path, data: DataSet, labeled: Sequence[int], *, is_own: bool) -> None:
    """Note beside the split what the data look like, a fact a line.

    Args:
        folder: of the split.
        data: all parts.
        labeled: indices of the labeled training images, whose labels may be looked at.
        is_own: whether the images are the user's, from memory. Of files the bytes are read; what a built-in set holds
            in memory is the same everywhere but for the last bit of a resized pixel.
    """
    lines = (f"{value} {what}\n" for what, value in _facts(data, labeled, is_own=is_own))
    write_text(folder / _FILE, "".join(lines))


def check_identity(folder: Path, data: DataSet, labeled: Sequence[int], *, is_own: bool) -> None:
    """Refuse to go on with other data, with the arguments of `write_identity`.

    Raises:
        DataError: they are not those that it saw.
    """
    path = folder / _FILE
    if not path.is_file():
        return  # a run that began before it was written
    lines = (line.split(" ", maxsplit=1) for line in path.read_text(encoding="utf-8").split("\n") if line)
    then, now = {what: value for value, what in lines}, dict(_facts(data, labeled, is_own=is_own))
    differing = [what for what in {**then, **now} if _differ(then.get(what), now.get(what))]
    if differing:
        what, more = differing[0], len(differing) - 1
        values = f" ({then[what]} there and {now[what]} here)" if then.get(what, "").isdigit() and what in now else ""
        others = f", and {more} more" if more else ""
        raise DataError(
            f"{folder.parent} is a run on other data: the {what} differs{values}{others}. "
            "Bring the same data again, or name another folder (--run-dir; run_dir in Python)."
        )


def bytes_of(tensor: Tensor) -> bytes:
    """A tensor's values with its kind and shape, for a digest."""
    return f"{tensor.dtype} {tuple(tensor.shape)}".encode() + tensor.contiguous().numpy().tobytes()


def _facts(data: DataSet, labeled: Sequence[int], *, is_own: bool) -> Iterator[tuple[str, str]]:
    parts = {"train": data.train, "validation": data.validation, "test": data.test}
    given = {name: part for name, part in parts.items() if part is not None}
    for name, part in given.items():
        yield f"number of {name} images", str(len(part))
    for name, part in given.items():
        for index in labeled if name == "train" else _scored(part):
            yield f"label of {name} image {part.key(index)}", _label(part, index)
        for index in _evenly(len(part)) if is_own or isinstance(part, ListedImages | MaskedImages) else ():
            yield f"{name} image {part.key(index)}", _look(part, index)


def _differ(then: str | None, now: str | None) -> bool:
    return then != now and _UNREADABLE not in (then, now)


def _scored(part: ImageSet) -> Sequence[int]:
    """All of a part where labels cost nothing, else some."""
    return range(len(part)) if isinstance(part, ArrayImages | ListedImages) else _evenly(len(part))


def _evenly(count: int) -> list[int]:
    indices: list[int] = np.unique(np.linspace(0, count - 1, min(count, _NUM_READ)).round().astype(int)).tolist()
    return indices


def _label(images: ImageSet, index: int) -> str:
    """The class of an image, or a digest of its mask."""
    try:
        label = images.labels([index])
    except DataError:
        return _UNREADABLE
    return str(int(label)) if label.ndim == 1 else _digest(bytes_of(label))


def _look(images: ImageSet, index: int) -> str:
    """A digest of an image: of its file where it has one, since decoders differ by machine."""
    try:
        one, again = (images.images([index]) for _ in range(2))
        if isinstance(images, ListedImages | MaskedImages):
            with images.source(index).open("rb") as file:
                return _digest(file.read())
    except (DataError, OSError):
        return _UNREADABLE
    # Of a data set that augments by itself, no image is the same twice.
    return _digest(bytes_of(one)) if torch.equal(one, again) else "changes"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
