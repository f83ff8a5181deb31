"""RUN/report.html: one page without scripts, fonts or images from anywhere else."""

import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from dmt.files import write_text
from dmt.report import story, tables
from dmt.report.charts import Chart, Series, accuracy_chart, curve_chart
from dmt.report.files import RunFiles, read_run

MAX_LISTED_LABELS = 500
"""Longer lists of images are left to splits/."""

_CURVES = {
    "loss": "loss",
    "mean_weight": "mean weight of pseudo labels",
    "share_vetoed": "share of pseudo labels vetoed",
}


def write_report(run_folder: Path) -> Path:
    """Write report.html into a finished run's folder and return its path.

    The page is a function of the folder's files: writing it again gives the same bytes.

    Raises:
        RunFolderError: the folder holds no readable result.json.
    """
    path = run_folder / "report.html"
    write_text(path, render(read_run(run_folder)))
    return path


def summary(run_folder: Path) -> str:
    """The report's headline: whether unlabeled images helped, in a sentence."""
    run = read_run(run_folder)
    return story.headline(run, story.compare(run)).replace(story.NO_BREAK, " ")


def render(run: RunFiles) -> str:
    """The page as text."""
    return _template().render(page=_page(run), percent=story.percent, change=tables.change)


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("dmt.report", package_path=""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.jinja")


def _page(run: RunFiles) -> dict[str, Any]:
    """Everything that the template shows, by name."""
    comparison = story.compare(run)
    final, part, names = story.final_stage(run), story.reported_part(run), tables.class_names(run)
    scores = final.scores.get(part)
    if scores is not None and scores.probabilities.shape[1] != len(names):
        scores = None
    rounds = tables.round_rows(run)
    return {
        "run": run,
        "result": run.result,
        "part": part,
        "headline": story.headline(run, comparison),
        "comparison": comparison,
        "caveat": story.caveat(comparison) if comparison else "",
        "difference": story.signed(comparison.difference) if comparison else "",
        "choice_labels": story.choice_labels(run),
        "ensemble": run.result.get("ensemble", {}).get("accuracy"),
        "why": run.result.get("picked", {}).get("why", ""),
        "final_title": final.title,
        "final_accuracy": story.accuracy_of(final, part),
        "rounds": rounds,
        "columns": _filled_columns(rounds),
        "chart": _accuracy_chart(run, part),
        "classes": tables.class_rows(run),
        "confusion": tables.confusion_table(scores, names) if scores else None,
        "mix_ups": tables.mix_ups(scores, names) if scores else [],
        "pseudo": tables.pseudo_table(run, names),
        "curves": _curve_charts(run),
        "data": _data_facts(run),
        "labeled": run.splits["labeled"][:MAX_LISTED_LABELS],
        "num_labeled_listed": len(run.splits["labeled"]),
        "environment": [(key.replace("_", " "), str(value)) for key, value in run.environment.items()],
        "cost": _cost(run),
    }


def _filled_columns(rounds: Sequence[tables.RoundRow]) -> set[str]:
    """Columns that say anything."""
    shown = {name for row in rounds for name, value in vars(row).items() if value}
    return shown if len({row.network for row in rounds}) > 1 else shown - {"network"}


def _accuracy_chart(run: RunFiles, part: str) -> Chart | None:
    networks = sorted({stage.row["network"] for stage in run.stages})
    series = []
    for network in networks:
        own = [stage for stage in run.stages if stage.row["network"] == network]
        figures = [(float(stage.row["round"]), story.accuracy_of(stage, part)) for stage in own]
        points = [(round_, accuracy) for round_, accuracy in figures if accuracy is not None]
        if len(points) > 1:
            series.append(Series(name=f"network {network}", points=points))
    if not series:
        return None
    baseline = story.accuracy_of(run.stages[0], part)
    reference = None if baseline is None else (f"labels alone {story.percent(baseline)}", baseline)
    return accuracy_chart(series, title=f"{part} accuracy by round, percent", reference=reference)


def _curve_charts(run: RunFiles) -> list[tuple[str, list[Chart]]]:
    """Each stage's curves; those of one name share their scale, so that stages can be compared."""
    highest: dict[str, float] = {}
    for stage in run.stages:
        for name, points in stage.curves.items():
            finite = [y for _, y in points if math.isfinite(y)]
            highest[name] = max([highest.get(name, 0.0), *finite])
    order = [*(name for name in _CURVES if name in highest), *sorted(highest.keys() - _CURVES.keys())]
    return [
        (
            stage.title,
            [
                curve_chart(_CURVES.get(name, name.replace("_", " ")), stage.curves[name], high=highest[name])
                for name in order
                if name in stage.curves
            ],
        )
        for stage in run.stages
        if stage.curves
    ]


def _data_facts(run: RunFiles) -> list[tuple[str, str]]:
    result, source = run.result, (run.config.get("validation") or {}).get("source")
    facts = [
        ("labeled images to train on", f"{result['num_labeled']:,}"),
        ("unlabeled images", f"{result['num_unlabeled']:,}"),
        ("validation images", f"{result['num_validation']:,}" if result["num_validation"] else "none set aside"),
        ("test images", f"{result['num_test']:,}" if result["num_test"] else "none"),
    ]
    return facts + ([("labels for choices", str(source).replace("_", "-"))] if source else [])


def _cost(run: RunFiles) -> list[tuple[str, str]]:
    facts = []
    if "seconds" in run.result:
        facts.append(("time", tables.duration(run.result["seconds"])))
    if run.result.get("peak_memory_mb"):
        facts.append(("peak memory", f"{run.result['peak_memory_mb']:,} MB"))
    return facts
