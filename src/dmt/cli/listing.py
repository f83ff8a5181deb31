"""`dmt list`: the names that a config may use."""

from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dmt.config_files import preset_names, preset_text


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
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, summary in _ROWS[kind]():
        table.add_row(f"[bold]{escape(name)}[/]", escape(summary))
    Console(highlight=False).print(table)


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
