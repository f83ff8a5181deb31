"""Whether a user's own networks, which no config names, are those that a run began with."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from dmt.errors import ConfigError
from dmt.files import read_json, write_text
from dmt.models.own import ModelFactory, Models, own_module
from dmt.randomness import generator, seeded_torch

# Beside the split, and a text file as that: a network of round 0 is taken over only where all of them are the same.
_FILE = "networks.txt"


def write_networks(folder: Path, models: Models | None, labels: Sequence[str]) -> None:
    """Note beside the split what a run's own networks look like.

    Args:
        folder: of the split.
        models: those at hand; None = the config's.
        labels: the networks that the plan trains.
    """
    write_text(folder / _FILE, json.dumps(_looks(models, labels), sort_keys=True) + "\n")


def check_networks(folder: Path, models: Models | None, labels: Sequence[str]) -> None:
    """Refuse to go on with other networks, with the arguments of `write_networks`.

    Raises:
        ConfigError: they are not those that it saw.
    """
    path = folder / _FILE
    if not path.is_file():
        return  # a run that began before it was written
    then, now = read_json(path), _looks(models, labels)
    label = next((label for label in sorted({*then, *now}) if then.get(label) != now.get(label)), None)
    if label is None:
        return
    if label not in then or label not in now:
        what = f"network {label} is {'of the config' if label not in then else 'one of your own'} there"
    elif then[label]["layers"] != now[label]["layers"]:
        what = f"network {label} has other layers there"
    else:
        what = (
            f"network {label} has other weights there; where they are random, seed them, or give a function that makes "
            "the module in its place"
        )
    raise ConfigError(
        f"{folder.parent} is a run with other networks: {what}. Bring the same `models` again, or name another folder "
        "with run_dir."
    )


def _looks(models: Models | None, labels: Sequence[str]) -> dict[str, dict[str, str]]:
    return {label: _look(given, label) for label, given in (models or {}).items() if label in labels}


def _look(given: nn.Module | ModelFactory, label: str) -> dict[str, str]:
    """Digests of names and shapes, and of the weights where every stage from scratch begins with them."""
    if isinstance(given, nn.Module):
        return {"layers": _layers(given), "weights": _weights(given)}
    with seeded_torch(generator(0, "unused")):  # no stream of the run's, or the caller's, may move on for it
        return {"layers": _layers(own_module(given, label)), "weights": "fresh"}


def _layers(module: nn.Module) -> str:
    shapes = [(name, str(value.dtype), *value.shape) for name, value in module.state_dict().items()]
    return hashlib.sha256(json.dumps([type(module).__qualname__, shapes]).encode()).hexdigest()[:16]


def _weights(module: nn.Module) -> str:
    digest = hashlib.sha256()
    for value in module.state_dict().values():
        # As bytes, since numpy lacks some of torch's kinds of number.
        digest.update(value.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
