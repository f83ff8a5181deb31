"""The command `dmt`: its subcommands, and how it leaves when something goes wrong."""

import io
import sys
import tempfile
import traceback
import warnings
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape

from dmt import __version__
from dmt.cli import check, compare, config, demo, evaluate, export, init, listing, predict, train
from dmt.config import Config
from dmt.errors import WORKER_ENDED, DMTError, StoppedError
from dmt.files import DISK_FULL

UsageError: Any = typer.BadParameter.__mro__[1]
"""The base of all usage errors: click's own in older versions of Typer, Typer's copy of it in newer ones."""

INTERRUPTED = 130
STOPPED = 4
RESUME = "The same command goes on where it stopped."
REPEAT = "The same command starts again; files that were finished by then are left."
LESS_MEMORY = "lower batch.size, in a new run folder, if it happens again"
LESS_IMAGE = "a smaller --batch-size or --window needs less"
_TRAINING = ("train", "demo", "compare")
_CONFIGURED = ("train", "compare", "check", "config")
"""Commands that take settings."""

app = typer.Typer(
    name="dmt",
    help="Few labels, many images: train an image classifier or a segmenter by Dynamic Mutual Training.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo")(demo.demo)
app.command("train")(train.train)
app.command("compare")(compare.compare)
app.command("init")(init.init)
app.command("check")(check.check_config)
app.command("predict")(predict.predict)
app.command("evaluate")(evaluate.evaluate)
app.command("export")(export.export)
app.command("list")(listing.list_names)
app.command("config")(config.show_config)


@app.callback(invoke_without_command=True)
def _options(version: bool = typer.Option(False, "--version", help="Print the version.")) -> None:
    """Few labels, many images: train an image classifier or a segmenter by Dynamic Mutual Training.

    Start with: dmt demo
    """
    if version:
        typer.echo(f"dmt {__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line and leave with an exit status (docs/reliability.md)."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr has it: file names may be no text
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    with warnings.catch_warnings():
        warnings.simplefilter("default", UserWarning)
        warnings.showwarning = lambda message, *_: errors.print(f"[yellow]warning:[/] {_plain(message)}")
        sys.exit(_status(errors))


def _status(errors: Console) -> int:
    """The exit status, after a line for the user where the command did not end well."""
    try:
        status = app(standalone_mode=False)
    except StoppedError as error:
        errors.print(_plain(error))
        return error.exit_status
    except DMTError as error:
        errors.print(f"[red]error:[/] {_plain(error)}")
        status = error.exit_status
    except (typer.Abort, KeyboardInterrupt):
        status = INTERRUPTED
    except UsageError as error:
        error.show()
        option = getattr(error, "option_name", None) or ""
        if option.lstrip("-") in Config.model_fields and sys.argv[1] in _CONFIGURED:
            errors.print(f"A setting is written without dashes: {_plain(option.lstrip('-'))}=VALUE.")
        status = 2
    except Exception as error:  # noqa: BLE001 - the last resort: our bug
        if shortage := _shortage(error):
            errors.print(f"[red]error:[/] {shortage} ({_plain(error)}). {RESUME if _trains() else REPEAT}")
            return STOPPED
        errors.print(f"[red]bug:[/] {_plain(type(error).__name__)}: {_plain(error)}. Traceback in {_log_traceback()}")
        status = 1
    if status == INTERRUPTED:  # newer versions of Typer catch the interrupt themselves and return this
        errors.print(f"Interrupted. {RESUME if _trains() else REPEAT}")
    return int(status or 0)


def _trains() -> bool:
    """Whether the command is one that goes on where it stopped."""
    return any(argument in _TRAINING for argument in sys.argv[1:2])


def _shortage(error: Exception) -> str:
    """What the machine ran out of, if that is what the error says."""
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        return "The disk is full"
    # By name, so that torch is not loaded to ask; on a CPU, torch has no error of its own for it.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or "allocate memory" in str(error):
        return f"Out of memory; {LESS_MEMORY if _trains() else LESS_IMAGE}"
    if WORKER_ENDED in str(error):
        return "A process that loads images was ended from outside, most often for want of memory; lower --workers"
    return ""


def _plain(message: Any) -> str:
    """Text that rich shows as it is."""
    return escape(str(message))


def _log_traceback() -> Path:
    """Write the current traceback where the user can find it and send it to us."""
    with tempfile.NamedTemporaryFile("w", prefix="dmt-error-", suffix=".log", delete=False, encoding="utf-8") as file:
        file.write(traceback.format_exc())
    return Path(file.name)


if __name__ == "__main__":
    main()
