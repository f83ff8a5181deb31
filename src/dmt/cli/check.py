"""`dmt check`: everything that can be known of a run before it."""

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dmt.cli.examples import add_examples

if TYPE_CHECKING:
    from dmt.check import Report
    from dmt.check.findings import Finding
    from dmt.types import Observer

EXAMPLES = """Examples:

  dmt check dmt.yaml

  dmt check dmt.yaml data.num_labeled=100 batch.size=32

  dmt check dmt.yaml --sample 2000 --no-timing

  dmt check dmt.yaml --json > check.json
"""

_SHOWN, _CLASSES_SHOWN = 10, 30
_STYLES = {"error": "red", "warning": "yellow", "note": "cyan"}


def check_config(
    source: Annotated[
        str, typer.Argument(metavar="PRESET|FILE", help="A name from `dmt list presets`, or a YAML file.")
    ],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY.PATH=VALUE]...", help="Changes to it.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead, for programs.")] = False,
    timing: Annotated[bool, typer.Option(help="Measure some steps for the estimate of time and memory.")] = True,
    sample: Annotated[
        int | None, typer.Option("--sample", min=1, metavar="N", help="Look at N images of each part instead of all.")
    ] = None,
    run_dir: Annotated[Path, typer.Option("--run-dir", help="Where the run folder would be, for its disk.")] = Path(
        "runs"
    ),
) -> None:
    """Look at every image, label and mask of a run, and try some steps, before any training.

    Tells the labels of each class and part, sizes and modes, files that cannot be read, masks with unknown values,
    images that are there twice or in two parts, rare classes, and the time, memory and disk that the run takes.
    Exit status: 0, or 2 where there are errors.
    """
    from dmt.check import check  # with torch, which takes seconds to load

    report = check(
        source, overrides or [], sample=sample, timing=timing, run_dir=run_dir, observer=progress_on_terminal()
    )
    if as_json:
        typer.echo(json.dumps(report.as_json(), indent=2, ensure_ascii=False, allow_nan=False))
    else:
        show(report, Console(highlight=False), changes=overrides or [])
    if not report.is_fit:
        raise typer.Exit(2)


add_examples(check_config, EXAMPLES)


def progress_on_terminal() -> "Observer":
    """Bars on the error stream where that is a terminal; nothing elsewhere."""
    from dmt.cli.live import LiveView
    from dmt.progress import Silent

    console = Console(stderr=True, highlight=False)
    return LiveView(console) if console.is_terminal else Silent()


def show(report: "Report", console: Console, *, changes: Sequence[str] = ()) -> None:
    """Print a report for people; `changes` go into the command that is next."""
    if report.places:
        console.print(_parts_table(report))
    if 0 < len(report.as_json()["class_names"]) <= _CLASSES_SHOWN:
        console.print(_classes_table(report))
    for finding in report.findings.all():
        for line in _finding_lines(finding):
            console.print(line, soft_wrap=True)
    for line in _estimate_lines(report):
        console.print(line, soft_wrap=True)
    counts = {level: report.findings.number(level) for level in ("error", "warning", "note")}
    told = ", ".join(f"{count:,} {name}{'s' * (count != 1)}" for name, count in counts.items())
    after = shlex.join(["dmt", "train", report.config, *changes]) if report.is_fit else "mend the errors first"
    console.print(f"{told}. Next: {escape(after)}", soft_wrap=True)


def _parts_table(report: "Report") -> Table:
    table = Table(title=escape(f"{report.config}: {report.dataset}, {report.method}"), title_justify="left")
    for heading in ("part", "images", "unreadable", "sizes in files", "stored as"):
        table.add_column(heading, justify="right" if heading in ("images", "unreadable") else "left")
    for part, place in report.places.items():
        values = place.as_json()
        looked = f" ({values['looked_at']:,} looked at)" if values["looked_at"] < values["images"] else ""
        sizes = [f"{size} ({count:,})" for size, count in list(values["sizes"].items())[:3]]
        more = [f"{values['num_sizes'] - 3} more"] if values["num_sizes"] > 3 else []
        modes = [f"{mode} ({count:,})" for mode, count in values["modes"].items()]
        unreadable = values["looked_at"] - values["readable"]
        cells = [f"{values['images']:,}{looked}", f"{unreadable:,}", ", ".join([*sizes, *more]), ", ".join(modes)]
        table.add_row(part, *(escape(cell) for cell in cells))
    return table


def _classes_table(report: "Report") -> Table:
    parts = [place for place in report.places.values() if place.has_labels]
    unit = "share of pixels" if parts and parts[0].is_dense else "images"
    table = Table(title=f"Classes: {unit}", title_justify="left")
    table.add_column("class")
    for place in parts:
        table.add_column(place.part, justify="right")
    for k, name in enumerate(parts[0].class_names if parts else ()):
        cells = [
            f"{100 * place.counts[k] / max(1, place.counts.sum()):.2f} %" if place.is_dense else f"{place.counts[k]:,}"
            for place in parts
        ]
        table.add_row(escape(name), *cells)
    return table


def _finding_lines(finding: "Finding") -> list[str]:
    style = _STYLES[finding.level]
    lines = [f"[{style}]{finding.level}[/] {finding.code}: {escape(finding.messages[0])}"]
    lines += [f"      {escape(message)}" for message in finding.messages[1:_SHOWN]]
    shown = min(len(finding.messages), _SHOWN)
    if finding.count > shown and len(finding.messages) > 1:
        lines.append(f"      and {finding.count - shown:,} more; --json has up to 1,000")
    return lines


def _estimate_lines(report: "Report") -> list[str]:
    from dmt.check.estimate import in_words

    needed = report.estimate
    if needed is None:
        return []
    steps = ", ".join(f"{1000 * value:,.0f} ms {kind}" for kind, value in needed.measured.seconds_a_step.items())
    return [
        f"Time: [bold]{in_words(needed.seconds)}[/] for {needed.steps:,} steps, with labeling and scores; from "
        f"{needed.measured.num_steps} measured steps of each kind: {escape(steps)}.",
        f"Memory: about {needed.memory_mb:,} MB. Disk: up to {needed.disk_bytes / 1e6:,.0f} MB for the run folder.",
    ]
