"""`dmt config`: the whole resolved config of a preset or file."""

from typing import Annotated

import typer

from dmt.config_files import dump_config, load_config


def show_config(
    source: Annotated[
        str, typer.Argument(metavar="PRESET|FILE", help="A name from `dmt list presets`, or a YAML file.")
    ],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY.PATH=VALUE]...", help="Changes to it.")] = None,
) -> None:
    """Print every key of a config with its value, as YAML that `dmt train` reads back.

    Example: dmt config digits-20 seed=3 > mine.yaml
    """
    typer.echo(dump_config(load_config(source, overrides or [])), nl=False)
