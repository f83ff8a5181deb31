"""Accuracy, or mean IoU, after each round (the paper's Fig. 11): a picture from what `dmt compare` wrote.

    python benchmarks/by_round.py runs/compare/digits-20/compare.csv --candidates cbst,dmt --output x.png

Points are means over the seeds of network a, before any pick, bars one standard deviation; round 0 is the labels alone.
The run folders beside the table are read. Needs matplotlib.
"""

import argparse
import csv
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev

from matplotlib.figure import Figure

Points = dict[str, list[list[float]]]
"""By candidate and round: the figures of all seeds."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Read, draw, print the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, metavar="compare.csv")
    parser.add_argument("--candidates", default="dmt", help="which of the table's, by name")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args(arguments)
    records = list(csv.DictReader(options.table.open(encoding="utf-8")))
    figure_name = records[0]["figure"]
    points = {name: collect(options.table.parent, records, name, figure_name) for name in options.candidates.split(",")}
    draw(points, title=records[0]["dataset"], figure_name=figure_name, path=options.output)
    for name, rounds in points.items():
        print(f"{name}: " + ", ".join(f"{number}: {mean(figures):.1f}" for number, figures in enumerate(rounds)))


def collect(folder: Path, records: Sequence[dict[str, str]], name: str, figure_name: str) -> list[list[float]]:
    """Network a's figures after each round, of every seed."""
    rounds: list[list[float]] = []
    for record in (record for record in records if record["candidate"] == name):
        result = json.loads((folder / record["run"] / "result.json").read_text(encoding="utf-8"))
        of_network = {row["round"]: row[figure_name] for row in result["rounds"] if row["network"] == "a"}
        for number in sorted(of_network):
            if number == len(rounds):
                rounds.append([])
            rounds[number].append(of_network[number])
    if not rounds:
        raise SystemExit(f"The table has no candidate called {name}.")
    return rounds


def draw(points: Points, *, title: str, figure_name: str, path: Path) -> None:
    """A line for each candidate over the rounds."""
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    for name, rounds in points.items():
        spreads = [stdev(figures) if len(figures) > 1 else 0.0 for figures in rounds]
        axes.errorbar(range(len(rounds)), list(map(mean, rounds)), yerr=spreads, marker="o", capsize=3, label=name)
    axes.set_xticks(range(max(map(len, points.values()))))
    axes.set(title=title, xlabel="round (0: the labels alone)", ylabel=f"{figure_name.replace('_', ' ')}, percent")
    axes.grid(alpha=0.3)
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
