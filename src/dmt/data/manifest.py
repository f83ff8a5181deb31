"""One's own images as a table: `data.name=manifest`, from CSV, TSV, JSON lines or Parquet."""

import os
import posixpath
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath, PureWindowsPath

import pyarrow as pa
import pyarrow.compute
from pyarrow import csv, json, parquet

from dmt.config_sections import DataConfig
from dmt.data.image_list import FilesBelow
from dmt.data.images import DataSet
from dmt.data.listing import PARTS, Listing, classified, refuse_repeated
from dmt.data.mask_sets import root_folder
from dmt.data.problems import refuse
from dmt.errors import DataError

_NO_LABEL = frozenset({"-1", "na", "n/a", "nan", "none", "null", "?"})
_PATH, _LABEL, _SPLIT = "path", "label", "split"
_PART_OF = {"": "train", "train": "train", "val": "validation", "validation": "validation", "test": "test"}


@dataclass(frozen=True, kw_only=True)
class Table:
    """The rows of a manifest that concern us, as text.

    Attributes:
        file: the manifest.
        paths: of the images, with forward slashes, relative to the manifest's folder, or absolute where they leave it.
        labels: None where a row has none.
        parts: `train`, `validation` or `test`.
        lines_before: lines of the file before the first row.
    """

    file: Path
    paths: list[str]
    labels: list[str | None]
    parts: list[str]
    lines_before: int

    def place(self, index: int) -> str:
        """Where a row is, for messages."""
        return f"{self.file}, row {index + 1 + self.lines_before}"

    @property
    def folder(self) -> Path:
        """What paths are relative to."""
        return self.file.parent


def manifest(config: DataConfig, image_size: tuple[int, int] | None) -> DataSet:
    """Images that a table names: `data.root` is the file, its columns are `path`, `label` and `split`.

    A row without a label is unlabeled. `split` is train (also where it is empty), validation or test.

    Raises:
        ConfigError: data.root is not given.
        DataError: the table cannot be read, or a row is wrong.
    """
    table = read_manifest(root_folder(config), allow_outside=config.allow_outside)
    listing = Listing(
        keys=table.paths,
        sources=FilesBelow(table.folder, table.paths),
        labels=table.labels,
        parts=table.parts,
        origin=table.file,
        place=table.place,
        root=table.folder,
    )
    return classified(listing, config, image_size)


def read_manifest(file: Path, *, allow_outside: bool) -> Table:
    """Read a table and check every row of it: its part, that its file is there, and that no other row names it.

    Args:
        file: `.csv`, `.tsv`, `.jsonl` or `.parquet`.
        allow_outside: whether files may lie outside the table's folder.

    Raises:
        DataError: the table cannot be read, or a row is wrong.
    """
    try:
        columns = _columns(file)
    except UnicodeDecodeError as error:  # of values and names, which Arrow decodes when they are asked for
        raise DataError(f"{file} holds text that is no UTF-8 ({error}). Save the table again.") from error
    lines_before = 1 if file.suffix.lower() in (".csv", ".tsv") else 0
    paths = [posix((path or "").strip()) for path in columns[_PATH]]
    table = Table(
        file=file,
        paths=paths if allow_outside else below(paths, file.parent),
        labels=[label.strip() or None if label is not None else None for label in columns[_LABEL]],
        parts=[(part or "").strip().lower() for part in columns[_SPLIT]],
        lines_before=lines_before,
    )
    _check_parts(table)
    _warn_of_labels(table)
    check_paths(table.paths, table.folder, table.place, allow_outside=allow_outside)
    refuse_repeated(table.paths, table.place)
    return Table(**vars(table) | {"parts": [_PART_OF.get(part, "train") for part in table.parts]})


def check_paths(paths: Sequence[str], folder: Path, place: Callable[[int], str], *, allow_outside: bool) -> None:
    """Refuse an empty path, one that leaves the folder, and one where there is no file.

    Args:
        paths: with forward slashes.
        folder: what they are relative to.
        place: where one is named, for messages.
        allow_outside: whether they may leave the folder.

    Raises:
        DataError: with the first one.
    """
    files_in = cache(_files_in)  # asking for each of a million files would take minutes
    for index, path in enumerate(paths):
        if not path:
            error = DataError(f"{place(index)}: the column `{_PATH}` is empty. Each row names an image.")
            refuse(error, "empty-path", place(index))
            continue
        if not allow_outside and (path.startswith("/") or ".." in PurePosixPath(path).parts):
            refuse(
                DataError(
                    f"{place(index)}: {path!r} leads outside {folder}. Put the images there, or set "
                    "data.allow_outside=true."
                ),
                "outside",
                place(index),
            )
        head, name = os.path.split(path)
        if name not in files_in(folder / head):
            error = DataError(f"{place(index)}: there is no file {folder / path}.")
            refuse(error, "missing-file", str(folder / path))


def _files_in(folder: Path) -> frozenset[str]:
    try:
        with os.scandir(folder) as entries:
            return frozenset(entry.name for entry in entries if entry.is_file())
    except (OSError, ValueError):  # ValueError: a name that holds a zero byte
        return frozenset()


def _columns(file: Path) -> dict[str, list[str | None]]:
    table = _read(file)
    names = _names(table, file)
    absent = next((name for name in (_PATH, _LABEL) if name not in names), None)
    if absent is not None:
        raise DataError(
            f"{file} has no column `{absent}`; it has {', '.join(table.column_names) or 'none'}. The columns are "
            f"`{_PATH}`, `{_LABEL}` (may be empty) and `{_SPLIT}` (train, validation or test; may be left out)."
        )
    columns = {name: _texts(table, names.get(name), file) for name in (_PATH, _LABEL, _SPLIT)}
    # Spreadsheets end in rows of commas.
    empty = 0
    for values in reversed(list(zip(*columns.values(), strict=True))):
        if any((value or "").strip() for value in values):
            break
        empty += 1
    return {name: values[: len(values) - empty] for name, values in columns.items()}


def _names(table: pa.Table, file: Path) -> dict[str, str]:
    """The columns by their names in lower case."""
    names: dict[str, str] = {}
    for name in table.column_names:
        if names.setdefault(name.strip().lower(), name) != name or table.column_names.count(name) > 1:
            raise DataError(f"{file} has the column `{name.strip().lower()}` twice. Leave one of them.")
    return names


def _texts(table: pa.Table, name: str | None, file: Path) -> list[str | None]:
    if name is None:
        return [None] * table.num_rows
    column = table.column(name)
    try:
        if pa.types.is_floating(column.type):  # whole numbers of a column that had gaps
            column = pa.compute.if_else(pa.compute.is_nan(column), None, column).cast(pa.int64())
        return list(column.cast(pa.string()).to_pylist())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(f"{file}: the column `{name}` holds {column.type}, not text or numbers.") from error


def _read(file: Path) -> pa.Table:
    reader = _READERS.get(file.suffix.lower())
    if reader is None:
        raise DataError(f"data.root is {file}; a manifest is a file that ends in {', '.join(_READERS)}.")
    try:
        return reader(file)
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"{file} cannot be read as a table ({reason}). Mend that row, or save the table again."
        ) from error


def _read_text(file: Path, delimiter: str) -> pa.Table:
    with file.open("rb") as stream:
        header = stream.readline().decode("utf-8-sig").rstrip("\r\n").split(delimiter)
    everything_text = {name.strip('"'): pa.string() for name in header}
    return csv.read_csv(
        file,
        parse_options=csv.ParseOptions(delimiter=delimiter),
        convert_options=csv.ConvertOptions(column_types=everything_text, strings_can_be_null=False),
    )


def _read_lines(file: Path) -> pa.Table:
    table = json.read_json(file)
    # What looks like a date is a label like any other.
    dates = [field.name for field in table.schema if pa.types.is_timestamp(field.type)]
    if not dates:
        return table
    as_text = pa.schema([(name, pa.string()) for name in dates])
    return json.read_json(file, parse_options=json.ParseOptions(explicit_schema=as_text))


TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
"""What a manifest may end in."""

_READERS: Mapping[str, Callable[[Path], pa.Table]] = {
    ".csv": lambda file: _read_text(file, ","),
    ".tsv": lambda file: _read_text(file, "\t"),
    ".jsonl": _read_lines,
    ".parquet": parquet.read_table,
}


def _warn_of_labels(table: Table) -> None:
    """A word that says "none" in other tables is a class here."""
    taken = {label for label in table.labels if label is not None and label.lower() in _NO_LABEL}
    if taken and len({*table.labels} - {None}) > 2:  # -1 and 1 are two classes
        named = ", ".join(repr(label) for label in sorted(taken))
        warnings.warn(
            f"{table.file} has rows with the label {named}, which is a class like any other. Where it means that there "
            "is none, leave the cell empty.",
            UserWarning,
            stacklevel=2,
        )


def _check_parts(table: Table) -> None:
    for index, part in enumerate(table.parts):
        if part not in _PART_OF:
            refuse(
                DataError(
                    f"{table.place(index)}: `{_SPLIT}` is {part!r}; allowed are {', '.join(PARTS)}, or nothing, which "
                    "means train."
                ),
                "unknown-split",
                table.place(index),
            )


def below(paths: Sequence[str], folder: Path) -> list[str]:
    """Paths relative to a folder where they are absolute and lead into it."""
    places = [f"{place.as_posix().rstrip('/')}/" for place in (folder.absolute(), folder.resolve())]
    return [
        next((path.removeprefix(place) for place in places if path.startswith(place)), path)
        if path.startswith("/")
        else path
        for path in paths
    ]


def posix(path: str) -> str:
    """A path with forward slashes in its shortest form; one that Windows wrote has backward slashes only."""
    path = PureWindowsPath(path).as_posix() if "\\" in path and "/" not in path else path
    return posixpath.normpath(path) if path else ""
