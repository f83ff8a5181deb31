"""What a terminal shows of a run: bars with rates and time left while it works, tables when it is done."""

from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text


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
        )
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
        self._progress.reset(self._piece, description=escape(title), total=total, completed=done, visible=True, note="")

    def task_advanced(self, done: int, note: str = "") -> None:
        """Move the bar."""
        self._progress.update(self._piece, completed=done, note=note)

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
    """Supervised, each round, and the final network, on the test part."""
    table = Table(
        title=f"{result['dataset']}: {result['method']}, {result['num_labeled']} labels", title_justify="left"
    )
    table.add_column("stage")
    for heading in ("top fraction", "pseudo labels", "of them right", "validation", "test accuracy"):
        table.add_column(heading, justify="right")
    for row in result["rounds"]:
        name = (
            "supervised" if row["round"] == 0 and row["network"] == "a" else f"round {row['round']}, {row['network']}"
        )
        fraction = "" if row["top_fraction"] is None else f"{row['top_fraction']:.0%}"
        validation = _percent(row.get("validation", {}).get("accuracy"))
        counts = (f"{row['num_pseudo_labels']:,}", _percent(row.get("pseudo_label_accuracy")))
        table.add_row(
            name,
            fraction,
            *(counts if row["num_pseudo_labels"] else ("", "")),
            validation,
            _percent(row.get("accuracy")),
        )
    table.add_section()
    if "ensemble" in result:
        table.add_row("ensemble of the last round", "", "", "", "", _percent(result["ensemble"]["accuracy"]))
    final = _percent(result["final"].get("accuracy"))
    table.add_row(f"final: {escape(result['picked']['what'])}", "", "", "", "", final, style="bold")
    return table


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} %"
