"""Disk and memory: asked for before they run out where that can be, and told of in the user's terms where it cannot."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from dmt.config import Config
from dmt.errors import WORKER_ENDED, ShortageError
from dmt.files import DISK_FULL


def require_space(folder: Path, num_bytes: int, *, what: str) -> None:
    """Refuse to begin what would fill the disk.

    Args:
        folder: where it goes; it need not exist.
        num_bytes: how much it takes.
        what: in words.

    Raises:
        ShortageError: there is less.
    """
    place = next(one for one in (folder, *folder.absolute().parents) if one.is_dir())
    free = shutil.disk_usage(place).free
    if num_bytes > free:
        raise ShortageError(
            f"{what} will take up to {_in_words(num_bytes)}, but the disk of {place} has {_in_words(free)} left. Make "
            "room, for instance by deleting pseudo_labels folders of rounds that are done."
        )


@contextmanager
def shortages_told(config: Config, *, image_size: tuple[int, int]) -> Iterator[None]:
    """Within, running out of disk, memory or workers is an error that says which settings to lower.

    Raises:
        ShortageError: in place of what Python or torch raise.
    """
    try:
        yield
    except OSError as error:
        if error.errno in DISK_FULL:
            raise ShortageError(f"The disk is full ({error}). Make room.") from error
        raise
    except (MemoryError, RuntimeError) as error:
        # It comes out of whatever the main thread does just then.
        if WORKER_ENDED in str(error):
            raise ShortageError(
                f"A process that loads images was ended from outside ({error}). Most often the system had no memory "
                f"left for it: lower workers, which is {config.workers} and changes no result, and go on."
            ) from error
        if not _tells_of_memory(error):
            raise
        height, width = config.crop.size or image_size if config.task == "segmentation" else image_size
        smaller = "batch.size, crop.size or data.image_size" if config.task == "segmentation" else "batch.size"
        raise ShortageError(
            f"Out of memory, with batch.size={config.batch.size}, training images of {height} x {width} and "
            f"workers={config.workers}. Free some, or lower {smaller} in a new run folder."
        ) from error


def _tells_of_memory(error: Exception) -> bool:
    # On a CPU, torch has no error of its own for it.
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in str(error)


def _in_words(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e8 else f"{num_bytes / 1e6:.1f} MB"
