"""From an estimator's parameters to the config of a run."""

import json
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from sklearn.utils import check_random_state

from dmt.config import Config
from dmt.config_files import load_config
from dmt.errors import ConfigError

DATA_NAME = "estimator"
"""What the data of a fit are called in its run folder."""


class Parameters(Protocol):
    """Those that both estimators have; what they mean is told there."""

    method: str
    backbone: str
    backbone_b: str | None
    weights: str | None
    top_fractions: Any
    steps: int
    supervised_steps: int
    batch_size: int
    labeled_per_batch: int
    learning_rate: float
    optimizer: str
    augment: str
    precision: str
    random_state: Any
    config: Mapping[str, Any] | None


def build_config(
    parameters: Parameters, *, task: str, backbone: str, augment: str, image_size: tuple[int, int] | None
) -> Config:
    """The config of a fit.

    Args:
        parameters: the estimator.
        task: `classification` or `segmentation`.
        backbone: network a, which depends on X.
        augment: likewise.
        image_size: what images are resized to.

    Raises:
        ConfigError: a value that cannot be, in the words of the config.
    """
    second = parameters.backbone_b
    weights_b = parameters.weights if parameters.weights == "pretrained" else None
    values = {
        "task": task,
        "method": parameters.method,
        "seed": _seed(parameters.random_state),
        "data": {"name": DATA_NAME, "image_size": image_size},
        "validation": {"source": "none"},
        "networks": {
            "a": {"name": backbone, "weights": parameters.weights},
            "b": {"name": second or backbone, "weights": weights_b},
        },
        "scheme": "chain" if second is None else "mutual",
        "start": "finetune",
        "rounds": {"top_fractions": parameters.top_fractions},
        "duration": {"steps": parameters.steps},
        "supervised": {"steps": parameters.supervised_steps},
        "batch": {"size": parameters.batch_size, "labeled": parameters.labeled_per_batch},
        "optimizer": {
            "name": parameters.optimizer,
            "lr": parameters.learning_rate,
            "supervised_lr": parameters.learning_rate,
        },
        "augment": augment,
        "precision": parameters.precision,
    }
    return load_config(plain(values), _overrides(parameters.config))


def plain(value: Any) -> Any:
    """Python's own types for numpy's, and lists for tuples: what the config and JSON know."""
    if isinstance(value, Mapping):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(one) for one in value]
    return value.item() if isinstance(value, np.generic) else value


def _overrides(config: Mapping[str, Any] | None) -> list[str]:
    if config is None:
        return []
    if not isinstance(config, Mapping):
        raise ConfigError(
            f"config is a {type(config).__name__}; a mapping from dotted keys to values is needed, for instance "
            "{'loss.gamma_agree': 3.0}."
        )
    for key in config:
        if str(key).partition(".")[0] in ("task", "data"):
            raise ConfigError(f"config sets {key}, which the estimator settles itself by its parameters and by X.")
    try:
        return [f"{key}={json.dumps(plain(value))}" for key, value in config.items()]
    except TypeError as error:
        raise ConfigError(f"config holds a value that is neither text, number, list nor mapping: {error}.") from error


def _seed(random_state: Any) -> int:
    """A whole number is the seed itself; of anything else, one is drawn in scikit-learn's way."""
    state = check_random_state(random_state)
    if isinstance(random_state, int | np.integer):
        return int(random_state)
    return int(state.randint(2**31 - 1))
