"""Where a data set's files are: below `data.root`, in the usual places, or downloaded into the cache."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from dmt.errors import DataError


def cache_folder() -> Path:
    """Where downloads are kept: $XDG_CACHE_HOME/dmt or ~/.cache/dmt."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "dmt"


def find_or_download(
    root: Path | None,
    *,
    inside: Sequence[Path],
    usual: Sequence[Path],
    complete: Callable[[Path], bool],
    download: Callable[[Path], object],
    files: str,
    other_way: str,
) -> Path:
    """The folder with the files: under `root` where it is given, else in the usual places, else downloaded.

    Args:
        root: the user's folder, or None.
        inside: where below `root` the files may be.
        usual: where they may be when there is no `root`; the last is where a download puts them.
        complete: whether a folder holds all of them.
        download: fetches them into a folder.
        files: what they are, for messages.
        other_way: a further way to get them, for messages.

    Raises:
        DataError: `root` does not hold the files, or the download failed.
    """
    candidates = usual if root is None else [root / part for part in inside]
    found = next((folder for folder in candidates if complete(folder)), None)
    if found is not None:
        return found
    if root is not None:
        raise DataError(f"data.root is {root}, which does not hold {files}. Give their folder, or leave data.root out.")
    try:
        download(cache_folder())
    except (OSError, RuntimeError, EOFError) as error:
        raise DataError(
            f"{files} were not found, and the download to {cache_folder()} failed ({error}). "
            f"Set data.root=FOLDER to where they are{other_way}, or connect to the network and start again."
        ) from error
    return usual[-1]
