"""The methods, by name. Adding one is a file, a line here, a test and a preset."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from dmt.config import Config
from dmt.config_files import did_you_mean, load_config, own_keys
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


def told_without_effect(
    source: str | Path | Mapping[str, Any] | Config, overrides: Iterable[str] = ()
) -> dict[str, str]:
    """What a user's own file or mapping and the overrides on top of it set without effect, as a sentence for each key.

    A file is judged as it stands: `method=supervised` on top of it makes no mistake of what it says of rounds.

    Raises:
        ConfigError: as `load_config` and `build_method` do.
    """
    changes = list(overrides)
    config, own = load_config(source, changes), own_keys(source)
    if own and changes:
        try:
            own = list(settings_without_effect(load_config(source), own))
        except ConfigError:
            own = []  # it is no config without the overrides
    return settings_without_effect(config, [*own, *(change.partition("=")[0].strip() for change in changes)])


def settings_without_effect(config: Config, keys: Iterable[str]) -> dict[str, str]:
    """Those of some dotted keys that change nothing in the config, each with a sentence that says by what."""
    unused = _unused(config)
    selects_by_threshold = config.rounds.selection == "threshold" and "rounds.selection" not in unused
    needed = {"loss.confidence_threshold"} if selects_by_threshold else set()
    found = {}
    for key in keys:
        reason = next((reason for name, reason in unused.items() if f"{key}.".startswith(f"{name}.")), None)
        if reason is not None and key not in needed:
            found[key] = f"{key} has no effect on {reason}."
    return found


def _unused(config: Config) -> dict[str, str]:
    """Keys without effect, and what they have none on; those of the method first."""
    source = config.validation.source
    by_settings = {
        "scheme=chain": ["networks.b"] * (config.scheme == "chain"),
        "task=classification": ["crop"] * (config.task == "classification"),
        "task=segmentation": ["rounds.stranger_confidence"] * (config.task == "segmentation"),
        "augment=none": ["crop.scale", "crop.pseudo"] * (config.augment == "none"),  # both views are plain
        "optimizer.name=adamw": ["optimizer.nesterov"] * (config.optimizer.name == "adamw"),
        f"method={config.method} beside optimizer.supervised_lr={config.optimizer.supervised_lr}": (
            ["optimizer.lr"] * _is_supervised_by_its_own_rate(config)
        ),
        "mixup.alpha=null": ["mixup.keep_max", "loss.weight_batchnorm"] * (config.mixup.alpha is None),
        f"validation.source={source}": [
            *["validation.size"] * (source in ("none", "cross_validation", "given")),
            *["validation.num_folds"] * (source not in (None, "cross_validation")),
        ],
    }
    method = build_method(config)
    unused = dict.fromkeys(method.unused, f"method={config.method}")
    if method.needs_all_labels and source not in (None, "given", "none"):  # those two bear on what the data bring
        unused["validation.source"] = f"method={config.method}"
    for reason, keys in by_settings.items():
        unused |= {key: reason for key in keys if key not in unused}
    return unused


def _is_supervised_by_its_own_rate(config: Config) -> bool:
    only = all(stage.is_supervised for stage in build_method(config).plan())
    # A start from images alone takes the optimizer's by default.
    return only and config.optimizer.supervised_lr is not None and config.self_supervised is None


def build_method(config: Config) -> Method:
    """The method that a config names.

    Raises:
        ConfigError: for an unknown name, with all known ones.
    """
    if config.method not in METHODS:
        known = ", ".join(METHODS)
        raise ConfigError(f"method: found {config.method!r}.{did_you_mean(config.method, METHODS)} Allowed: {known}.")
    return METHODS[config.method](config)
