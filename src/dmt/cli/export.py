"""`dmt export`: a trained model in a folder of its own."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from dmt.cli.examples import add_examples
from dmt.cli.models import Ensemble, ModelPath
from dmt.errors import ConfigError
from dmt.files import check_output

EXAMPLES = """Examples:

  dmt export runs/mine -o bundle --license CC-BY-4.0

  dmt export runs/mine --format onnx

  dmt export bundle --format onnx -o onnx --images photos
"""


class Format(StrEnum):
    """What is written."""

    bundle = "bundle"
    onnx = "onnx"


def export(
    model: ModelPath,
    kind: Annotated[
        Format, typer.Option("--format", help="bundle: for dmt; onnx: for other programs (the extra `onnx`).")
    ] = Format.bundle,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A new or empty folder; default: `export` below the model's.")
    ] = None,
    license_text: Annotated[
        str | None, typer.Option("--license", metavar="TEXT", help="Of the weights, for the model card; default: none.")
    ] = None,
    images: Annotated[
        list[str] | None,
        typer.Option("--images", help="onnx: real images to try the file on; default: some that the run has."),
    ] = None,
    ensemble: Ensemble = False,
) -> None:
    """Write a model with all that it must not travel without: preprocessing, classes, figures, a model card.

    A bundle has both networks of a pair, so that `--ensemble` works with it, too. An ONNX file is held against PyTorch
    on real images, and is not written where a probability differs by over 0.001 or a label is another one.
    """
    # Imported here: torch takes seconds to load, and `--help` should answer at once.
    from dmt.export import export_bundle, export_onnx

    folder, console = output or model / "export", Console(highlight=False)
    check_output(folder, is_folder=True)
    if kind is Format.bundle:
        if images or ensemble:
            raise ConfigError("--images and --ensemble are for --format onnx; a bundle has all networks as it is.")
        bundle = export_bundle(model, folder, license_text=license_text)
        told = f"{', '.join(network.what for network in bundle.description.networks.values())}"
    else:
        found = export_onnx(model, folder, images=images or (), ensemble=ensemble, license_text=license_text)
        sizes = "images of any size" if found.any_size else f"images of {'x'.join(map(str, found.sizes[0]))}"
        told = (
            f"{sizes}, batches of any size; on {found.num_images} real images the largest difference to PyTorch in a "
            f"probability is {found.largest:.2g}, changed labels: {found.changed}"
            + (f", rounding decided {found.ties} ties" if found.ties else "")
        )
    console.print(f"[bold]{escape(str(folder))}[/]: {escape(told)}", soft_wrap=True)


add_examples(export, EXAMPLES)
