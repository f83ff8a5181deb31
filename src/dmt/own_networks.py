"""Whether networks are those that a run began with: a user's own, which no config names, and files of weights."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from dmt.config import Config
from dmt.errors import ConfigError
from dmt.files import read_json, write_text
from dmt.models.own import ModelFactory, Models, own_module
from dmt.models.weights import SUFFIX
from dmt.randomness import generator, seeded_torch

FILE = "networks.txt"
"""Beside the split."""
_FROM_FILE, _LAYERS, _GONE = "file", "layers", "gone"


def write_networks(folder: Path, config: Config, models: Models | None, labels: Sequence[str]) -> None:
    """Note beside the split what a run's own networks look like, or the files that its networks begin with.

    Args:
        folder: of the split.
        config: of the run.
        models: those at hand; None = the config's.
        labels: the networks that the plan trains.
    """
    write_text(folder / FILE, json.dumps(_looks(config, models, labels), sort_keys=True) + "\n")


def noted_network(folder: Path, label: str) -> dict[str, str] | None:
    """What `write_networks` noted of a network; None of one that the config tells all about, or of an old run."""
    path = folder / FILE
    noted: dict[str, dict[str, str]] = read_json(path) if path.is_file() else {}
    return noted.get(label)


def check_networks(folder: Path, config: Config, models: Models | None, labels: Sequence[str]) -> None:
    """Refuse to go on with other networks, with the arguments of `write_networks`.

    A file of weights that is gone is missed where it is read.

    Raises:
        ConfigError: they are not those that it saw.
    """
    path = folder / FILE
    if not path.is_file():
        return  # a run that began before it was written
    then, now = read_json(path), _looks(config, models, labels)
    label = next((label for label in sorted({*then, *now}) if _differ(then.get(label), now.get(label))), None)
    if label is not None:
        what = _difference(then.get(label, {}), now.get(label, {}), label, config)
        raise ConfigError(
            f"{folder.parent} is a run with other networks: network {label} {what}, or name another folder (--run-dir, "
            "or --runs of dmt compare; run_dir in Python)."
        )


def _difference(then: dict[str, str], now: dict[str, str], label: str, config: Config) -> str:
    """What is another there, and how to mend it."""
    if (_LAYERS in then) != (_LAYERS in now):
        whose = "of the config" if _LAYERS in now else "one of your own"
        return f"is {whose} there. Bring the same `models` again"
    if _FROM_FILE in now:
        source = f"{_source(config, label)} (networks.{label}.weights)"
        return f"began with another content of {source} there. Bring that content back"
    if then[_LAYERS] != now[_LAYERS]:
        return "has other layers there. Bring the same `models` again"
    return (
        "has other weights there; where they are random, seed them, or give a function that makes the module in its "
        "place. Bring the same `models` again"
    )


def _looks(config: Config, models: Models | None, labels: Sequence[str]) -> dict[str, dict[str, str]]:
    if models is not None:
        return {label: _look(given, label) for label, given in models.items() if label in labels}
    files = {label: _source(config, label) for label in labels}
    return {label: {_FROM_FILE: _content(path)} for label, path in files.items() if path is not None}


def _source(config: Config, label: str) -> Path | None:
    """The file of weights that a network of the config begins with, if it does."""
    weights = getattr(config.networks, label).weights
    return Path(weights) if weights is not None and weights.endswith(SUFFIX) else None


def _content(path: Path) -> str:
    if not path.is_file():
        return _GONE
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _differ(then: dict[str, str] | None, now: dict[str, str] | None) -> bool:
    if now is not None and _FROM_FILE in now and (then is None or now[_FROM_FILE] == _GONE):
        return False  # of a run before 2026-11-30, or nothing to compare
    return then != now


def _look(given: nn.Module | ModelFactory, label: str) -> dict[str, str]:
    """Digests of names and shapes, and of the weights where every stage from scratch begins with them."""
    if isinstance(given, nn.Module):
        return {_LAYERS: _layers(given), "weights": _weights(given)}
    with seeded_torch(generator(0, "unused")):  # no stream of the run's, or the caller's, may move on for it
        return {_LAYERS: _layers(own_module(given, label)), "weights": "fresh"}


def _layers(module: nn.Module) -> str:
    shapes = [(name, str(value.dtype), *value.shape) for name, value in module.state_dict().items()]
    return hashlib.sha256(json.dumps([type(module).__qualname__, shapes]).encode()).hexdigest()[:16]


def _weights(module: nn.Module) -> str:
    digest = hashlib.sha256()
    for value in module.state_dict().values():
        # As bytes, since numpy lacks some of torch's kinds of number.
        digest.update(value.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
