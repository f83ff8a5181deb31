"""Where answers may be written: what no prediction has written is the user's own, and is never written over."""

import csv
import json
import warnings
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from dmt import __version__
from dmt.data.image_files import IMAGE_SUFFIXES
from dmt.data.input_files import InputFile, output_names
from dmt.errors import ConfigError, DataError
from dmt.files import check_output, is_leftover, write_json

MASKS, OVERLAYS = "masks", "overlays"
UNREADABLE = "unreadable.txt"
MARKER = ".dmt-prediction.json"
"""In a folder of masks: says which of its folders a prediction has written."""
TABLE_SUFFIXES = (".csv", ".parquet")
COLUMNS = ("path", "class", "confidence")
"""Of a table; then come those of the probabilities."""
PROBABILITY = "p_"


def check_table(path: Path) -> None:
    """Refuse a name that says no kind of table, and a file that is no table of answers.

    Raises:
        ConfigError: it ends neither with .csv nor with .parquet; or a file is there that no prediction has written.
    """
    if path.suffix.lower() not in TABLE_SUFFIXES or path.is_dir():
        raise ConfigError(f"The output is {path}; for classes of images it is a file {' or '.join(TABLE_SUFFIXES)}.")
    check_output(path)
    if path.is_file() and path.stat().st_size and not _is_answers(path):
        raise ConfigError(f"{path} is there already, and is no table of answers. Name another file for the output.")
    listed = unreadable_list(path)
    if listed.is_file() and not _is_list(listed):
        raise ConfigError(f"{listed} is there already, and is no list of a prediction. Name another output.")


def check_masks(folder: Path, files: Sequence[InputFile], *, overlays: bool) -> dict[Path, dict[str, Path]]:
    """Where each file's mask and overlay go.

    Returns:
        By the file's path: `masks` and, where wanted, `overlays`.

    Raises:
        DataError: two files would share one, or a file that is read would be written over.
        ConfigError: the folder is a file, or holds masks or the like that no prediction has written.
    """
    if (folder.exists() or folder.suffix.lower() in TABLE_SUFFIXES) and not folder.is_dir():
        raise ConfigError(f"The output is {folder}, a file; masks go into a folder. Name a new one.")
    check_output(folder, is_folder=True)
    _check_apart(folder, files)
    kinds = (MASKS, OVERLAYS) if overlays else (MASKS,)
    targets = {
        path: {kind: folder / kind / name for kind in kinds} for path, name in output_names(files, ".png").items()
    }
    read = {path.absolute() for path in targets} | {path.resolve() for path in targets if path.is_symlink()}
    for target in (one for named in targets.values() for one in named.values()):
        if target.absolute() in read:
            raise DataError(f"{target} is read and would be written over. Name another folder for the output.")
    for foreign in _foreign(folder, kinds):
        raise ConfigError(
            f"{foreign} is there already, and no prediction has written it. Name another folder for the output."
        )
    _warn_of_earlier(folder, kinds, {path for named in targets.values() for path in named.values()})
    return targets


def mark(folder: Path, kinds: Sequence[str]) -> None:
    """Say, before anything is written to a folder, which of its folders are a prediction's from now on."""
    write_json(folder / MARKER, {"written_by": f"dmt {__version__}", "folders": sorted({*kinds, *_marked(folder)})})


def unreadable_list(output: Path) -> Path:
    """Where the files without an answer are listed: in a folder of masks, or beside a table."""
    return output.with_name(f"{output.name}.{UNREADABLE}") if _is_table(output) else output / UNREADABLE


def _is_table(output: Path) -> bool:
    return output.suffix.lower() in TABLE_SUFFIXES and not output.is_dir()


def _check_apart(folder: Path, files: Sequence[InputFile]) -> None:
    """Refuse a folder below one that is read with all below it: the next prediction would read its masks, too."""
    within = {folder.resolve(), *folder.resolve().parents}
    for root in {file.root for file in files if file.root}:
        if root.resolve() in within:
            raise ConfigError(
                f"The output {folder} lies in {root}, all of which is read: the next prediction there would take its "
                "masks for images. Name a folder elsewhere."
            )


def _foreign(folder: Path, kinds: Sequence[str]) -> Iterator[Path]:
    """What would be written over or among, and is no earlier prediction's."""
    ours = _marked(folder)
    if not ours and (folder / UNREADABLE).exists():
        yield folder / UNREADABLE
    if not ours and folder.is_dir():
        # Whoever reads the images of this folder would read our masks, too.
        names = sorted(path.name for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
        yield from (folder / name for name in names if not name.startswith("."))
    for kind in kinds:
        if kind not in ours and _holds_files(folder / kind):
            yield folder / kind


def _warn_of_earlier(folder: Path, kinds: Sequence[str], targets: Collection[Path]) -> None:
    """Say what stays of an earlier prediction."""
    there = (path for kind in kinds for path in (folder / kind).rglob("*.png") if not is_leftover(path))
    staying = [path for path in there if path not in targets]
    if staying:
        warnings.warn(
            f"{folder} holds {len(staying)} files of an earlier prediction of other images, such as {staying[0]}; they "
            "stay.",
            UserWarning,
            stacklevel=3,
        )


def _holds_files(path: Path) -> bool:
    """Also where it is itself a file; what a killed prediction has left counts nothing."""
    if not path.is_dir():
        return path.exists()
    return any(not is_leftover(one) for one in path.rglob("*") if not one.is_dir())


def _marked(folder: Path) -> frozenset[str]:
    """The folders in it that are an earlier prediction's."""
    try:
        told = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        return frozenset(told["folders"]) & {MASKS, OVERLAYS}
    except (OSError, ValueError, LookupError, TypeError):
        return frozenset()


def _is_answers(path: Path) -> bool:
    """Whether a table has the columns that ours have."""
    try:
        names = _csv_header(path) if path.suffix.lower() == ".csv" else pq.read_schema(path).names
    except (OSError, csv.Error, pa.ArrowException):
        return False
    count = len(COLUMNS)
    return tuple(names[:count]) == COLUMNS and all(name.startswith(PROBABILITY) for name in names[count:])


def _csv_header(path: Path) -> list[str]:
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        return next(csv.reader(file), [])


def _is_list(path: Path) -> bool:
    """Whether each line names a file and a reason."""
    with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
        return all("\t" in line for line in file)
