"""Networks that a user brings as modules, which no name in a config can build."""

from collections.abc import Callable, Mapping
from copy import deepcopy

from torch import nn

from dmt.errors import ConfigError

ModelFactory = Callable[[], nn.Module]
Models = Mapping[str, nn.Module | ModelFactory]
"""By network: `a`, and `b` of a pair."""

OWN_NETWORK = "own network"
"""How their names begin in a description."""


def own_module(given: nn.Module | ModelFactory, label: str) -> nn.Module:
    """A module to train: a copy of the one that was given, or a fresh one of the function that was.

    Args:
        given: what stands in `models`.
        label: under which key.

    Raises:
        ConfigError: it is neither, or the function makes something else.
    """
    if isinstance(given, nn.Module):
        return deepcopy(given)
    if not callable(given):
        raise ConfigError(
            f"models[{label!r}] is a {type(given).__name__}; allowed are a torch module, and a function without "
            "arguments that makes one."
        )
    made = given()
    if not isinstance(made, nn.Module):
        raise ConfigError(
            f"models[{label!r}] is a function that makes a {type(made).__name__}; it has to make a torch module."
        )
    return made
