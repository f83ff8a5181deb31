"""The methods, by name. Adding one is a file, a line here, a test and a preset."""

from collections.abc import Iterable

from dmt.config import Config
from dmt.config_files import did_you_mean
from dmt.errors import ConfigError
from dmt.methods.base import Method
from dmt.methods.cbst import CBST
from dmt.methods.curriculum_labeling import CurriculumLabeling
from dmt.methods.dmt import DMT
from dmt.methods.dmt_flip import DMTFlip
from dmt.methods.dmt_naive import DMTNaive
from dmt.methods.online_self_training import OnlineSelfTraining
from dmt.methods.oracle import Oracle
from dmt.methods.self_training import SelfTraining
from dmt.methods.supervised import Supervised

METHODS: dict[str, type[Method]] = {
    "supervised": Supervised,
    "oracle": Oracle,
    "curriculum_labeling": CurriculumLabeling,
    "dmt": DMT,
    "dmt_naive": DMTNaive,
    "dmt_flip": DMTFlip,
    "self_training": SelfTraining,
    "cbst": CBST,
    "online_self_training": OnlineSelfTraining,
}


def settings_without_effect(config: Config, keys: Iterable[str]) -> list[str]:
    """Those of some dotted keys that change nothing under the config's task, method and scheme."""
    unused = build_method(config).unused
    if config.scheme == "chain":
        unused = (*unused, "networks.b")
    if config.task == "classification":
        unused = (*unused, "crop")
    if config.optimizer.name == "adamw":
        unused = (*unused, "optimizer.nesterov")
    if config.mixup.alpha is None:
        unused = (*unused, "mixup.keep_max", "loss.weight_batchnorm")
    selects_by_threshold = config.rounds.selection == "threshold" and "rounds" not in unused
    needed = {"loss.confidence_threshold"} if selects_by_threshold else set()
    return [key for key in keys if key not in needed and any(f"{key}.".startswith(f"{name}.") for name in unused)]


def build_method(config: Config) -> Method:
    """The method that a config names.

    Raises:
        ConfigError: for an unknown name, with all known ones.
    """
    if config.method not in METHODS:
        known = ", ".join(METHODS)
        raise ConfigError(f"method: found {config.method!r}.{did_you_mean(config.method, METHODS)} Allowed: {known}.")
    return METHODS[config.method](config)
