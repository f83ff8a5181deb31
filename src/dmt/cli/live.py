"""What a terminal shows of a run: bars with rates and time left while it works, tables when it is done."""

import time
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from dmt.types import stage_title

SECONDS_BETWEEN_LINES = 10.0
"""Of progress, where the output is no terminal."""


class _Rate(ProgressColumn):
    """Steps or images a second."""

    def render(self, task: Task) -> Text:
        """The recent speed, once there is one."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.1f}/s", style="cyan")


class LiveView(AbstractContextManager["LiveView"]):
    """The observer of the command line: one bar for the piece of work at hand, one for all stages."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        self._progress = Progress(
            TextColumn("{task.description}", style="bold"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            _Rate(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", style="dim"),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self._title, self._total, self._first, self._since, self._told = "", 0, 0, 0.0, time.monotonic()
        self._all = self._progress.add_task("all stages", total=None, visible=False, note="")
        self._piece = self._progress.add_task("", total=None, visible=False, note="")

    def __enter__(self) -> "LiveView":
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def run_started(self, folder: str, num_stages: int) -> None:
        """Name the folder and show the bar of all stages."""
        self.console.print(f"Run folder [bold]{escape(folder)}[/], {num_stages} stages")
        self._progress.update(self._all, total=num_stages, visible=True)

    def task_started(self, title: str, total: int, done: int = 0) -> None:
        """Show a fresh bar for a piece of work."""
        self._title, self._total, self._first, self._since = title, total, done, time.monotonic()
        self._progress.reset(self._piece, description=escape(title), total=total, completed=done, visible=True, note="")

    def task_advanced(self, done: int, note: str = "") -> None:
        """Move the bar; where there is none, as in a log file, leave a line now and then."""
        self._progress.update(self._piece, completed=done, note=note)
        now = time.monotonic()
        if not self.console.is_terminal and now - self._told >= SECONDS_BETWEEN_LINES:
            self._told = now
            rate = (done - self._first) / max(now - self._since, 1e-9)
            left = (self._total - done) / max(rate, 1e-9)
            self.console.print(
                f"  {self._title}: {done:,} of {self._total:,}, {rate:,.1f}/s, {left:,.0f} s left", markup=False
            )

    def task_finished(self) -> None:
        """Take the bar away."""
        self._progress.update(self._piece, visible=False)

    def stage_finished(self, title: str, note: str) -> None:
        """Leave a line for a stage that is done."""
        self.console.print(f"  [green]done[/] {escape(title):<32} [dim]{escape(note)}[/]")
        self._progress.advance(self._all)

    def message(self, text: str) -> None:
        """Print a sentence."""
        self.console.print(escape(text))


def result_table(result: dict[str, Any]) -> Table:
    """Supervised, each round, and the final network, on the test part; columns that would stay empty are left out."""
    from dmt.tasks import TASKS  # with torch, which whoever shows a bar has loaded by now

    title = f"{result['dataset']}: {result['method']}, {result['num_labeled']} labels"
    scores = TASKS[result["task"]].scores
    figure, words = scores.headline, scores.title
    rows = [_round_cells(row, figure) for row in result["rounds"]]
    if "ensemble" in result:
        rows.append({"stage": "ensemble of the last round", "test": _percent(result["ensemble"].get(figure))})
    final = {"stage": f"final: {result['picked']['what']}", "test": _percent(result["final"].get(figure))}
    headings = [heading for heading in _HEADINGS if any(row.get(heading) for row in [*rows, final])]
    table = Table(title=escape(title), title_justify="left")
    for heading in headings:
        is_stage = heading == "stage"
        shown = f"test {words}" if heading == "test" else heading
        table.add_column(shown, justify="left" if is_stage else "right", no_wrap=is_stage)
    for row in rows:
        table.add_row(*(escape(row.get(heading, "")) for heading in headings))
    table.add_section()
    table.add_row(*(escape(final.get(heading, "")) for heading in headings), style="bold")
    return table


_HEADINGS = ("stage", "top fraction", "pseudo labels", "of them right", "validation", "test")


def _round_cells(row: dict[str, Any], figure: str) -> dict[str, str]:
    return {
        "stage": stage_title(row),
        "top fraction": "" if row["top_fraction"] is None else f"{row['top_fraction']:.0%}",
        "pseudo labels": f"{row['num_pseudo_labels']:,}" if row["num_pseudo_labels"] else "",
        "of them right": _percent(row.get("pseudo_label_accuracy")),
        "validation": _percent(row.get("validation", {}).get(figure)),
        "test": _percent(row.get(figure)),
    }


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} %"
