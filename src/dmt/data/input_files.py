"""Which image files a user means: files, folders and patterns, each found once, with a name for what is made of it."""

import glob
import os
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dmt.data.image_files import tell_other_images, walk_names
from dmt.errors import DataError
from dmt.files import fitting_name

_PATTERN = frozenset("*?[")


@dataclass(frozen=True)
class InputFile:
    """A file to read.

    Attributes:
        path: where it is.
        name: its path below the folder that was named, for what is written of it.
        root: the folder that is read with all below it, where that is how the file was found.
    """

    path: Path
    name: Path
    root: Path | None = None

    @property
    def shown(self) -> str:
        """The path as text that any table takes: bytes of a name that are no UTF-8 are written as escapes."""
        return str(self.path).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def find_inputs(inputs: Sequence[str | Path], suffixes: Collection[str]) -> list[InputFile]:
    """The files that are meant, in the order of the inputs, those of a folder sorted; none twice, whatever leads to it.

    A file that is named is taken whatever its suffix, also where there is none: whoever reads it will say so. Of a
    folder, and of all below it, those with one of `suffixes` count, hidden ones apart; linked folders are followed,
    each folder once, so that links in a circle do no harm. What is no file or folder and holds `*`, `?` or `[` is a
    pattern, `**` standing for any folders.

    Raises:
        DataError: nothing is meant by an input.
    """
    found: dict[str, InputFile] = {}
    for given in inputs:
        # A shell leaves a tilde in quotes as it is; that of no user stays, which Path would refuse.
        files = list(_files_of(os.path.expanduser(str(given)), suffixes))  # noqa: PTH111
        if not files:
            hint = ""
            if "[" in str(given) and not _is_folder(Path(given)):
                hint = " A bracket begins a pattern there: [[] stands for itself."
            raise DataError(f"No image file is meant by {given}; allowed are {', '.join(sorted(suffixes))}.{hint}")
        for file in files:
            found.setdefault(_real(file.path), file)
    return list(found.values())


def output_names(files: Sequence[InputFile], suffix: str) -> dict[Path, Path]:
    """Where to write what is made of each file: its name with another suffix, below the folder of all outputs.

    Files that differ in their suffix alone keep it, `x.jpg` beside `x.png` becoming `x.jpg.png` and `x.png.png`.

    Raises:
        DataError: two files would share one name.
    """
    stems = Counter(file.name.with_suffix("") for file in files)
    names: dict[Path, Path] = {}
    taken: dict[Path, InputFile] = {}
    for file in files:
        stem = file.name.with_suffix("")
        name = stem if stems[stem] == 1 else file.name
        name = name.with_name(fitting_name(name.name, suffix))
        if name in taken:
            raise DataError(
                f"{taken[name].shown} and {file.shown} would both be written to {name}. Name a folder above both, or "
                "predict them one after the other."
            )
        taken[name] = file
        names[file.path] = name
    return names


def _files_of(given: str, suffixes: Collection[str]) -> Iterator[InputFile]:
    path = Path(given)
    if _is_folder(path):
        tell_other_images(path, suffixes)
        yield from (InputFile(file, file.relative_to(path), path) for file in _walk(path, suffixes))
    elif _PATTERN.isdisjoint(given) or _exists(path):
        yield InputFile(path, Path(path.name))
    else:
        yield from _matches(given, suffixes)


def _matches(pattern: str, suffixes: Collection[str]) -> Iterator[InputFile]:
    """Files that a pattern meets, named below the part of it that is no pattern; of folders, all that is below them."""
    parts = Path(pattern).parts
    fixed = next(number for number, part in enumerate(parts) if not _PATTERN.isdisjoint(part))
    base = Path(*parts[:fixed])
    for match in sorted(glob.glob(pattern, recursive=True)):  # noqa: PTH207 - takes absolute patterns as well
        path = Path(match)
        if _is_folder(path):
            # `**` meets folders and their files alike.
            yield from (InputFile(file, file.relative_to(base), path) for file in _walk(path, suffixes))
        elif path.suffix.lower() in suffixes and not path.name.startswith("."):
            yield InputFile(path, path.relative_to(base), base if "**" in parts else None)


def _walk(folder: Path, suffixes: Collection[str]) -> Iterator[Path]:
    """Image files of a folder and of all below it, sorted, each folder entered once.

    A folder below it that cannot be listed stands among them: it is told like a file that cannot be read.
    """
    names, unlisted = walk_names(folder, suffixes)
    places = {Path(error.filename): error for error in unlisted}
    if folder in places:
        raise DataError(f"{folder} cannot be listed ({places[folder].strerror}).")
    yield from sorted([*names, *places])


def _is_folder(path: Path) -> bool:
    """Also of names that the system does not even take."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def _real(path: Path) -> str:
    """Where links lead, also those that lead nowhere."""
    try:
        return os.path.realpath(path)
    except (OSError, ValueError):
        return str(path)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False
