"""`dmt compare` in pictures: figures by labels (the paper's Fig. 8), after each round (Fig. 11), by method (Table 9).

    python benchmarks/curves.py labels runs/compare/digits-*/compare.csv --candidates dmt --output labels.png
    python benchmarks/curves.py rounds runs/compare/digits-20/compare.csv --candidates cbst,dmt --output rounds.png
    python benchmarks/curves.py classes runs/compare/camvid-46/compare.csv --candidates dmt --output classes.png
    python benchmarks/curves.py methods runs/compare/scenes-24/compare.csv --candidates cbst,dmt --output methods.png

Points are means over the seeds, before any pick, bars one standard deviation. Over labels, the labels alone are drawn
beside the last rounds; over rounds, network a is drawn, round 0 is the labels alone, and the run folders beside the
tables are read. Over classes it is the same with a line for each class of one candidate. Over methods, the candidates'
last rounds stand side by side, after the labels alone, with a line for each seed. Needs matplotlib.
"""

import argparse
import csv
import json
from collections import defaultdict
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from statistics import mean, stdev

from matplotlib.figure import Figure

from dmt.compare.validation import by_validation
from dmt.report.files import read_run
from dmt.report.tables import class_names
from dmt.report.terms import TERMS

BY_ROUND = "round (0: the labels alone)"
AXES = {"labels": "labels", "rounds": BY_ROUND, "classes": BY_ROUND, "methods": "method"}

STYLES = [{"marker": marker, "color": f"C{number}"} for marker in "os" for number in range(10)]
"""Of lines: ten colors, then the same ones with another marker."""

TITLES = {terms.headline: terms.title for terms in TERMS.values()}
"""Of figures."""

ALL = "all seeds"
MEAN_STYLE = {"color": "black", "linewidth": 2.5, "zorder": 3}

Points = dict[str, dict[int, list[float]]]
"""Figures of all seeds, by line and place on the axis."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Read, draw, print the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("over", choices=AXES)
    parser.add_argument("tables", nargs="+", type=Path, metavar="compare.csv")
    parser.add_argument("--candidates", default="dmt", help="which of the tables', by name")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args(arguments)
    records = [
        record | {"folder": str(table.parent)}
        for table in options.tables
        for record in csv.DictReader(table.open(encoding="utf-8"))
    ]
    names = options.candidates.split(",")
    if empty := set(names) - {record["candidate"] for record in records}:
        raise SystemExit(f"No table has a candidate called {', '.join(sorted(empty))}.")
    if options.over == "classes" and len(names) > 1:
        raise SystemExit(f"Found --candidates {options.candidates}; classes are drawn of one candidate.")
    readers = {"labels": over_labels, "rounds": over_rounds, "classes": over_classes, "methods": over_methods}
    points = readers[options.over](records, names)
    titles = ["labels alone", *names] if options.over == "methods" else None
    draw(points, records[0], over=options.over, path=options.output, titles=titles)
    for line, places in points.items():
        shown = ", ".join(f"{title(place, titles)}: {mean(figures):.1f}" for place, figures in sorted(places.items()))
        print(f"{line}: {shown}")


def over_labels(records: Sequence[dict[str, str]], names: Sequence[str]) -> Points:
    """The labels alone of the first candidate, then each candidate's last round."""
    points: Points = {"labels alone": defaultdict(list), **{name: defaultdict(list) for name in names}}
    for record in records:
        name, count = record["candidate"], int(record["num_labeled"]) + int(record["num_validation"])
        if name == names[0]:
            points["labels alone"][count].append(float(record["supervised"]))
        if name in names:
            points[name][count].append(float(record["last_round"]))
    return points


def over_rounds(records: Sequence[dict[str, str]], names: Sequence[str]) -> Points:
    """Network a of each candidate after each round, by the labels that judge in the table."""
    points: Points = {name: defaultdict(list) for name in names}
    for record in (record for record in records if record["candidate"] in names):
        result = json.loads((Path(record["folder"]) / record["run"] / "result.json").read_text(encoding="utf-8"))
        seen = by_validation(result) if record["judges"] == "validation" else result
        rows = [row for row in seen["rounds"] if row["network"] == "a"]
        # Backwards, so that of a baseline and a warm start, which share round 0, the former stays.
        of_round = {row["round"]: row[record["figure"]] for row in reversed(rows)}
        for number, figure in of_round.items():
            points[record["candidate"]][number].append(figure)
    return points


def over_classes(records: Sequence[dict[str, str]], names: Sequence[str]) -> Points:
    """Each class of a candidate's network a after each round, as `over_rounds`."""
    points: Points = defaultdict(lambda: defaultdict(list))
    for record in (record for record in records if record["candidate"] in names):
        run = read_run(Path(record["folder"]) / record["run"])
        of_round = {stage.row["round"]: stage for stage in reversed(run.stages) if stage.row["network"] == "a"}
        for number, stage in of_round.items():
            if record["judges"] not in stage.scores:
                raise SystemExit(f"{run.folder}/{stage.folder} holds no scores of the {record['judges']} part.")
            of_class = stage.scores[record["judges"]].per_class(class_names(run))
            for name, figure in of_class.items():
                if figure is not None:
                    points[name][number].append(figure)
    return points


def over_methods(records: Sequence[dict[str, str]], names: Sequence[str]) -> Points:
    """The labels alone of the first candidate, then each candidate's last round, of all seeds and of each."""
    points: Points = {ALL: defaultdict(list)}
    for record in (record for record in records if record["candidate"] in names):
        number = names.index(record["candidate"])
        for line in (ALL, f"seed {record['seed']}"):
            of_line = points.setdefault(line, defaultdict(list))
            of_line[1 + number].append(float(record["last_round"]))
            if number == 0:
                of_line[0].append(float(record["supervised"]))
    return points


def title(place: int, titles: Sequence[str] | None) -> str:
    """Of a place on the axis: its number, or its name where places have some."""
    return f"{place:,}" if titles is None else titles[place]


def draw(points: Points, about: dict[str, str], *, over: str, path: Path, titles: Sequence[str] | None = None) -> None:
    """A line for each candidate, or seed, or class without bars; the axis of labels is logarithmic."""
    many = over == "classes"
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    for (line, places), style in zip(points.items(), cycle(STYLES), strict=False):
        ordered = [figures for _, figures in sorted(places.items())]
        bars = None if many else [stdev(figures) if len(figures) > 1 else 0.0 for figures in ordered]
        look = style | (MEAN_STYLE if line == ALL else {})
        axes.errorbar(sorted(places), list(map(mean, ordered)), yerr=bars, capsize=3, label=line, **look)
    axes.set_xscale("log" if over == "labels" else "linear")
    ticks = sorted({place for places in points.values() for place in places})
    shown = [title(tick, titles).replace("_", "\n") for tick in ticks]
    axes.set_xticks(ticks, shown, minor=False, fontsize="small" if titles else None)
    axes.minorticks_off()
    figure_name = TITLES[about["figure"]]
    axes.set(title=about["dataset"], xlabel=AXES[over], ylabel=f"{figure_name} ({about['judges']}), percent")
    axes.grid(alpha=0.3)
    beside = {"loc": "center left", "bbox_to_anchor": (1, 0.5), "fontsize": "small"}
    axes.legend(**(beside if many or titles else {}))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
