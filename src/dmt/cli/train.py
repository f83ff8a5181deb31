"""`dmt train`: one run, from a preset or a file to its report."""

import warnings
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from dmt.cli.live import LiveView, result_table
from dmt.config_files import load_config

EXAMPLES = """Examples:

  dmt train digits-20

  dmt train digits-20 seed=3 method=curriculum_labeling

  dmt train fashion-mnist-500 data.root=FOLDER --run-dir runs/mine
"""


def train(
    source: Annotated[
        str, typer.Argument(metavar="PRESET|FILE", help="A name from `dmt list presets`, or a YAML file.")
    ],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY.PATH=VALUE]...", help="Changes to it.")] = None,
    run_dir: Annotated[
        Path | None, typer.Option("--run-dir", help="The run folder; default: runs/NAME/METHOD-seedN-HASH.")
    ] = None,
) -> None:
    """Train, compare with labels alone, and report."""
    train_and_print(source, overrides or [], run_dir)


train.__doc__ = f"{train.__doc__}\n\n{EXAMPLES}"


def train_and_print(source: str, overrides: list[str], run_dir: Path | None) -> dict[str, Any]:
    """Run with a live view, write the report, print the table."""
    config = load_config(source, overrides)
    # Imported here: torch takes seconds to load, and a mistyped config or `--help` should answer at once.
    from dmt.engine import is_main_process
    from dmt.methods import settings_without_effect
    from dmt.report import summary, write_report
    from dmt.run import run
    from dmt.run_folder import default_run_folder

    for key in settings_without_effect(config, (override.partition("=")[0] for override in overrides)):
        warnings.warn(f"{key} has no effect on method={config.method}, scheme={config.scheme}.", stacklevel=2)
    folder = run_dir or default_run_folder(config, Path(source).stem)
    console = Console(highlight=False)
    with LiveView(console) as view:
        result = run(config, run_dir=folder, observer=view)
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
