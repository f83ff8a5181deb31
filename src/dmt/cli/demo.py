"""`dmt demo`: the product in a minute, on data that is already there."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from dmt.cli.train import train_and_print


class Task(StrEnum):
    """What can be shown."""

    classification = "classification"
    segmentation = "segmentation"


PRESETS = {Task.classification: "digits-20", Task.segmentation: "scenes-24"}


def demo(
    task: Annotated[Task, typer.Option("--task", help="What to show.")] = Task.classification,
    run_dir: Annotated[Path | None, typer.Option("--run-dir", help="The run folder.")] = None,
) -> None:
    """Learn to read handwritten digits from 20 labeled images and 1,327 unlabeled ones.

    With `--task segmentation`, learn to find and read them in drawn scenes, pixel by pixel, from 24 labeled ones.

    Examples: dmt demo, dmt demo --task segmentation
    """
    train_and_print(PRESETS[task], [], run_dir)
