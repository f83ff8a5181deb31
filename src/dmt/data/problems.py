"""Problems of single files and rows: raised at the first one, or gathered by whoever wants to know all of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from dmt.errors import DataError


@dataclass(frozen=True)
class Problem:
    """What is wrong with one file or row.

    Attributes:
        code: names its kind, for programs.
        where: the file or row.
        message: a sentence that names it.
    """

    code: str
    where: str
    message: str


_GATHERED: ContextVar[list[Problem] | None] = ContextVar("gathered", default=None)


def refuse(error: DataError, code: str, where: str) -> None:
    """Raise an error, or note it where problems are gathered: the caller then goes on as if the image were not there.

    Args:
        error: names the file or row.
        code: of its kind: a word or two joined by hyphens.
        where: the file or row.

    Raises:
        DataError: this one, unless problems are gathered.
    """
    problems = _GATHERED.get()
    if problems is None:
        raise error
    problems.append(Problem(code, where, str(error)))


@contextmanager
def gathered() -> Iterator[list[Problem]]:
    """Within, what `refuse` gets is put into the list, and does not end anything."""
    problems: list[Problem] = []
    token = _GATHERED.set(problems)
    try:
        yield problems
    finally:
        _GATHERED.reset(token)
