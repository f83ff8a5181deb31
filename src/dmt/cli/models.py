"""What the commands share that work with a trained model: its options, and how they are read."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dmt.errors import ConfigError

if TYPE_CHECKING:  # with torch, which takes seconds to load
    from dmt.predict import Window

ModelPath = Annotated[
    Path, typer.Argument(metavar="RUN|BUNDLE", help="The folder of a finished run, or one that `dmt export` made.")
]
Ensemble = Annotated[bool, typer.Option("--ensemble", help="The networks of the last round together.")]
WindowSize = Annotated[
    str | None,
    typer.Option(
        "--window",
        metavar="HEIGHTxWIDTH|whole",
        help="Masks: look at larger images through windows of this size, or never; default: the model's own, else "
        "1024x1024 for images of over 4 megapixels.",
    ),
]
Overlap = Annotated[
    float | None,
    typer.Option("--overlap", help="Masks: share of a window that its neighbors cover as well; default: 0.25."),
]
BatchSize = Annotated[
    int | None, typer.Option("--batch-size", min=1, help="Images of one size that go through the network together.")
]
Workers = Annotated[int, typer.Option("--workers", min=0, help="Processes that read images.")]


def window_of(size: str | None, overlap: float | None) -> "Window":
    """What `--window` and `--overlap` say.

    Raises:
        ConfigError: they say nothing that is possible.
    """
    from dmt.predict import Window

    if size is None or size == "whole":
        return Window(whole=size == "whole", overlap=overlap)
    sides = re.fullmatch(r"(\d+)\s*[x,]\s*(\d+)", size)
    if sides is None:
        raise ConfigError(f"--window is {size!r}; allowed are a height and a width, for instance 512x512, and whole.")
    return Window(size=(int(sides[1]), int(sides[2])), overlap=overlap)
