"""`dmt train`: one run, from a preset or a file to its report."""

import shlex
import signal
import warnings
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from dmt.cli.examples import add_examples
from dmt.cli.live import LiveView, result_table
from dmt.config_files import load_config
from dmt.errors import ConfigError, RunFolderError, StoppedError
from dmt.signals import orderly_stop

EXAMPLES = """Examples:

  dmt train digits-20

  dmt train digits-20 seed=3 method=curriculum_labeling

  dmt train fashion-mnist-500 data.root=FOLDER --run-dir runs/mine

  dmt train --resume runs/mine
"""


class StopSignal(StrEnum):
    """What may ask for a stop, beside Ctrl-C and SIGTERM."""

    SIGUSR1 = "SIGUSR1"
    SIGUSR2 = "SIGUSR2"
    SIGHUP = "SIGHUP"


def train(
    source: Annotated[
        str | None, typer.Argument(metavar="PRESET|FILE", help="A name from `dmt list presets`, or a YAML file.")
    ] = None,
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY.PATH=VALUE]...", help="Changes to it.")] = None,
    run_dir: Annotated[
        Path | None, typer.Option("--run-dir", help="The run folder; default: runs/NAME/METHOD-seedN-HASH.")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option("--resume", metavar="RUN", help="Go on with this run folder, by its own config.")
    ] = None,
    stop_on: Annotated[
        list[StopSignal] | None,
        typer.Option("--stop-on", help="A further signal that asks for a stop, as Ctrl-C does: for Slurm's --signal."),
    ] = None,
) -> None:
    """Train, compare with labels alone, and report."""
    if resume is not None:
        overrides = [*([] if source is None else [source]), *(overrides or [])]
        source, run_dir = _stored_config(resume, run_dir), resume
    if source is None:
        raise ConfigError("Name a preset or a YAML file (`dmt list presets` shows what there is), or --resume RUN.")
    train_and_print(source, overrides or [], run_dir, stop_on=[signal.Signals[name] for name in stop_on or ()])


def _stored_config(folder: Path, run_dir: Path | None) -> str:
    """The config of a run that is to go on."""
    if run_dir is not None:
        raise ConfigError(f"Found --resume {folder} and --run-dir {run_dir}; give one of them.")
    path = folder / "config.yaml"
    if not path.is_file():
        raise RunFolderError(f"{folder} is no run folder: there is no {path}. Name one that `dmt train` made.")
    from dmt.run_folder import refuse_newer  # with torch, as what follows

    refuse_newer(path)
    return str(path)


add_examples(train, EXAMPLES)


def train_and_print(
    source: str, overrides: list[str], run_dir: Path | None, *, stop_on: Sequence[signal.Signals] = ()
) -> dict[str, Any]:
    """Run with a live view, write the report, print the table."""
    config = load_config(source, overrides)
    # Imported here: torch takes seconds to load, and a mistyped config or `--help` should answer at once.
    from dmt.engine import is_main_process
    from dmt.methods import told_without_effect
    from dmt.report import summary, write_report
    from dmt.run import run
    from dmt.run_folder import default_run_folder

    for sentence in told_without_effect(source, overrides).values():
        warnings.warn(sentence, stacklevel=2)
    folder = run_dir or default_run_folder(config, Path(source).stem)
    console = Console(highlight=False)
    try:
        with LiveView(console) as view, orderly_stop(stop_on):
            result = run(config, run_dir=folder, observer=view)
    except StoppedError as error:
        command = shlex.join(["dmt", "train", "--resume", str(folder)])
        raise StoppedError(f"{error} To go on: {command}", exit_status=error.exit_status) from None
    if not is_main_process():
        return result
    console.print(result_table(result))
    report = write_report(folder)
    for line in (summary(folder), f"Final: {result['picked']['what']}, {result['picked']['why']}."):
        console.print(escape(line), soft_wrap=True)
    pages = [str(report), *(str(path) for path in [folder / "pictures" / "overview.png"] if path.is_file())]
    console.print(
        f"Run folder [bold]{escape(str(folder))}[/], report {escape(', '.join(pages))}, {result['seconds']:.0f} s",
        soft_wrap=True,
    )
    return result
