"""`dmt evaluate`: figures of a trained model on a labeled set, with their intervals."""

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dmt.cli.examples import add_examples
from dmt.cli.live import LiveView
from dmt.cli.models import BatchSize, Ensemble, ModelPath, Overlap, WindowSize, Workers, window_of
from dmt.errors import ConfigError

if TYPE_CHECKING:
    from dmt.evaluation import Evaluation, Figure

EXAMPLES = """Examples:

  dmt evaluate runs/mine

  dmt evaluate bundle --data digits -o figures.json

  dmt evaluate runs/streets --data other_streets --part validation --ensemble

  dmt evaluate bundle --data voc data.root=FOLDER
"""
_WIDEST = 12
"""Classes whose confusion matrix fits a terminal; of more, the commonest mistakes are shown."""
_MISTAKES = 10


class DataPart(StrEnum):
    """Which images of a data set."""

    test = "test"
    validation = "validation"
    train = "train"


def evaluate(
    model: ModelPath,
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[data.KEY=VALUE]...", help="Further keys of the data section.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="NAME|FOLDER|TABLE",
            help="From `dmt list datasets`, or a folder or table of your own; default: what the run was trained on.",
        ),
    ] = None,
    part: Annotated[
        DataPart | None,
        typer.Option(
            "--part", help="Default: test; of --data without such a part, all training images that have a label."
        ),
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write everything to this JSON file.")] = None,
    ensemble: Ensemble = False,
    window: WindowSize = None,
    overlap: Overlap = None,
    batch_size: BatchSize = None,
    workers: Workers = 0,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the resampling.")] = 0,
) -> None:
    """Say how good a model is on labeled images: figures with 95 % intervals, classes, confusions, calibration.

    The classes must be the model's, in any order; images get the size that it was trained on.
    """
    # Imported here: torch takes seconds to load, and `--help` should answer at once.
    from dmt.evaluation import evaluate_on, labeled_set
    from dmt.files import check_output, write_json
    from dmt.models.bundle import is_bundle
    from dmt.predict import load

    if output is not None:
        check_output(output)
        _check_is_ours(output)
    predictor = load(model, ensemble=ensemble, window=window_of(window, overlap))
    labeled = labeled_set(
        predictor.description,
        run=None if is_bundle(model) else model,
        data=data,
        overrides=overrides or [],
        part=None if part is None else part.value,
    )
    console = Console(highlight=False)
    with LiveView(console) as view:
        found = evaluate_on(predictor, labeled, batch_size=batch_size, workers=workers, seed=seed, observer=view)
    _show(console, found)
    if output is not None:
        write_json(output, found.as_json())
        console.print(f"Everything is in [bold]{escape(str(output))}[/].", soft_wrap=True)


def _check_is_ours(output: Path) -> None:
    """Refuse to write over a file that no evaluation has written.

    Raises:
        ConfigError: it is one.
    """
    if not output.exists() or output.stat().st_size == 0:
        return
    try:
        found = json.loads(output.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    if not (isinstance(found, dict) and {"format", "figures", "bootstrap"} <= found.keys()):
        raise ConfigError(f"{output} is there already, and no evaluation has written it. Name another file with -o.")


add_examples(evaluate, EXAMPLES)

_TITLES = {
    "accuracy": "accuracy",
    "fine_grained_accuracy": "fine-grained accuracy (a right answer counts as its probability)",
    "mean_iou": "mean IoU",
    "pixel_accuracy": "pixel accuracy",
    "ece": "calibration error (ECE, 15 bins)",
}


def _show(console: Console, found: "Evaluation") -> None:
    console.print(
        f"{found.num_images:,} images of {escape(found.title)}, {escape(found.what)}; in brackets, the middle 95 % of "
        "1,000 draws of as many images",
        soft_wrap=True,
    )
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, figure in found.figures.items():
        table.add_row(_TITLES[name], *_cells(figure))
    console.print(table)
    console.print(_per_class(found))
    console.print(_matrix(found) if len(found.class_names) <= _WIDEST else _mistakes(found))


def _cells(figure: "Figure") -> tuple[str, str]:
    if figure.value is None:
        return "", ""
    if figure.low is None or figure.high is None:
        return f"{figure.value:.1f} %", ""
    return f"{figure.value:.1f} %", f"[dim]\\[{figure.low:.1f}, {figure.high:.1f}][/]"


def _per_class(found: "Evaluation") -> Table:
    is_dense = found.task == "segmentation"
    table = Table(box=None, pad_edge=False)
    for heading, justify in (("class", "left"), ("IoU" if is_dense else "accuracy", "right"), ("95 %", "left")):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    table.add_column("pixels" if is_dense else "images", justify="right")
    for (name, figure), count in zip(found.per_class.items(), found.confusion.sum(axis=1).tolist(), strict=True):
        table.add_row(escape(name), *_cells(figure), f"{count:,}")
    return table


def _matrix(found: "Evaluation") -> Table:
    """Percent of each true class."""
    table = Table(box=None, pad_edge=False, title="true class (rows) as predicted class, %", title_justify="left")
    for heading in ("", *found.class_names):
        table.add_column(escape(heading), justify="right", no_wrap=True)
    for name, row in zip(found.class_names, found.confusion.tolist(), strict=True):
        total = sum(row)
        cells = [f"{100 * count / total:.0f}" if count else "[dim].[/]" for count in row]
        table.add_row(escape(name), *cells)
    return table


def _mistakes(found: "Evaluation") -> Table:
    """Where most sites go wrong."""
    names, confusion = found.class_names, found.confusion
    pairs = [(int(confusion[i, j]), i, j) for i in range(len(names)) for j in range(len(names)) if i != j]
    table = Table(box=None, pad_edge=False, title="commonest mistakes", title_justify="left")
    for heading in ("true", "predicted", "of the true class"):
        table.add_column(heading)
    for count, i, j in sorted(pairs, key=lambda one: -one[0])[:_MISTAKES]:
        if count:
            table.add_row(escape(names[i]), escape(names[j]), f"{100 * count / confusion[i].sum():.1f} %, {count:,}")
    return table
