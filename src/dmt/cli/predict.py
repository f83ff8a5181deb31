"""`dmt predict`: what a trained model says of image files."""

import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from dmt.cli.examples import add_examples
from dmt.cli.live import LiveView
from dmt.cli.models import BatchSize, Ensemble, ModelPath, Overlap, WindowSize, Workers, window_of
from dmt.errors import ConfigError, PartlyDoneError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dmt.predict import Predictor
    from dmt.predict.files import FileAnswer
    from dmt.predict.outputs import Outcome

EXAMPLES = """Examples:

  dmt predict runs/mine photos -o classes.csv

  dmt predict bundle 'photos/**/*.jpg' more/1.png -o classes.parquet --probabilities

  dmt predict runs/streets photos -o answers --overlays --ensemble

  dmt predict runs/streets large.tif -o answers --window 512x512
"""
_TOLD = 5
"""Files that could not be read that are named one by one; a list in a file has all."""


def predict(
    model: ModelPath,
    inputs: Annotated[list[str], typer.Argument(metavar="INPUT...", help="Image files, folders, and patterns.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Classes: a .csv or .parquet file. Masks: a folder.")],
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Classes: a column for the probability of each.")
    ] = False,
    overlays: Annotated[bool, typer.Option("--overlays", help="Masks: draw them over the images as well.")] = False,
    ensemble: Ensemble = False,
    window: WindowSize = None,
    overlap: Overlap = None,
    batch_size: BatchSize = None,
    workers: Workers = 0,
) -> None:
    """Say a class of every image, or of every pixel.

    Files that cannot be read are listed, and the rest goes on; the exit status is 3 then.
    """
    # Imported here: torch takes seconds to load, and `--help` should answer at once.
    from dmt.data.input_files import find_inputs
    from dmt.predict import load
    from dmt.predict.files import predict_files
    from dmt.predict.places import check_masks, check_table

    predictor = load(model, ensemble=ensemble, window=window_of(window, overlap))
    files = find_inputs(inputs, predictor.reader.suffixes)
    targets = {}
    if predictor.is_dense:
        _refuse(probabilities, "--probabilities is for classes of whole images; masks hold one class a pixel.")
        targets = check_masks(output, files, overlays=overlays)
    else:
        _refuse(overlays, "--overlays is for masks; this model says one class an image.")
        check_table(output)
    console, began = Console(highlight=False), time.monotonic()
    with LiveView(console) as view:
        answers = predict_files(
            predictor,
            files,
            batch_size=batch_size,
            workers=workers,
            keep_probabilities=probabilities,
            observer=view,
        )
        outcome = _write(predictor, output, _told(answers), targets=targets, all_probabilities=probabilities)
    _finish(console, outcome, output, what=predictor.what, seconds=time.monotonic() - began)


add_examples(predict, EXAMPLES)


def _refuse(given: bool, why: str) -> None:
    if given:
        raise ConfigError(why)


def _write(
    predictor: "Predictor",
    output: Path,
    answers: "Iterable[FileAnswer]",
    *,
    targets: "dict[Path, dict[str, Path]]",
    all_probabilities: bool,
) -> "Outcome":
    from dmt.predict.outputs import write_masks, write_table

    if not predictor.is_dense:
        return write_table(output, answers, class_names=predictor.class_names, all_probabilities=all_probabilities)
    palette = predictor.description.palette
    assert palette is not None
    return write_masks(output, answers, targets=targets, palette=palette)


def _told(answers: "Iterable[FileAnswer]") -> "Iterable[FileAnswer]":
    """The same, with a line for the first ones that could not be read."""
    count = 0
    for one in answers:
        if one.problem:
            count += 1
            if count <= _TOLD:
                warnings.warn(one.problem, stacklevel=2)
        yield one


def _finish(console: Console, outcome: "Outcome", output: Path, *, what: str, seconds: float) -> None:
    from dmt.predict.places import unreadable_list

    rate = outcome.num_written / max(seconds, 1e-9)
    console.print(
        f"{outcome.num_written:,} images by {escape(what)} in {seconds:.1f} s ({rate:,.1f}/s): "
        f"[bold]{escape(str(output))}[/]",
        soft_wrap=True,
    )
    if outcome.problems:
        total, count = len(outcome.problems) + outcome.num_written, len(outcome.problems)
        listed = f"{unreadable_list(output)} lists them with the reasons."
        if not outcome.num_written:
            raise PartlyDoneError(f"None of {total:,} files could be read; {listed} What was written before stays.")
        raise PartlyDoneError(f"{count:,} of {total:,} files could not be read; {listed} The others are done.")
