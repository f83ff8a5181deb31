"""One stage of the plan, from its pseudo labels to its scores; what is already done is read, not done again."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dmt.checkpoint import Trainee
from dmt.config import Config, Duration
from dmt.config_files import config_hash
from dmt.data.loaders import StepBatches
from dmt.data.parts import Parts
from dmt.data.pseudo_labels import Provenance, PseudoLabels, select, unlabeled_only
from dmt.engine import Engine
from dmt.errors import DataError
from dmt.evaluate import Scores, evaluate, load_scores, pseudo_label_accuracy
from dmt.files import read_json
from dmt.label import label, weights_hash
from dmt.methods.base import Method
from dmt.metrics_log import MetricsLog
from dmt.models.ema import Ema
from dmt.models.network import Network
from dmt.models.weights import load_weights
from dmt.randomness import generator
from dmt.schedules import SCHEDULES, steps_of_epochs, supervised_epochs
from dmt.stage_files import weights_path, write_stage
from dmt.train import Augment, Training, train
from dmt.types import Observer, PseudoSpec, Stage


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all stages of a run share."""

    config: Config
    method: Method
    plan: tuple[Stage, ...]
    class_names: tuple[str, ...]
    image_size: tuple[int, int]
    engine: Engine
    build_network: Callable[[str, np.random.Generator], Network]
    augment: Augment
    observer: Observer
    metrics: MetricsLog


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A whole plan on one choice of labels: the main one, or a fold of the cross-validation.

    Attributes:
        name: names the arm's random streams; empty for the main one.
        folder: where its stages live.
        parts: its images and labels.
    """

    name: str
    folder: Path
    parts: Parts

    def path(self, stage: Stage) -> Path:
        """The folder of a stage."""
        return self.folder / stage.folder

    def stream(self, stage: Stage) -> str:
        """The name of a stage's random streams."""
        return f"{self.name}{stage.folder}"

    def title(self, stage: Stage) -> str:
        """The stage in a reader's words."""
        return f"{self.name.strip('/').replace('/', ' ')}: {stage.title}" if self.name else stage.title


@dataclass(frozen=True, kw_only=True)
class StageRecord:
    """A finished stage: facts for the result, and scores on the parts that were set aside."""

    stage: Stage
    facts: dict[str, Any]
    scores: dict[str, Scores]


def run_stage(setting: Setting, arm: Arm, stage: Stage) -> StageRecord:
    """Label with the teacher, start the student, train it, score it, mark it done.

    Raises:
        DMTError: as the pieces do.
    """
    folder = arm.path(stage)
    if not (folder / "DONE").is_file():
        began = time.monotonic()
        pseudo, facts = _pseudo_labels(setting, arm, stage)
        trainee = _start(setting, arm, stage)
        _train(setting, arm, stage, trainee, pseudo)
        scores = _score(setting, arm, stage, trainee)
        facts["steps"] = stage_steps(setting.config, arm.parts, pseudo)
        facts["seconds"] = round(time.monotonic() - began, 2)
        if setting.engine.is_main:
            write_stage(folder, trainee, _metadata(setting, trainee.network), scores, facts)
        setting.engine.wait()
    record = StageRecord(
        stage=stage, facts=read_json(folder / "DONE")["facts"], scores=load_scores(folder / "scores.safetensors")
    )
    setting.observer.stage_finished(arm.title(stage), _outcome(record))
    return record


def _outcome(record: StageRecord) -> str:
    """A finished stage in a few words."""
    figures = [f"{name} {scores.figures()['accuracy']:.1f} %" for name, scores in record.scores.items()]
    return ", ".join([f"{record.facts['steps']:,} steps", *figures, f"{record.facts['seconds']:.1f} s"])


def _stage_of(plan: tuple[Stage, ...], network: str, number: int) -> Stage:
    """The stage that trained a network in a round; the last one where a baseline shares round 0 with a warm start."""
    return [stage for stage in plan if stage.round == number and network in stage.trains][-1]


def _pseudo_labels(setting: Setting, arm: Arm, stage: Stage) -> tuple[PseudoLabels | None, dict[str, Any]]:
    """The pseudo labels that a stage trains on, and what a result tells of them."""
    if stage.is_supervised:
        return None, {"top_fraction": None, "num_pseudo_labels": 0}
    if stage.pseudo is None:
        pseudo = unlabeled_only(arm.parts.unlabeled)
        return pseudo, {"top_fraction": None, "num_pseudo_labels": len(pseudo)}
    pseudo = _label(setting, arm, stage, stage.pseudo)
    facts: dict[str, Any] = {
        "top_fraction": stage.pseudo.top_fraction,
        "num_pseudo_labels": len(pseudo),
        "pseudo_labels_per_class": torch.bincount(pseudo.label, minlength=arm.parts.num_classes).tolist(),
    }
    if arm.parts.unlabeled.truth is not None:
        facts["pseudo_label_accuracy"] = round(pseudo_label_accuracy(pseudo, arm.parts.unlabeled.truth), 4)
    return pseudo, facts


def _label(setting: Setting, arm: Arm, stage: Stage, spec: PseudoSpec) -> PseudoLabels:
    teaching = _stage_of(setting.plan, spec.teacher, spec.teacher_round)
    weights = weights_path(arm.path(teaching))
    provenance = Provenance(
        teacher=arm.title(teaching), teacher_hash=weights_hash(weights), config_hash=config_hash(setting.config)
    )
    teacher = setting.build_network(spec.teacher, generator(setting.config.seed, "unused"))
    load_weights(teacher, weights, allow_missing=False)
    prediction = label(
        setting.engine.place(teacher),
        arm.parts.unlabeled,
        arm.path(stage) / "pseudo_labels",
        provenance,
        engine=setting.engine,
        batch_size=setting.config.batch.size,
        workers=setting.config.workers,
        title=f"{arm.title(stage)}: labels by {teaching.title}",
        observer=setting.observer,
    )
    _warn_never_predicted(setting, arm.title(stage), prediction.label)
    labels = arm.parts.labeled.labels(range(len(arm.parts.labeled)))
    counts = torch.bincount(labels, minlength=arm.parts.num_classes).tolist()
    pseudo = select(prediction, spec, class_shares=[count / sum(counts) for count in counts])
    if len(pseudo) == 0:
        raise DataError(
            f"{arm.title(stage)}: the teacher has no usable label for any of {len(prediction.label)} images."
        )
    return pseudo


def _warn_never_predicted(setting: Setting, title: str, label: Tensor) -> None:
    predicted = set(label.tolist())
    missing = [name for number, name in enumerate(setting.class_names) if number not in predicted]
    if missing:
        setting.observer.message(f"{title}: the teacher predicts no image as {', '.join(missing)}.")


def _start(setting: Setting, arm: Arm, stage: Stage) -> Trainee:
    """The student as its stage begins: fresh, or with its own weights of the round before."""
    network = setting.build_network(stage.network, generator(setting.config.seed, f"{arm.stream(stage)}/init"))
    if stage.start == "finetune":
        before = _stage_of(setting.plan, stage.network, stage.round - 1)
        load_weights(network, weights_path(arm.path(before)), allow_missing=False)
    setting.engine.place(network)
    settings = setting.config.optimizer
    optimizer = torch.optim.SGD(
        network.parameters(),
        lr=settings.lr,
        momentum=settings.momentum,
        nesterov=settings.nesterov,
        weight_decay=settings.weight_decay,
    )
    ema = setting.config.ema
    average = None if ema is None else Ema(network, decay=ema.decay, warmup=ema.warmup)
    return Trainee(network, optimizer, average)


def _train(setting: Setting, arm: Arm, stage: Stage, trainee: Trainee, pseudo: PseudoLabels | None) -> None:
    config = setting.config
    method = setting.method
    supervised_lr = config.optimizer.supervised_lr or config.optimizer.lr
    num_labeled = supervised_batch(config) if pseudo is None else config.batch.labeled
    batches = StepBatches(
        labeled=arm.parts.labeled,
        num_labeled=num_labeled,
        unlabeled=arm.parts.unlabeled,
        pseudo=pseudo,
        num_pseudo=config.batch.size - num_labeled,
        seed=config.seed,
        stage=arm.stream(stage),
        rank=setting.engine.rank,
        world_size=setting.engine.world_size,
    )
    training = Training(
        title=arm.title(stage),
        stream=arm.stream(stage),
        trainees={stage.network: trainee},
        batches=batches,
        steps=stage_steps(config, arm.parts, pseudo),
        lr=supervised_lr if pseudo is None else config.optimizer.lr,
        schedule=SCHEDULES[config.optimizer.schedule],
        step_function=method.supervised_step if pseudo is None else method.training_step,
        augment=setting.augment,
        checkpoint=arm.path(stage) / "checkpoint" / "state.safetensors",
        checkpoint_config=config.checkpoint,
        config_hash=config_hash(config),
        seed=config.seed,
        workers=config.workers,
    )
    train(training, engine=setting.engine, observer=setting.observer, metrics=setting.metrics)


def stage_steps(config: Config, parts: Parts, pseudo: PseudoLabels | None) -> int:
    """Optimizer steps of a stage, from its duration in steps or epochs."""
    if pseudo is not None:
        num_pseudo = config.batch.size - config.batch.labeled
        return _steps(config.duration, num_images=len(pseudo), batch_size=num_pseudo, epochs=config.duration.epochs)
    duration, num_labeled = config.supervised, len(parts.labeled)
    epochs = duration.epochs
    if duration.oracle_epochs is not None:
        num_images = num_labeled + len(parts.unlabeled) + (0 if parts.validation is None else len(parts.validation))
        epochs = supervised_epochs(duration.oracle_epochs, num_images=num_images, num_labeled=num_labeled)
    return _steps(duration, num_images=num_labeled, batch_size=supervised_batch(config), epochs=epochs)


def supervised_batch(config: Config) -> int:
    """Images of a step in supervised training."""
    return config.batch.supervised or config.batch.size


def _steps(duration: Duration, *, num_images: int, batch_size: int, epochs: float | None) -> int:
    if duration.steps is not None:
        return duration.steps
    assert epochs is not None
    return steps_of_epochs(epochs, num_images=num_images, batch_size=batch_size)


def _score(setting: Setting, arm: Arm, stage: Stage, trainee: Trainee) -> dict[str, Scores]:
    """Scores on the test part (reported) and on the validation part (for choices), where the arm has them."""
    parts = {"test": arm.parts.test, "validation": arm.parts.validation}
    scores = {}
    for name, part in parts.items():
        if part is None:
            continue
        scores[name] = evaluate(
            trainee.reported,
            part,
            engine=setting.engine,
            batch_size=setting.config.batch.size,
            workers=setting.config.workers,
            title=f"{arm.title(stage)}: {name}",
            observer=setting.observer,
        )
    return scores


def _metadata(setting: Setting, network: Network) -> dict[str, str]:
    """What weights must not travel without: how images are prepared and what the classes are called."""
    described = {
        "format": 1,
        "network": network.name,
        "preprocessing": asdict(network.preprocessing),
        "class_names": setting.class_names,
        "image_size": setting.image_size,
    }
    # Under one key: safetensors writes several in a random order, and equal weights must be equal files.
    return {"dmt": json.dumps(described)}
