"""Round 0 depends on few settings: runs that agree in them have the same one, bit for bit, and train it once."""

import shutil
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from dmt.config import Config
from dmt.config_files import WITHOUT_BEARING, load_config
from dmt.engine import environment, environment_changes
from dmt.errors import DMTError
from dmt.files import read_json, write_atomic
from dmt.methods import build_method
from dmt.own_networks import FILE as NETWORKS
from dmt.own_networks import noted_network
from dmt.self_supervised import FOLDER as SELF_SUPERVISED
from dmt.setting import Arm, Setting
from dmt.types import Stage

ROUNDS_ONLY: dict[str, Any] = {
    **dict.fromkeys(("method", "scheme", "start", "duration", "networks"), True),
    "rounds": {
        "top_fractions",
        "selection",
        "label_views",
        "calibration",
        "alignment",
        "strangers",
        "stranger_confidence",
    },
    "loss": {
        "gamma_agree",
        "gamma_disagree",
        "ramp",
        "weights_per_class",
        "naive_exponent",
        "flip_exponent",
        "confidence_threshold",
        "weight_batchnorm",
    },
    "mixup": {"keep_max"},
    "crop": {"cutmix", "pseudo"},
    "optimizer": {"lr", "supervised_lr"},  # `_bearing` has the one that counts
    "batch": {"labeled"},
    **dict.fromkeys(WITHOUT_BEARING, True),
}
"""Settings that change nothing in round 0; of the networks, `_bearing` has its own say."""


def take_round_0(setting: Setting, arms: Sequence[Arm], others: Sequence[Path]) -> None:
    """Take over finished networks of round 0 from other runs, where this run's would be the same bit for bit.

    That asks for the same settings, splits and environment. What is there already, or begun, is left alone.

    Args:
        setting: of this run, whose folder is locked and holds its splits.
        arms: the main one, then the folds.
        others: run folders, finished or not.
    """
    if setting.engine.is_main and not setting.method.needs_all_labels:
        for stage in (stage for stage in setting.plan if stage.round == 0):
            for folder, stream in _places(setting, arms, stage):
                _take(setting, arms[0].folder, folder, stream, stage, others)
    setting.engine.wait()


def _places(setting: Setting, arms: Sequence[Arm], stage: Stage) -> Iterator[tuple[str, str]]:
    """Folders, relative to the run's, and random streams of a stage in all arms, and of what it begins with."""
    if stage.network in setting.start_weights:
        yield f"{SELF_SUPERVISED}/{stage.network}", f"{SELF_SUPERVISED}/{stage.network}"
    for arm in arms:
        yield str(arm.path(stage).relative_to(arms[0].folder)), arm.stream(stage)


def _take(setting: Setting, own: Path, folder: str, stream: str, stage: Stage, others: Sequence[Path]) -> None:
    target = own / folder
    if (target / "DONE").is_file() or (target / "checkpoint" / "state.safetensors").is_file():
        return
    for other in others:
        if (other / folder / "DONE").is_file() and _is_same(setting, own, other, stage):
            _copy(other / folder, target)
            setting.metrics.take(other / "metrics.jsonl", stream)
            return


def _is_same(setting: Setting, own: Path, other: Path, stage: Stage) -> bool:
    """Whether the other run's network of this stage is what this run would train."""
    try:
        stored = load_config(other / "config.yaml")
        method = build_method(stored)
        environment_there = read_json(other / "environment.json")
    except (DMTError, OSError):
        return False  # of another version, or no run: it says so itself where it is asked for
    return (
        not method.needs_all_labels
        and stage in method.plan()
        and _bearing(stored, stage) == _bearing(setting.config, stage)
        and not environment_changes(environment_there, environment(setting.engine))
        and _splits(own) == _splits(other)
        and all(
            noted_network(own / "splits", label) == noted_network(other / "splits", label) for label in stage.trains
        )
    )


def _bearing(config: Config, stage: Stage) -> dict[str, Any]:
    """Whatever bears on a network of round 0."""
    return config.model_dump(exclude=ROUNDS_ONLY) | {
        "network": getattr(config.networks, stage.network).model_dump(),
        "lr": config.optimizer.supervised_lr or config.optimizer.lr,
        "batch_size": config.batch.supervised or config.batch.size,
    }


def _splits(folder: Path) -> dict[str, bytes]:
    """Content of all files but what tells of other networks, too."""
    paths = sorted((folder / "splits").glob("*.txt"))
    return {path.name: path.read_bytes() for path in paths if path.name != NETWORKS}


def _copy(source: Path, target: Path) -> None:
    """A finished stage's files, durably, the marker last."""
    files = [path for path in sorted(source.iterdir()) if path.is_file() and path.name != "DONE"]
    for path in [*files, source / "DONE"]:
        write_atomic(target / path.name, partial(shutil.copyfile, path))
