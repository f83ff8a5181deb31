"""Round 0 depends on few settings: runs that agree in them have the same one, bit for bit, and train it once."""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dmt.config import Config
from dmt.config_files import WITHOUT_BEARING, dump_config, load_config
from dmt.errors import ConfigError
from dmt.files import write_text
from dmt.methods import build_method
from dmt.self_supervised import FOLDER as SELF_SUPERVISED
from dmt.types import Stage

ROUNDS_ONLY: dict[str, Any] = {
    **dict.fromkeys(("method", "scheme", "start", "duration", "precision", "networks"), True),
    "rounds": {"top_fractions", "selection", "label_views", "strangers", "stranger_confidence", "window"},
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
    "optimizer": {"lr"},
    "batch": {"labeled"},
    **dict.fromkeys(WITHOUT_BEARING, True),
}
"""Settings that change nothing in round 0; of the networks and the precision, `_round_0` has its own say."""


def take_round_0(config: Config, folder: Path, others: Iterable[Path]) -> None:
    """Begin a new run folder with the finished networks of round 0 of other runs that have the same ones.

    Args:
        config: of the run to begin, its validation source settled.
        folder: the new run's; one that exists is left alone.
        others: run folders of the same seed to look at.
    """
    if folder.exists() or build_method(config).needs_all_labels:
        return
    for stage in _supervised_stages(config):
        matches = ((other, _same_round_0(other, config, stage)) for other in others)
        for other, stored in matches:
            if stored is not None:
                settled = config.model_copy(update={"precision": stored.precision})
                write_text(folder / "config.yaml", dump_config(settled))
                _copy(other, folder, stage)
                break


def _supervised_stages(config: Config) -> list[Stage]:
    return [stage for stage in build_method(config).plan() if stage.round == 0]


def _same_round_0(other: Path, config: Config, stage: Stage) -> Config | None:
    """The other run's config, where its network of this stage is finished and what this run would train."""
    if not (other / stage.folder / "DONE").is_file():
        return None
    try:
        stored = load_config(other / "config.yaml")
    except ConfigError:
        return None  # of another version: that run will say so itself where it is asked for
    if build_method(stored).needs_all_labels or stage not in _supervised_stages(stored):
        return None
    return stored if _round_0(stored, stage) == _round_0(_precision_of(config, stored), stage) else None


def _precision_of(config: Config, stored: Config) -> Config:
    precision = stored.precision if config.precision == "auto" else config.precision
    return config.model_copy(update={"precision": precision})


def _round_0(config: Config, stage: Stage) -> dict[str, Any]:
    """Whatever bears on a network of round 0."""
    return config.model_dump(exclude=ROUNDS_ONLY) | {
        "precision": config.precision,
        "network": getattr(config.networks, stage.network).model_dump(),
        "lr": config.optimizer.supervised_lr or config.optimizer.lr,
        "batch_size": config.batch.supervised or config.batch.size,
    }


def _copy(other: Path, folder: Path, stage: Stage) -> None:
    """The stage's folder, of the main run and of every fold, and what it began with; each marker last."""
    begins_with = other / SELF_SUPERVISED / stage.network
    for path in [begins_with, other / stage.folder, *sorted(other.glob(f"folds/*/{stage.folder}"))]:
        if (path / "DONE").is_file():
            copy = folder / path.relative_to(other)
            shutil.copytree(path, copy, ignore=shutil.ignore_patterns("DONE", "checkpoint"), dirs_exist_ok=True)
            write_text(copy / "DONE", (path / "DONE").read_text(encoding="utf-8"))
