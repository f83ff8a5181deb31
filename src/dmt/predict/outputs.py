"""What is written of answers: a table a line an image, or a mask for each image; as they come, none of them held."""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from torch import Tensor

from dmt.files import sync_all, write_atomic, write_text
from dmt.predict.answers import Answer
from dmt.predict.files import FileAnswer
from dmt.predict.places import (
    COLUMNS,
    MASKS,
    OVERLAYS,
    PROBABILITY,
    check_table,
    mark,
    unreadable_list,
)
from dmt.types import IGNORE_INDEX

_ROWS_TOGETHER = 4096
"""Of a Parquet file: what it compresses as a piece, and all that stands in memory."""
_COMPRESS_LEVEL = 1
_OPACITY = 0.5

Row = Sequence[Any]
AddRow = Callable[[Row], object]


class _NothingAnsweredError(Exception):
    """There is no row to write."""


@dataclass
class Outcome:
    """What became of all files.

    Attributes:
        num_written: of how many there is an answer.
        problems: the files without one, with the reason.
    """

    num_written: int = 0
    problems: dict[str, str] = field(default_factory=dict)


def write_table(
    path: Path, answers: Iterable[FileAnswer], *, class_names: Sequence[str], all_probabilities: bool
) -> Outcome:
    """Write path, class and confidence of each image, and every class's probability where wanted.

    Where no image has an answer, an earlier table stays.

    Args:
        path: ends with .csv or .parquet; it appears when it is whole.
        answers: of a classifier.
        class_names: what its labels are called.
        all_probabilities: a column `p_<class>` for each class.

    Raises:
        ConfigError: the path ends otherwise, or a file is there that is no table of answers.
    """
    check_table(path)
    columns = list(zip(COLUMNS, (pa.string(), pa.string(), pa.float32()), strict=True))
    columns += [(f"{PROBABILITY}{name}", pa.float32()) for name in class_names if all_probabilities]
    outcome, opened = Outcome(), _TABLES[path.suffix.lower()]

    def write(temporary: Path) -> None:
        with opened(temporary, columns) as add:
            for one in _answered(answers, outcome):
                assert one.answer is not None
                probabilities = one.answer.probabilities if all_probabilities else ()
                assert probabilities is not None
                label, confidence = int(one.answer.label), float(one.answer.confidence)
                add([one.file.shown, class_names[label], confidence, *map(float, probabilities)])
        if not outcome.num_written:
            raise _NothingAnsweredError

    with suppress(_NothingAnsweredError):
        write_atomic(path, write)
    write_unreadable(unreadable_list(path), outcome)
    return outcome


def write_masks(
    folder: Path,
    answers: Iterable[FileAnswer],
    *,
    targets: dict[Path, dict[str, Path]],
    palette: Sequence[tuple[int, int, int]],
) -> Outcome:
    """Write each image's classes as a palette PNG of its own size, and over the image itself where wanted.

    Args:
        folder: for the list of what could not be read.
        answers: of a segmenter.
        targets: as `check_masks` gives them.
        palette: a color for each class.
    """
    outcome = Outcome()
    mark(folder, sorted({kind for named in targets.values() for kind in named}))
    colors = np.zeros((IGNORE_INDEX + 1, 3), dtype=np.uint8)
    colors[: len(palette)] = palette
    for one in _answered(answers, outcome):
        assert one.answer is not None
        assert one.image is not None
        mask = Image.fromarray(one.answer.label.astype(np.uint8))
        mask.putpalette(colors.tobytes())
        named = targets[one.file.path]
        _write_png(named[MASKS], mask)
        if OVERLAYS in named:
            _write_png(named[OVERLAYS], overlay(one.image, one.answer, colors))
    sync_all()
    write_unreadable(unreadable_list(folder), outcome)
    return outcome


def overlay(image: Tensor, answer: Answer, colors: np.ndarray) -> Image.Image:
    """The classes' colors over the image, half and half; of bands that are no colors, over the first one.

    Args:
        image: `(channels, H, W)` uint8.
        answer: for the same height and width.
        colors: `(classes, 3)` uint8.
    """
    shown = image if len(image) == 3 else image[:1].expand(3, -1, -1)
    pixels = shown.permute(1, 2, 0).numpy().astype(np.float32)
    mixed = (1 - _OPACITY) * pixels + _OPACITY * colors[answer.label]
    return Image.fromarray(np.rint(mixed).astype(np.uint8))


def write_unreadable(path: Path, outcome: Outcome) -> None:
    """List the files that have no answer, with the reasons; where there are none, an earlier list goes.

    What was there before is a prediction's own: `check_table` and `check_masks` have seen to it.
    """
    if outcome.problems:
        write_text(path, "".join(f"{name}\t{problem}\n" for name, problem in outcome.problems.items()))
    else:
        path.unlink(missing_ok=True)


def _answered(answers: Iterable[FileAnswer], outcome: Outcome) -> Iterator[FileAnswer]:
    """Those with an answer; what becomes of each is noted."""
    for one in answers:
        if one.answer is None:
            outcome.problems[one.file.shown] = " ".join(_plain(one.problem).split())
        else:
            outcome.num_written += 1
            yield one


def _plain(text: str) -> str:
    """Text that UTF-8 can say: a message may hold a file's name, and a name may be any bytes."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


@contextmanager
def _csv(path: Path, columns: Sequence[tuple[str, pa.DataType]]) -> Iterator[AddRow]:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([name for name, _ in columns])
        # Nine digits: what reads them back as 32 bits has the same number.
        yield lambda row: writer.writerow([f"{cell:.9g}" if isinstance(cell, float) else cell for cell in row])


@contextmanager
def _parquet(path: Path, columns: Sequence[tuple[str, pa.DataType]]) -> Iterator[AddRow]:
    schema, rows = pa.schema(list(columns)), list[Row]()

    def flush(writer: pq.ParquetWriter) -> None:
        arrays = [pa.array([row[place] for row in rows], kind) for place, (_, kind) in enumerate(columns)]
        writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
        rows.clear()

    def add(row: Row, writer: pq.ParquetWriter) -> None:
        rows.append(row)
        if len(rows) == _ROWS_TOGETHER:
            flush(writer)

    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        yield partial(add, writer=writer)
        flush(writer)


_OpenTable = Callable[[Path, Sequence[tuple[str, pa.DataType]]], AbstractContextManager[AddRow]]
_TABLES: dict[str, _OpenTable] = {".csv": _csv, ".parquet": _parquet}


def _write_png(path: Path, image: Image.Image) -> None:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=_COMPRESS_LEVEL)
    write_atomic(path, lambda temporary: temporary.write_bytes(buffer.getvalue()), durable=False)
