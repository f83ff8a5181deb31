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
from dmt.data.scenes import SceneImages
from dmt.errors import DataError
from dmt.files import write_text

# A text file, as the split's are: a network of round 0 is taken over only where all of them are the same.
_FILE = "data.txt"
_NUM_READ = 64
"""Images of a part that are read: enough to tell data apart, and nothing beside a round."""
_NUM_MASKS = 512
"""Labels of training images that are read likewise where they are masks, or a user's own."""
_NUM_TOLD = 10_000
"""Labels up to which each has a line, so that the one that differs can be named."""
_THE_SAME = (ArrayImages, SceneImages)
"""What built-in sets hold in memory is the same everywhere, but for the last bit of a resized pixel."""
_NUMBER = "number of"
_UNREADABLE = "unreadable"
"""May be left out (data.max_unreadable) or mended; else it is told where it is used."""


def write_identity(folder: Path, data: DataSet, labeled: Sequence[int]) -> None:
    """Note beside the split what the data look like, a fact a line.

    Args:
        folder: of the split.
        data: the parts that the run uses.
        labeled: indices of the labeled training images, whose labels may be looked at.
    """
    facts = {**_numbers(data), **dict(_facts(data, labeled, is_new=True))}
    write_text(folder / _FILE, "".join(f"{value} {what}\n" for what, value in facts.items()))


def check_numbers(folder: Path, data: DataSet) -> None:
    """Refuse to go on with more or fewer images than `write_identity` saw.

    Raises:
        DataError: there are.
    """
    _compare(folder, {what: value for what, value in _read(folder).items() if what.startswith(_NUMBER)}, _numbers(data))


def check_identity(folder: Path, data: DataSet, labeled: Sequence[int]) -> None:
    """Refuse to go on with other data, with the arguments of `write_identity`.

    Raises:
        DataError: they are not those that it saw.
    """
    then = {what: value for what, value in _read(folder).items() if not what.startswith(_NUMBER)}
    if then:
        _compare(folder, then, dict(_facts(data, labeled, is_new=False)))


def bytes_of(tensor: Tensor) -> bytes:
    """A tensor's values with its kind and shape, for a digest."""
    return f"{tensor.dtype} {tuple(tensor.shape)}".encode() + tensor.contiguous().numpy().tobytes()


def _read(folder: Path) -> dict[str, str]:
    """What was noted, by what it is of; nothing of a run that began before it was written."""
    path = folder / _FILE
    lines = path.read_text(encoding="utf-8").split("\n") if path.is_file() else []
    pairs = (line.split(" ", maxsplit=1) for line in lines if line)
    return {what: value for value, what in pairs}


def _compare(folder: Path, then: dict[str, str], now: dict[str, str]) -> None:
    differing = [what for what in {**then, **now} if _differ(then.get(what), now.get(what))] if then else []
    if not differing:
        return
    what, more = differing[0], len(differing) - 1
    values = f" ({then[what]} there and {now[what]} here)" if then.get(what, "").isdigit() and what in now else ""
    others = f", and {more} more" if more else ""
    raise DataError(
        f"{folder.parent} is a run on other data: the {what} differs{values}{others}. Bring the same data again, or "
        "name another folder (--run-dir, or --runs of dmt compare; run_dir in Python)."
    )


def _differ(then: str | None, now: str | None) -> bool:
    return then != now and _UNREADABLE not in (then, now)


def _parts(data: DataSet) -> dict[str, ImageSet]:
    parts = {"train": data.train, "validation": data.validation, "test": data.test}
    return {name: part for name, part in parts.items() if part is not None}


def _numbers(data: DataSet) -> dict[str, str]:
    return {f"{_NUMBER} {name} images": str(len(part)) for name, part in _parts(data).items()}


def _facts(data: DataSet, labeled: Sequence[int], *, is_new: bool) -> Iterator[tuple[str, str]]:
    for name, part in _parts(data).items():
        indices = _used(part, labeled) if name == "train" else _scored(part)
        if len(indices) > _NUM_TOLD:
            yield f"list of {name} labels", _digest(bytes_of(part.labels(indices)))
        for index in indices if len(indices) <= _NUM_TOLD else ():
            yield f"label of {name} image {part.key(index)}", _label(part, index)
        for index in _evenly(len(part)) if type(part) not in _THE_SAME else ():
            yield f"{name} image {part.key(index)}", _look(part, index, is_new=is_new)


def _scored(part: ImageSet) -> Sequence[int]:
    """All of a part where labels cost nothing, else some."""
    return range(len(part)) if isinstance(part, ArrayImages | ListedImages) else _evenly(len(part))


def _used(train: ImageSet, labeled: Sequence[int]) -> Sequence[int]:
    """All labels that are one number each, and so many masks that reading them is nothing beside a round."""
    if isinstance(train, ArrayImages | ListedImages) or len(labeled) <= _NUM_MASKS:
        return labeled
    return [labeled[place] for place in _evenly(len(labeled), _NUM_MASKS)]


def _evenly(count: int, at_most: int = _NUM_READ) -> list[int]:
    indices: list[int] = np.unique(np.linspace(0, count - 1, min(count, at_most)).round().astype(int)).tolist()
    return indices


def _label(images: ImageSet, index: int) -> str:
    """The class of an image, or a digest of its mask."""
    try:
        label = images.labels([index])
    except DataError:
        return _UNREADABLE
    return str(int(label)) if label.ndim == 1 else _digest(bytes_of(label))


def _look(images: ImageSet, index: int, *, is_new: bool) -> str:
    """A digest of an image: of its file where it has one, since decoders differ by machine.

    Of a new run a file is decoded as well: one that cannot be read may be mended until the run goes on.
    """
    try:
        if isinstance(images, ListedImages | MaskedImages):
            if is_new:
                images.images([index])
            with images.source(index).open("rb") as file:
                return _digest(file.read())
        one, again = (images.images([index]) for _ in range(2))
    except (DataError, OSError):
        return _UNREADABLE
    # Of a data set that augments by itself, no image is the same twice.
    return _digest(bytes_of(one)) if torch.equal(one, again) else "changes"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
