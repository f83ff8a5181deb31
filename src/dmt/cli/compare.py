"""`dmt compare`: methods and settings side by side, over seeds."""

import shlex
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dmt.cli.examples import add_examples
from dmt.cli.live import LiveView
from dmt.errors import ConfigError, NonFiniteError, PartlyDoneError, StoppedError
from dmt.files import check_output, write_text
from dmt.signals import orderly_stop

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dmt.compare import Candidate, Comparison

EXAMPLES = """Examples:

  dmt compare digits-20 --methods curriculum_labeling,dmt --seeds 0..4

  dmt compare digits-20 --variant 'scratch: start=scratch' --variant 'gamma 1: loss.gamma_agree=1.0'

  dmt compare mine.yaml duration.steps=300 --seeds 0,1
"""


class Judged(StrEnum):
    """Whose figures are compared."""

    test = "test"
    validation = "validation"


def compare(
    source: Annotated[
        str, typer.Argument(metavar="PRESET|FILE", help="A name from `dmt list presets`, or a YAML file.")
    ],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY.PATH=VALUE]...", help="Changes to it, for all alike.")
    ] = None,
    methods: Annotated[
        str, typer.Option("--methods", metavar="A,B", help="Names from `dmt list methods`; default: the preset's own.")
    ] = "",
    variants: Annotated[
        list[str] | None,
        typer.Option("--variant", metavar="'NAME: CHANGES'", help="The preset with further changes; may be repeated."),
    ] = None,
    seeds: Annotated[str, typer.Option("--seeds", metavar="SEEDS", help="0..4, or 0,1,5.")] = "0..4",
    by: Annotated[
        Judged,
        typer.Option("--by", help="Figures of the test part, or of validation labels, to choose settings by."),
    ] = Judged.test,
    runs: Annotated[Path | None, typer.Option("--runs", help="Keeps all runs; default: runs/compare/NAME.")] = None,
) -> None:
    """Run methods and variants of a preset over seeds, on the same splits and budget, and print how they compare.

    Every run is kept in a folder of its own under --runs: the same command reads what is finished and goes on with the
    rest. The tables are written there as well: compare.md, compare-table.csv, and compare.csv with a line for each run.
    A candidate whose run diverges is left out of them; the others go on, and the exit status is 3.
    """
    # With torch, which takes seconds to load.
    from dmt.compare import as_csv, as_markdown, as_table_csv, candidates_of, parse_seeds
    from dmt.compare import compare as run_all
    from dmt.compare.tables import left_out
    from dmt.engine import is_main_process

    names = [name.strip() for name in methods.split(",") if name.strip()]
    candidates = candidates_of(source, names, variants or [], changes=overrides or [])
    folder = runs or Path("runs") / "compare" / Path(source).stem
    check_output(folder, is_folder=True)
    _check_are_ours(folder)
    _warn_without_effect(source, candidates, overrides or [])
    console = Console(highlight=False, quiet=not is_main_process())
    chosen = parse_seeds(seeds)
    watch = _Watch(console)
    try:
        with orderly_stop():
            comparison = run_all(candidates, chosen, folder=folder, judges=by.value, watch=watch)
    except StoppedError as error:
        raise StoppedError(f"{error} The same command goes on there.", exit_status=error.exit_status) from None
    if not is_main_process():
        return
    command = shlex.join(["dmt", *sys.argv[1:]])
    tables = (as_markdown(comparison, command=command), as_csv(comparison), as_table_csv(comparison))
    for name, text in zip(OURS, tables, strict=True):
        write_text(folder / name, text)
    for table in _tables(comparison, width=console.width):
        console.print(table)
    console.print(f"Written to {escape(str(folder))}: {', '.join(OURS)}.", soft_wrap=True)
    if comparison.diverged:
        raise PartlyDoneError("\n".join(left_out(comparison)).strip())


add_examples(compare, EXAMPLES)

OURS = {"compare.md": "`dmt compare", "compare.csv": "candidate,seed,", "compare-table.csv": "row,seeds,"}
"""The tables, and what each holds that was written here."""


def _check_are_ours(folder: Path) -> None:
    """Refuse to write over tables that no comparison has written.

    Raises:
        ConfigError: there is one.
    """
    for path, words in ((folder / name, words) for name, words in OURS.items()):
        if path.is_file() and path.stat().st_size and words not in path.read_text(encoding="utf-8", errors="replace"):
            raise ConfigError(f"{path} is there already, and no comparison has written it. Name another --runs folder.")


def _warn_without_effect(source: str, candidates: "Sequence[Candidate]", overrides: list[str]) -> None:
    """Tell what a candidate sets in vain, and what all share that bears on none of them."""
    from dmt.methods import settings_without_effect, told_without_effect

    shared = told_without_effect(source, overrides)
    for candidate in candidates:
        config = candidate.config(0)
        shared = {key: shared[key] for key in settings_without_effect(config, shared)}
        own = [change.partition("=")[0] for change in candidate.changes if change not in overrides]
        for sentence in settings_without_effect(config, own).values():
            warnings.warn(f"{candidate.name}: {sentence}", stacklevel=3)
    for sentence in shared.values():
        warnings.warn(sentence, stacklevel=3)


class _Watch:
    """Shows one run after another: bars while it works, a line when it is done; and has its report written."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def __call__(self, candidate: "Candidate", seed: int, path: Path) -> "Iterator[LiveView]":
        from dmt.engine import is_main_process
        from dmt.report import write_report

        began = time.monotonic()
        self._console.print(f"{escape(candidate.name)}, seed {seed}")
        try:
            with _OneRun(self._console) as view:
                yield view
        except NonFiniteError:
            self._console.print("  [yellow]diverged[/], left out from here on")
            raise
        if is_main_process():
            write_report(path)
        note = f"{time.monotonic() - began:.0f} s, {path}"
        self._console.print(f"  [green]done[/] [dim]{escape(note)}[/]", soft_wrap=True)


class _OneRun(LiveView):
    """The live view of a run among many: its bars, and none of its lines."""

    def run_started(self, folder: str, num_stages: int) -> None:
        """Show the bar of all stages."""
        self._progress.update(self._all, total=num_stages, visible=True)

    def stage_finished(self, title: str, note: str) -> None:
        """Move it."""
        self._progress.advance(self._all)

    def message(self, text: str) -> None:
        """Keep quiet: the run's report has what it has to say."""


def _tables(comparison: "Comparison", *, width: int) -> Iterator[Table]:
    from dmt.compare.tables import DIFFERENCE_HEADINGS, difference_cells, headings, lines

    yield _table(comparison.title, headings(comparison, by_seed=False), lines(comparison, by_seed=False), width=width)
    if differences := comparison.differences():
        yield _table("", DIFFERENCE_HEADINGS, [difference_cells(*one) for one in differences], width=width)


def _table(title: str, heads: list[str], rows: list[list[str]], *, width: int) -> Table:
    """Figures stay whole; names are broken where the terminal is narrow."""
    table = Table(title=escape(title) or None, title_justify="left")
    names, *figures = zip(heads, *rows, strict=True)
    widths = [max(map(len, [*head.split(), *cells])) for head, *cells in figures]
    left = width - sum(widths) - _FRAME * (len(widths) + 1) - 1
    table.add_column(escape(names[0]), width=min(max(map(len, names)), max(left, _LEAST_NAME)), overflow="fold")
    for (head, *_), its_width in zip(figures, widths, strict=True):
        table.add_column(escape(head), justify="right", width=its_width)
    for row in rows:
        table.add_row(*map(escape, row))
    return table


_FRAME = 3
"""Characters that a column has beside its text."""
_LEAST_NAME = 12
"""Characters of a line of a name, however narrow the terminal."""
