"""Whether a user's own data, whose images have no names, are those that a run began with."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dmt.data.images import DataSet, ImageSet
from dmt.errors import DataError
from dmt.files import write_text

# A text file, as the split's are: a network of round 0 is taken over only where all of them are the same.
_FILE = "own_data.txt"
_NUM_READ = 64
"""Images of a part that are read: enough to tell data apart, and nothing beside a round."""


def write_identity(folder: Path, data: DataSet, labeled: Sequence[int]) -> None:
    """Note beside the split what own data look like: their number, some images, the labels that are used.

    Args:
        folder: of the split.
        data: the user's own.
        labeled: indices of the labeled training images, whose labels may be looked at.
    """
    write_text(folder / _FILE, _identity(data, labeled))


def check_identity(folder: Path, data: DataSet, labeled: Sequence[int]) -> None:
    """Refuse to go on with other data: `train/00042` would be another image.

    Raises:
        DataError: they are not those that `write_identity` saw.
    """
    path = folder / _FILE
    # A run that began before it was written has none.
    if path.is_file() and path.read_text(encoding="utf-8") != _identity(data, labeled):
        raise DataError(
            f"{folder.parent} is a run on other data: their number, an image or a label differs. Bring the same data "
            "again, or name another folder with run_dir."
        )


def _identity(data: DataSet, labeled: Sequence[int]) -> str:
    digest = hashlib.sha256()
    for part in (data.train, data.test, data.validation):
        for piece in () if part is None else _sampled(part):
            digest.update(piece)
    for index in labeled:
        digest.update(bytes_of(data.train.labels([index])))
    return f"sha256 {digest.hexdigest()}\n"


def _sampled(images: ImageSet) -> Iterator[bytes]:
    yield str(len(images)).encode()
    for index in np.unique(np.linspace(0, len(images) - 1, min(len(images), _NUM_READ)).round().astype(int)).tolist():
        try:
            one, again = (images.images([index]) for _ in range(2))
        except DataError:
            yield b"unreadable"  # may be left out (data.max_unreadable), or else is told where it is used
            continue
        # Of a data set that augments by itself, no image is the same twice.
        yield bytes_of(one) if torch.equal(one, again) else b"changes"


def bytes_of(tensor: Tensor) -> bytes:
    """A tensor's values with its kind and shape, for a digest."""
    return f"{tensor.dtype} {tuple(tensor.shape)}".encode() + tensor.contiguous().numpy().tobytes()
