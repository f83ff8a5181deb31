"""`dmt init`: a config for one's own images."""

import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from dmt.cli.check import progress_on_terminal
from dmt.cli.examples import add_examples
from dmt.errors import ConfigError
from dmt.files import check_output

EXAMPLES = """Examples:

  dmt init photos

  dmt init table.csv -o mine.yaml

  dmt init scans --task segmentation --weights resnet18.safetensors

  dmt init photos --labels 100 --no-timing
"""


class Task(StrEnum):
    """What is predicted."""

    classification = "classification"
    segmentation = "segmentation"


def init(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER|TABLE", help="Your images, or a table that names them.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The config to write.")] = Path("dmt.yaml"),
    task: Annotated[Task | None, typer.Option("--task", help="What to predict; default: guessed.")] = None,
    labels: Annotated[
        int | None, typer.Option("--labels", min=1, metavar="N", help="Use N labels; the others' images are unlabeled.")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option("--weights", metavar="FILE", help="A .safetensors file to begin with.")
    ] = None,
    network: Annotated[
        str | None, typer.Option("--network", metavar="NAME", help="A name from `dmt list models`; default: guessed.")
    ] = None,
    timing: Annotated[bool, typer.Option(help="Measure some steps for the estimate of time.")] = True,
    force: Annotated[bool, typer.Option("--force", help="Replace the config if it is there.")] = False,
) -> None:
    """Look at a folder of images, guess what it holds, and write a commented config for it.

    Nothing is downloaded: a network begins with weights where this machine has some in its caches, or with --weights.
    """
    if not folder.exists():
        raise ConfigError(f"There is no {folder}. Name the folder of your images, or a table of them.")
    if output.is_file() and not force:  # before anything that takes time
        raise ConfigError(f"{output} is there already. Name another file with -o, or replace it with --force.")
    check_output(output)
    from dmt.init import start, write  # with torch, which takes seconds to load
    from dmt.init.story import time_in_words

    begun = start(
        folder,
        task=task.value if task else None,
        labels=labels,
        weights=weights,
        network=network,
        timing=timing,
        observer=progress_on_terminal(),
    )
    write(begun, output, command=shlex.join(["dmt", *sys.argv[1:]]), force=force)
    console = Console(highlight=False)
    for title, lines in (("saw", begun.seen()), ("guessed", begun.guessed())):
        for number, line in enumerate(lines):
            console.print(f"[bold]{'' if number else title:<8}[/] {escape(line)}", soft_wrap=True)
    if begun.estimate is not None:
        console.print(f"[bold]time    [/] {escape(time_in_words(begun.estimate))}", soft_wrap=True)
    name = shlex.quote(str(output))
    console.print(
        f"Wrote {escape(str(output))}. Next: dmt check {escape(name)}, dmt train {escape(name)}", soft_wrap=True
    )


add_examples(init, EXAMPLES)
