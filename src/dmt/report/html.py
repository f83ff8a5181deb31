"""RUN/report.html: one page without scripts, fonts or images from anywhere else."""

import base64
import math
import shlex
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from dmt.errors import DMTError
from dmt.files import write_text
from dmt.report import numbers, story, tables
from dmt.report.charts import Chart, Series, curve_chart, round_chart
from dmt.report.files import RunFiles, read_run
from dmt.report.pictures import read_overview, write_pictures

MAX_LISTED_LABELS = 500
"""Longer lists of images are left to splits/."""

_CURVES = {
    "loss": "loss",
    "mean_weight": "mean weight of pseudo labels",
    "share_vetoed": "share of pseudo labels vetoed",
}


def write_report(run_folder: Path) -> Path:
    """Write report.html into a finished run's folder and return its path; pictures first, in segmentation.

    The page is a function of the folder's files: writing it again gives the same bytes. Pictures also need the data
    set; where it cannot be read, those of an earlier report are shown, or a sentence says that they are left out.

    Raises:
        RunFolderError: the folder holds no readable result.json.
    """
    run = read_run(run_folder)
    why_none = ""
    if run.terms.task.is_dense:
        try:
            write_pictures(run_folder)
        except DMTError as error:
            why_none = str(error)
    path = run_folder / "report.html"
    write_text(path, render(run, read_overview(run_folder), why_no_pictures=why_none))
    return path


def summary(run_folder: Path) -> str:
    """The report's headline: whether unlabeled images helped, in a sentence."""
    run = read_run(run_folder)
    return story.headline(run, story.compare(run)).replace(numbers.NO_BREAK, " ")


def render(run: RunFiles, overview: tuple[bytes, str] | None = None, *, why_no_pictures: str = "") -> str:
    """The page as text.

    Args:
        run: the run.
        overview: a PNG of pictures and what it shows, in words.
        why_no_pictures: said where there is no overview.
    """
    page = _page(run) | {"overview": _embedded(overview), "why_no_pictures": why_no_pictures}
    return _template().render(page=page, terms=run.terms, numbers=numbers)


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
    """Everything that the template shows of the run, by name."""
    comparison = story.compare(run)
    final, part, names = story.final_stage(run), story.reported_part(run), tables.class_names(run)
    scores = final.scores.get(part)
    if scores is not None and len(scores.confusion) != len(names):
        scores = None
    return {
        "run": run,
        "result": run.result,
        "part": part,
        "headline": story.headline(run, comparison),
        "comparison": comparison,
        "caveat": story.caveat(comparison, run.terms) if comparison else "",
        "difference": numbers.signed(comparison.difference) if comparison else "",
        "choice_labels": story.choice_labels(run),
        "warnings": run.result.get("warnings", []),
        "ensemble": run.result.get("ensemble", {}).get(run.terms.headline),
        "why": run.result.get("picked", {}).get("why", ""),
        "baseline_title": story.baseline_title(run),
        "final_title": final.title,
        "final_figure": run.figure(final, part),
        "rounds": tables.round_table(run),
        "chart": _round_chart(run, part),
        "classes": tables.class_rows(run),
        "confusion": tables.confusion_table(scores, names, run.terms) if scores else None,
        "mix_ups": tables.mix_ups(scores, names) if scores else [],
        "pseudo": tables.pseudo_table(run, names),
        "never_predicted": tables.never_predicted(run, names),
        "curves": _curve_charts(run),
        "data": _data_facts(run),
        "again": shlex.join(["dmt", "train", f"{run.folder}/config.yaml", "--run-dir", "NEW_FOLDER"]),
        "labeled": run.splits["labeled"][:MAX_LISTED_LABELS],
        "num_labeled_listed": len(run.splits["labeled"]),
        "environment": [(key.replace("_", " "), str(value)) for key, value in run.environment.items()],
        "cost": _cost(run),
    }


def _embedded(overview: tuple[bytes, str] | None) -> dict[str, str] | None:
    """A PNG as the attributes of an `img`."""
    if overview is None:
        return None
    content, description = overview
    return {"src": f"data:image/png;base64,{base64.b64encode(content).decode()}", "alt": description}


def _round_chart(run: RunFiles, part: str) -> Chart | None:
    """A line for each network; where they start from samples of the labels, the baseline is on none of them."""
    baseline = story.baseline(run)
    drawn = [stage for stage in run.stages if not (run.starts_from_samples and stage is baseline)]
    series = []
    for network in run.networks:
        own = [stage for stage in drawn if stage.row["network"] == network]
        figures = [(float(stage.row["round"]), run.figure(stage, part)) for stage in own]
        points = [(number, figure) for number, figure in figures if figure is not None]
        if len(points) > 1:
            series.append(Series(name=f"network {network}", points=points))
    if not series:
        return None
    level = run.figure(baseline, part)
    reference = None if level is None else (f"{story.baseline_title(run)} {numbers.percent(level)}", level)
    return round_chart(series, title=f"{part} {run.terms.title} by round, percent", reference=reference)


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
    words = "came with the data" if source == "given" else str(source).replace("_", "-")
    return facts + ([("validation labels", words)] if source else [])


def _cost(run: RunFiles) -> list[tuple[str, str]]:
    facts = []
    if "seconds" in run.result:
        facts.append(("time", numbers.duration(run.result["seconds"])))
    if run.result.get("peak_memory_mb"):
        facts.append(("peak memory", f"{run.result['peak_memory_mb']:,} MB"))
    return facts
