"""Accuracy by the number of labels (the paper's Fig. 8): a picture from the tables that `dmt compare` wrote.

    python benchmarks/by_labels.py runs/compare/digits-*/compare.csv --candidates dmt --output digits.png

Points are means over the seeds, bars one standard deviation; the labels alone are drawn beside them. Needs matplotlib.
"""

import argparse
import csv
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev

from matplotlib.figure import Figure

Points = dict[str, dict[int, list[float]]]
"""Figures of all seeds, by line and number of labels."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Read, draw, print the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="+", type=Path, metavar="compare.csv")
    parser.add_argument("--candidates", default="dmt", help="which of the table's, by name")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args(arguments)
    records = [record for table in options.tables for record in csv.DictReader(table.open(encoding="utf-8"))]
    points = collect(records, options.candidates.split(","))
    draw(points, title=records[0]["dataset"], figure_name=records[0]["figure"], path=options.output)
    for line, by_labels in points.items():
        shown = ", ".join(f"{count:,}: {mean(figures):.1f}" for count, figures in sorted(by_labels.items()))
        print(f"{line}: {shown}")


def collect(records: Sequence[dict[str, str]], candidates: Sequence[str]) -> Points:
    """The labels alone of the first candidate, then each candidate's last round."""
    points: Points = {"labels alone": defaultdict(list), **{name: defaultdict(list) for name in candidates}}
    for record in records:
        name, count = record["candidate"], int(record["num_labeled"]) + int(record["num_validation"])
        if name == candidates[0]:
            points["labels alone"][count].append(float(record["supervised"]))
        if name in candidates:
            points[name][count].append(float(record["last_round"]))
    if empty := [name for name, by_labels in points.items() if not by_labels]:
        raise SystemExit(f"No table has a candidate called {', '.join(empty)}.")
    return points


def draw(points: Points, *, title: str, figure_name: str, path: Path) -> None:
    """Lines over a logarithmic axis of labels."""
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    for line, by_labels in points.items():
        counts = sorted(by_labels)
        means = [mean(by_labels[count]) for count in counts]
        spreads = [stdev(by_labels[count]) if len(by_labels[count]) > 1 else 0.0 for count in counts]
        axes.errorbar(counts, means, yerr=spreads, marker="o", capsize=3, label=line)
    axes.set_xscale("log")
    ticks = sorted({count for by_labels in points.values() for count in by_labels})
    axes.set_xticks(ticks, [f"{count:,}" for count in ticks], minor=False)
    axes.minorticks_off()
    axes.set(title=title, xlabel="labels", ylabel=f"{figure_name.replace('_', ' ')}, percent")
    axes.grid(alpha=0.3)
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
