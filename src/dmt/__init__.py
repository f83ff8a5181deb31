"""Few labels, many images: Dynamic Mutual Training for semi-supervised learning.

`dmt.run(config)` trains; `dmt.load(folder)` has what it trained answer; `dmt.losses` and `dmt.selection` are the
paper's formulas as plain functions.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dmt import losses as losses
    from dmt import selection as selection
    from dmt.predict import load as load
    from dmt.run import run as run

__version__ = "0.1.0"
__all__ = ["load", "losses", "run", "selection"]


def __getattr__(name: str) -> Any:
    """Load what is asked for when it is asked for: torch takes seconds, and `dmt --help` needs none of it."""
    if name == "load":
        return import_module("dmt.predict").load
    if name in __all__:
        return import_module(f"dmt.{name}")
    raise AttributeError(f"module 'dmt' has no attribute {name!r}")
