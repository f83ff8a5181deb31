"""The state of a running stage in one file: weights, averages, momenta and the step; nothing is pickled.

Data order and augmentation are functions of the step, so the step number stands for all random state.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor
from torch.optim import Optimizer

from dmt.config_sections import CheckpointConfig
from dmt.engine import Engine
from dmt.errors import CheckpointError
from dmt.files import write_atomic
from dmt.models.ema import Ema
from dmt.models.network import Network
from dmt.models.weights import independent

FORMAT = "2"


@dataclass(frozen=True)
class Trainee:
    """A network in training with all the state that its training has."""

    network: Network
    optimizer: Optimizer
    ema: Ema | None

    @property
    def reported(self) -> Network:
        """The network that labels, is evaluated and is carried on: the average where there is one."""
        return self.network if self.ema is None else self.ema.network


def save_checkpoint(
    path: Path, trainees: Mapping[str, Trainee], step: int, *, engine: Engine, config_hash: str, seconds: float
) -> None:
    """Write the state after `step` optimizer steps and so many seconds of the stage, atomically."""
    tensors = {f"{label}/{name}": tensor for label, one in trainees.items() for name, tensor in _state(one).items()}
    averages = {label: one.ema.num_updates for label, one in trainees.items() if one.ema is not None}
    metadata = {
        "format": FORMAT,
        "step": str(step),
        "seconds": f"{seconds:.2f}",
        "config_hash": config_hash,
        "num_averages": json.dumps(averages),
        "scaler": json.dumps(engine.scaler_state()),
    }
    # Bytes first: a full disk is then an OSError, which the command line knows, and not the library's own error.
    content = save(independent(tensors), metadata=metadata)
    write_atomic(path, lambda temporary: temporary.write_bytes(content))


def load_checkpoint(path: Path, trainees: Mapping[str, Trainee], *, engine: Engine, config_hash: str) -> int:
    """Restore the state in place and return the number of steps that are done; 0 where there is no checkpoint.

    Raises:
        CheckpointError: when the file is broken or of another run.
    """
    if not engine.told_by_main(path.is_file):
        engine.restore_scaler({})
        return 0
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"The checkpoint {path} cannot be read ({error}). Delete it to train the stage anew."
        ) from error
    if metadata.get("format") != FORMAT or metadata.get("config_hash") != config_hash:
        raise CheckpointError(
            f"The checkpoint {path} belongs to another run or version. Delete it to train the stage anew."
        )
    averages = json.loads(metadata["num_averages"])
    for label, trainee in trainees.items():
        prefix = f"{label}/"
        own = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
        _restore(trainee, own, averages.get(label, 0))
    engine.restore_scaler(json.loads(metadata["scaler"]))
    return int(metadata["step"])


def seconds_before(path: Path) -> float:
    """How long a stage had run when its checkpoint was written; 0 without one, or where it cannot be read."""
    if not path.is_file():
        return 0.0
    try:
        with safe_open(path, framework="pt") as file:
            return float((file.metadata() or {}).get("seconds", 0.0))
    except (SafetensorError, OSError):
        return 0.0  # `load_checkpoint` says so


class CheckpointClock:
    """Says when the next checkpoint is due: every so many steps or minutes, whichever comes first."""

    def __init__(self, config: CheckpointConfig) -> None:
        self._config = config
        self._steps = 0
        self._since = time.monotonic()

    def is_due(self, steps: int) -> bool:
        """Whether to write one now, `steps` optimizer steps after the last call."""
        self._steps += steps
        by_steps = self._config.every_steps is not None and self._steps >= self._config.every_steps
        due = by_steps or time.monotonic() - self._since >= 60 * self._config.every_minutes
        if due:
            self._steps, self._since = 0, time.monotonic()
        return due


def _state(trainee: Trainee) -> dict[str, Tensor]:
    state = {f"network/{name}": tensor for name, tensor in trainee.network.state_dict().items()}
    if trainee.ema is not None:
        state |= {f"ema/{name}": tensor for name, tensor in trainee.ema.state_dict().items()}
    for name, parameter in trainee.network.named_parameters():
        own = trainee.optimizer.state.get(parameter, {})
        state |= {f"optimizer/{key}/{name}": value for key, value in own.items() if value is not None}
    return state


@torch.no_grad()
def _restore(trainee: Trainee, state: Mapping[str, Tensor], num_averages: int) -> None:
    def section(name: str) -> dict[str, Tensor]:
        return {key.removeprefix(f"{name}/"): tensor for key, tensor in state.items() if key.startswith(f"{name}/")}

    trainee.network.load_state_dict(section("network"))
    if trainee.ema is not None:
        trainee.ema.load_state_dict(section("ema"), num_updates=num_averages)
    parameters = dict(trainee.network.named_parameters())
    for stored, value in section("optimizer").items():
        key, name = stored.split("/", 1)
        parameter = parameters[name]
        # A count of steps is a lone number; everything else has the shape and the memory format of its weights.
        own = value.to(parameter.device) if value.dim() == 0 else torch.empty_like(parameter).copy_(value)
        trainee.optimizer.state[parameter][key] = own
