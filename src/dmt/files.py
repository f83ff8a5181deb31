"""Writing so that a reader never meets half a file: temporary name, fsync, rename, fsync of the folder."""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dmt.errors import CheckpointError, ConfigError

_TEMPORARY = ".dmt-tmp"
_NAME_SHOWN = 32
"""Letters of a file's name that its temporary file begins with: all of a very long name would leave no room."""
DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_LONGEST_NAME = 255
"""Bytes, on every usual file system."""
WORLD_WRITABLE = 0o002
"""What no file of ours is, whatever the umask."""


def write_atomic(path: Path, write: Callable[[Path], object], *, durable: bool = True) -> None:
    """Let `write` fill a temporary file beside `path`, then rename it into place.

    Args:
        path: what readers open.
        write: fills the file it is given.
        durable: whether the file outlives a power cut as soon as this returns. Where it need not, being one of many,
            `sync_all` must follow before anything says that they are there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:_NAME_SHOWN]}.", suffix=_TEMPORARY)
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        _apply_umask(temporary)
        if durable:
            _sync(temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        sync_folder(path.parent)


def temporary_folder(folder: Path) -> tempfile.TemporaryDirectory[str]:
    """A folder in this one for files that are moved to their places together; it is deleted at the end of `with`."""
    return tempfile.TemporaryDirectory(dir=folder, prefix=".", suffix=_TEMPORARY)


def sync_folder(folder: Path) -> None:
    """Make what was renamed in a folder outlive a power cut, where its file system can."""
    with contextlib.suppress(OSError):
        _sync(folder)


def check_output(path: Path, *, is_folder: bool = False) -> None:
    """Refuse a path that nothing can be written to: before hours of work, not after.

    Args:
        path: of a file, or a folder, that is there already or not.
        is_folder: which of them is meant.

    Raises:
        ConfigError: it is there and something else, or no file can be made there.
    """
    try:
        with contextlib.suppress(FileNotFoundError):
            # A name that the system does not take, or one below a file, fails here.
            wanted, is_right = ("folder", stat.S_ISDIR) if is_folder else ("file", stat.S_ISREG)
            if not is_right(path.stat().st_mode):
                raise ConfigError(f"The output {path} is there already, and is no {wanted}. Name another one.")
        folder = path if is_folder else path.parent
        # Permissions do not tell: some file systems refuse even those who have them all.
        with tempfile.TemporaryFile(dir=next(one for one in (folder, *folder.absolute().parents) if one.exists())):
            pass
    except OSError as error:
        if error.errno in DISK_FULL:
            raise
        raise ConfigError(f"Nothing can be written to {path} ({error.strerror}). Name another output.") from error


def remove_leftovers(folder: Path) -> None:
    """Delete temporary files and folders that killed processes left below a folder; none that writes may work in it."""
    for path in list(filter(is_leftover, folder.rglob(f".*{_TEMPORARY}"))):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def is_leftover(path: Path) -> bool:
    """Whether a file is named as temporary files are."""
    return path.name.startswith(".") and path.suffix == _TEMPORARY


def fitting_name(stem: str, suffix: str) -> str:
    """A name that file systems allow; where it would be too long, a hash stands for what is cut off."""
    raw = os.fsencode(stem)
    if len(raw) + len(suffix) <= _LONGEST_NAME:
        return f"{stem}{suffix}"
    ending = f"-{hashlib.sha256(raw).hexdigest()[:12]}{suffix}"
    return raw[: _LONGEST_NAME - len(ending)].decode("utf-8", "ignore") + ending


def sync_all() -> None:
    """Make everything that was written outlive a power cut: once, where syncing thousands of files costs minutes."""
    os.sync()


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    write_atomic(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON atomically; NaN is refused, since JSON has none."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def sha256(path: Path) -> str:
    """The hash of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_json(path: Path) -> Any:
    """Parse a JSON file.

    Raises:
        CheckpointError: when it is not whole.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{path} is broken ({error}). Delete it to have it made again.") from error


def _apply_umask(path: Path) -> None:
    """Give a file the permissions that any other new file of this user gets; mkstemp makes it private."""
    umask = os.umask(0)
    os.umask(umask)
    path.chmod(0o666 & ~umask & ~WORLD_WRITABLE)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
