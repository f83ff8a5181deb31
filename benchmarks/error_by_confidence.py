"""How wrong pseudo labels are by the fraction that is kept (the paper's Fig. 1), from the stores of a finished run.

    python benchmarks/error_by_confidence.py runs/digits-20/dmt-seed0-... --output errors.png

For the teacher of each round: the error rate of all of its labels, and of the surest 20, 40, 60 and 80 %, ranked over
all classes as in the figure. The true labels of the unlabeled images come from the data set. Needs matplotlib.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from matplotlib.figure import Figure

from dmt.config_files import load_config
from dmt.loading import load_data

FRACTIONS = (0.2, 0.4, 0.6, 0.8, 1.0)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read, print a Markdown table, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args(arguments)
    stores = sorted(options.run.glob("rounds/*/*/pseudo_labels/labels.parquet"), key=place)
    if not stores:
        raise SystemExit(f"{options.run} holds no pseudo labels of images: name the run folder of a finished run.")
    truth = true_labels(options.run)
    rates = {f"round {store.parts[-4]}, for {store.parts[-3]}": error_rates(store, truth) for store in stores}
    print(f"| labels for | {' | '.join(f'surest {fraction:.0%}' for fraction in FRACTIONS)} |")
    print(f"|---|{'---|' * len(FRACTIONS)}")
    for title, row in rates.items():
        print(f"| {title} | {' | '.join(f'{rate:.1f}' for rate in row)} |")
    if options.output:
        draw(rates, options.output)


def true_labels(run: Path) -> dict[str, int]:
    """Of every training image whose label is known, by its key."""
    data = load_data(load_config(run / "config.yaml"), None)
    known = np.flatnonzero(data.train.known()).tolist()
    keys = (data.train.key(index) for index in known)
    return dict(zip(keys, data.train.labels(known).tolist(), strict=True))


def place(store: Path) -> tuple[int, str]:
    """Round and network that a store was made for."""
    return int(store.parts[-4]), store.parts[-3]


def error_rates(store: Path, truth: dict[str, int]) -> list[float]:
    """Percent of wrong labels among the surest of each fraction; equal confidences in the order of the store."""
    table = pq.read_table(store).to_pydict()
    if not set(table["image"]) <= truth.keys():
        raise SystemExit(
            "Some unlabeled images have no true label anywhere: how wrong their labels are cannot be told."
        )
    order = np.argsort(-np.asarray(table["confidence"]), kind="stable")
    is_wrong = np.asarray([truth[key] != label for key, label in zip(table["image"], table["label"], strict=True)])[
        order
    ]
    return [100.0 * float(is_wrong[: max(1, round(fraction * len(order)))].mean()) for fraction in FRACTIONS]


def draw(rates: dict[str, list[float]], path: Path) -> None:
    """Bars as in the figure, a group for each fraction."""
    figure = Figure(figsize=(7, 3.4), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(rates)
    for number, (title, row) in enumerate(rates.items()):
        places = np.arange(len(FRACTIONS)) + (number - (len(rates) - 1) / 2) * width
        axes.bar(places, row, width, label=title)
    axes.set_xticks(range(len(FRACTIONS)), [f"surest {fraction:.0%}" for fraction in FRACTIONS])
    axes.set_ylabel("wrong pseudo labels, percent")
    axes.grid(axis="y", alpha=0.3)
    axes.legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
