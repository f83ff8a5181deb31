"""Examples below a command's help."""

import inspect
from collections.abc import Callable
from typing import Any


def add_examples(command: Callable[..., Any], examples: str) -> None:
    """Append them to the docstring, which `--help` shows, with one left edge for both.

    Each paragraph is one line then, for the terminal to wrap.
    """
    paragraphs = inspect.cleandoc(command.__doc__ or "").split("\n\n")
    command.__doc__ = "\n\n".join([*(" ".join(one.split()) for one in paragraphs), examples])
