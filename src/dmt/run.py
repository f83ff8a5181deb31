"""The story of a run: split, plan, and for each stage label, train, evaluate; then choose and report."""

import sys
import warnings
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

from dmt.assemble import build_arms, has_split, learnable, resolve_validation, stored_split
from dmt.choose import choose, unequal_pair
from dmt.config import Config
from dmt.config_files import load_config
from dmt.data.images import DataSet
from dmt.engine import Engine, environment, environment_changes, peak_memory_mb
from dmt.errors import ConfigError
from dmt.loading import load_data
from dmt.methods import build_method, told_without_effect
from dmt.methods.base import Method
from dmt.metrics_log import MetricsLog
from dmt.models.own import Models
from dmt.networks import network_builder
from dmt.own_networks import check_networks, write_networks
from dmt.progress import Silent
from dmt.resources import shortages_told
from dmt.result import build_result
from dmt.round_0 import take_round_0
from dmt.run_folder import RunFolder, default_run_folder, open_run_folder
from dmt.scores import Scores
from dmt.self_supervised import pretrain, start_weights
from dmt.setting import Arm, Setting, StageRecord
from dmt.stage_files import plan_as_json, undone_stage
from dmt.stages import ensemble_scores, run_stage
from dmt.tasks import TASKS
from dmt.teaching import require_label_space
from dmt.types import Observer, Stage, networks_of


def run(
    config: Config | Mapping[str, Any] | str | Path,
    datasets: Mapping[str, Any] | DataSet | None = None,
    models: Models | None = None,
    *,
    run_dir: str | Path | None = None,
    observer: Observer | None = None,
    neighbours: Sequence[Path] = (),
) -> dict[str, Any]:
    """Train by a config and return the result that is also in the run folder's result.json.

    The same call on the same folder goes on where it stopped, and returns at once when it was finished. Own data sets
    and networks are not part of the config: bring the same ones again.

    Args:
        config: a `Config`, a dict, a preset's name or a YAML file.
        datasets: one's own data by part: `train`, or `labeled` and `unlabeled`, each with an optional `test` and
            `validation`. A part is a map-style torch data set of (image, label) or a pair of arrays (X, y); in
            `unlabeled`, images alone will do. In segmentation a label is a mask `(H, W)`, or None. Without `test` no
            figures are reported.
        models: own networks `a` (and `b`), from images in [0, 1] to logits `(N, C)`: a function that makes a fresh one,
            or a module whose weights every stage that starts from scratch begins with.
        run_dir: the run folder; by default named after method, seed and config under `runs/`.
        observer: told of the progress.
        neighbours: other run folders, whose networks of round 0 are taken over where this run's would be the same bits.

    Raises:
        DMTError: for everything that the user can mend.
    """
    config = _loaded(config)
    data = load_data(config, datasets)
    config = learnable(config, data)
    method = build_method(config)
    config = resolve_validation(config, data, plan=method.plan())
    engine = Engine(config.precision)
    observer = observer if observer is not None and engine.is_main else Silent()
    path = Path(run_dir) if run_dir else default_run_folder(config)
    with open_run_folder(path, config, engine=engine) as folder:
        if (finished := engine.told_by_main(lambda: _finished(folder, method.plan(), observer))) is not None:
            check_networks(folder.path / "splits", folder.config, models, networks_of(method.plan()))
            stored_split(folder.config, data, folder.path / "splits")
            observer.message(f"This run is finished; its folder is {folder.path}.")
            return finished
        # By the config that the run folder holds: a resumed run keeps what it once resolved.
        setting = make_setting(folder.config, method, data, models, folder=folder.path, observer=observer)
        main, folds = _begin(setting, folder, models)
        with shortages_told(setting.config, image_size=data.image_size):
            if models is None:  # own ones have no name to know them by
                take_round_0(setting, [main, *folds], neighbours)
            seconds = pretrain(setting, main)
            records, held_out = _run_stages(setting, main, folds)
            result = _result(setting, main, records, held_out, seconds_before=seconds)
        if engine.is_main:
            folder.write_json("result.json", result)
        return result


def _finished(folder: RunFolder, plan: Sequence[Stage], observer: Observer) -> dict[str, Any] | None:
    """The result of a run that is finished; it is taken away where a stage is not done any more."""
    result, undone = folder.result, undone_stage(folder.path, plan)
    if result is None or undone is None:
        return result
    observer.message(f"{undone} is not done any more, though this run was finished: it is trained again.")
    for path in (folder.path / "result.json", *folder.path.glob("rounds/*/ensemble/scores.safetensors")):
        path.unlink(missing_ok=True)
    return None


def _begin(setting: Setting, folder: RunFolder, models: Models | None) -> tuple[Arm, list[Arm]]:
    """Write down what the run stands on, or check it against what it began with; the arms, all labels' first."""
    engine, splits = setting.engine, folder.path / "splits"
    _check_processes(setting.config, engine)
    has_begun = engine.told_by_main(lambda: has_split(folder.path))
    of_networks = check_networks if has_begun else write_networks
    engine.told_by_main(lambda: of_networks(splits, setting.config, models, networks_of(setting.plan)))
    main, folds = build_arms(
        setting.config,
        setting.data,
        folder.path,
        has_begun=has_begun,
        needs_all_labels=setting.method.needs_all_labels,
    )
    _describe(folder, engine, setting.plan)
    num_stages = len(setting.plan) * (1 + len(folds)) + len(setting.start_weights)
    setting.observer.run_started(str(folder.path), num_stages)
    return main, folds


def make_setting(
    config: Config,
    method: Method,
    data: DataSet,
    models: Models | None,
    *,
    folder: Path,
    observer: Observer,
) -> Setting:
    """What all stages share.

    Raises:
        DMTError: a network cannot be built, or does not fit the images.
    """
    task, plan = TASKS[config.task], method.plan()
    return Setting(
        config=config,
        method=method,
        plan=plan,
        task=task,
        data=data,
        engine=Engine(config.precision),
        build_network=network_builder(config, data, models, plan=plan),
        start_weights=start_weights(config, models, folder, plan=plan),
        labeled_view=task.labeled_view(config, data),
        pseudo_view=task.pseudo_view(config, data),
        augment=task.augment(config),
        observer=observer,
        metrics=MetricsLog(folder / "metrics.jsonl"),
    )


def _run_stages(setting: Setting, main: Arm, folds: Sequence[Arm]) -> tuple[list[StageRecord], list[list[StageRecord]]]:
    """The whole plan, on all labels and then on each fold's; of the main arm, and of each fold."""
    plan = setting.plan
    first = next((stage for stage in plan if stage.pseudo is not None), None)
    if first is not None and not setting.engine.told_by_main((main.path(first) / "DONE").is_file):
        # Now, and not after hours of supervised training.
        setting.engine.told_by_main(lambda: require_label_space(setting, main, first))
    records = [run_stage(setting, main, stage) for stage in plan if stage.round == 0]
    if message := _unequal(setting, _validation_scores(records, [])):
        warnings.warn(message, stacklevel=4)  # before the rounds begin, where validation labels show it
    records += [run_stage(setting, main, stage) for stage in plan if stage.round > 0]
    return records, [[run_stage(setting, fold, stage) for stage in plan] for fold in folds]


def _result(
    setting: Setting,
    main: Arm,
    records: Sequence[StageRecord],
    held_out: Sequence[Sequence[StageRecord]],
    *,
    seconds_before: float,
) -> dict[str, Any]:
    """Choose by the labels that are for choices, and put everything together."""
    validation = _validation_scores(records, held_out)
    return build_result(
        setting.config,
        records,
        validation,
        choose(setting.plan, validation),
        main.parts,
        ensemble=ensemble_scores(setting, main),
        warning=_unequal(setting, validation),
        class_names=setting.data.class_names,
        seconds=seconds_before + sum(record.facts["seconds"] for arm in [records, *held_out] for record in arm),
        peak_memory_mb=peak_memory_mb(setting.engine.device),
    )


def _loaded(source: Config | Mapping[str, Any] | str | Path) -> Config:
    """The config, with a warning of what in it is odd."""
    for sentence in told_without_effect(source).values():
        warnings.warn(sentence, stacklevel=3)
    config = load_config(source)
    fractions = config.rounds.top_fractions
    if any(later < earlier for earlier, later in pairwise(fractions)):
        warnings.warn(f"rounds.top_fractions fall at some round: {fractions}; the paper's rise.", stacklevel=3)
    return config


def _check_processes(config: Config, engine: Engine) -> None:
    """Each process takes an equal share of every batch, so that the mean over processes is the mean over the batch."""
    batch = config.batch
    sizes = {
        "batch.size": batch.size,
        "batch.labeled": batch.labeled,
        "batch.supervised": batch.supervised or batch.size,
    }
    if config.self_supervised is not None:
        sizes["self_supervised.batch"] = config.self_supervised.batch
        if config.self_supervised.batch < 2 * engine.world_size:
            raise ConfigError(
                f"self_supervised.batch is {config.self_supervised.batch}; each of {engine.world_size} processes needs "
                "two images at least, to tell them apart."
            )
    for name, size in sizes.items():
        if size % engine.world_size:
            raise ConfigError(f"{name} is {size}; with {engine.world_size} processes it must be a multiple of that.")


def _describe(folder: RunFolder, engine: Engine, plan: Sequence[Stage]) -> None:
    """Write what the run stands on, or warn where a resumed run stands on something else now."""
    current, stored = environment(engine), folder.environment
    changes = environment_changes(stored, current) if stored is not None else {}
    if changes:
        told = ", ".join(f"{key} {old} -> {new}" for key, (old, new) in changes.items())
        warnings.warn(f"Resumed in another environment ({told}): the result may differ in the last bits.", stacklevel=4)
    if engine.is_main and stored is None:
        folder.write_json("plan.json", plan_as_json(tuple(plan)))
        folder.write_json("environment.json", current)  # last: where it is, a resumed run writes neither


def _validation_scores(
    records: Sequence[StageRecord], held_out: Sequence[Sequence[StageRecord]]
) -> dict[Stage, Scores]:
    """Each stage's scores on labels that choices may look at: the validation part, or all folds' held-out labels."""
    if not held_out:
        return {record.stage: record.scores["validation"] for record in records if "validation" in record.scores}
    return {
        of_folds[0].stage: _pooled([record.scores["validation"] for record in of_folds])
        for of_folds in zip(*held_out, strict=True)
    }


def _unequal(setting: Setting, validation: Mapping[Stage, Scores]) -> str | None:
    return unequal_pair(setting.plan, validation, sampled=setting.config.rounds.dms_share is not None)


def _pooled(scores: Sequence[Scores]) -> Scores:
    return type(scores[0]).pool(scores)


class _CallableModule(ModuleType):
    """Makes `dmt.run(...)` work: importing this module puts it, and not the function, into the package as `run`."""

    def __call__(self, *arguments: Any, **keywords: Any) -> dict[str, Any]:
        """See the function `run`."""
        return run(*arguments, **keywords)


sys.modules[__name__].__class__ = _CallableModule
