"""`dmt list`: the names that a config may use."""

from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dmt.config_files import is_papers, preset_names, preset_text


class Kind(StrEnum):
    """What can be listed."""

    presets = "presets"
    methods = "methods"
    models = "models"
    datasets = "datasets"


def list_names(kind: Annotated[Kind, typer.Argument(help="What to list.")]) -> None:
    """List presets, methods, models or datasets, a line each.

    Example: dmt list presets
    """
    console = Console(highlight=False)
    for title, rows in _papers_apart(_ROWS[kind]()) if kind is Kind.presets else [("", _ROWS[kind]())]:
        table = Table("", "", box=None, show_header=False, pad_edge=False)
        table.columns[0].no_wrap = True
        for name, summary in rows:
            table.add_row(f"[bold]{escape(name)}[/]", escape(summary))
        console.print(*([title] if title else []), table, sep="\n")


def _papers_apart(rows: Iterable[tuple[str, str]]) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Presets in two groups, each with a title."""
    every = list(rows)
    yield "Recommended:", [row for row in every if not is_papers(row[0])]
    yield "\nThe paper's own settings, to reproduce it:", [row for row in every if is_papers(row[0])]


def _presets() -> Iterator[tuple[str, str]]:
    for name in preset_names():
        first = preset_text(name).splitlines()[0]
        yield name, first.lstrip("# ") if first.startswith("#") else ""


# The registries are imported when they are asked for: torch takes seconds to load.
def _methods() -> Iterator[tuple[str, str]]:
    from dmt.methods import METHODS

    return ((name, method.summary) for name, method in METHODS.items())


def _models() -> Iterator[tuple[str, str]]:
    from dmt.models.registry import MODELS

    return ((name, family.summary) for name, family in MODELS.items())


def _datasets() -> Iterator[tuple[str, str]]:
    from dmt.data.catalog import DATASETS

    return ((name, entry.summary) for name, entry in DATASETS.items())


_ROWS: dict[Kind, Callable[[], Iterator[tuple[str, str]]]] = {
    Kind.presets: _presets,
    Kind.methods: _methods,
    Kind.models: _models,
    Kind.datasets: _datasets,
}
