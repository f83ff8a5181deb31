"""One stage of the plan, from its pseudo labels to its scores; what is already done is read, not done again."""

import json
import time
from collections.abc import Sequence, Sized
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from dmt.checkpoint import Trainee, seconds_before
from dmt.config import Config
from dmt.config_files import config_hash
from dmt.config_sections import Duration, OptimizerConfig
from dmt.data.loaders import StepBatches
from dmt.data.parts import Part, Parts
from dmt.data.pseudo_labels import PseudoLabels
from dmt.data.unreadable import first_readable
from dmt.engine import Engine
from dmt.evaluate import evaluate
from dmt.losses import balanced_class_weights
from dmt.models.ema import Ema
from dmt.models.network import Network
from dmt.models.weights import FORMAT, LEVELS, METADATA_KEY, REAL, load_weights
from dmt.models.windowed import windowed
from dmt.randomness import generator
from dmt.schedules import SCHEDULES, steps_of_epochs, supervised_epochs
from dmt.scores import Scores, load_scores, save_scores
from dmt.setting import Arm, Setting, StageRecord, load_trained, stage_of
from dmt.stage_files import read_facts, weights_path, write_stage
from dmt.teaching import class_shares, pseudo_labels
from dmt.train import Training, train
from dmt.types import Stage


def run_stage(setting: Setting, arm: Arm, stage: Stage) -> StageRecord:
    """Label with the teacher, start the student, train it, score it, mark it done.

    Raises:
        DMTError: as the pieces do.
    """
    folder = arm.path(stage)
    if not setting.engine.told_by_main((folder / "DONE").is_file):
        began = time.monotonic() - seconds_before(_checkpoint(arm, stage))
        pseudo, facts = pseudo_labels(setting, arm, stage)
        trainee = _start(setting, arm, stage)
        _train(setting, arm, stage, trainee, pseudo, began=began)
        scores = _score(setting, arm, stage, trainee)
        facts["steps"] = stage_steps(setting.config, arm.parts, stage, pseudo)
        if setting.engine.is_main and (skipped := setting.metrics.total(arm.stream(stage), "skipped")):
            facts["skipped_steps"] = skipped
            setting.observer.message(
                f"{arm.title(stage)}: {skipped} steps were left out, their loss being NaN or infinite."
            )
        facts["seconds"] = round(time.monotonic() - began, 2)
        if setting.engine.is_main:
            write_stage(folder, trainee, _metadata(setting, trainee.network), scores, facts)
        setting.engine.wait()
    record = StageRecord(stage=stage, facts=read_facts(folder), scores=load_scores(folder / "scores.safetensors"))
    setting.observer.stage_finished(arm.title(stage), _outcome(record))
    return record


def _outcome(record: StageRecord) -> str:
    """A finished stage in a few words."""
    known = {name: scores.figures().get(scores.headline) for name, scores in record.scores.items()}
    figures = [f"{name} {value:.1f} %" for name, value in known.items() if value is not None]
    return ", ".join([f"{record.facts['steps']:,} steps", *figures, f"{record.facts['seconds']:.1f} s"])


def _start(setting: Setting, arm: Arm, stage: Stage) -> Trainee:
    """The student as its stage begins: fresh, or with its own weights of the round before."""
    network = setting.build_network(stage.network, generator(setting.config.seed, f"{arm.stream(stage)}/init"))
    if stage.start == "finetune":
        before = stage_of(setting.plan, stage.network, stage.round - 1)
        load_weights(network, weights_path(arm.path(before)), allow_missing=False)
    elif stage.network in setting.start_weights:
        load_weights(network, setting.start_weights[stage.network], allow_missing=True)
    setting.engine.place(network)
    optimizer = build_optimizer(network, setting.config.optimizer, setting.engine)
    ema = setting.config.ema
    average = None if ema is None else Ema(network, decay=ema.decay, warmup=ema.warmup)
    return Trainee(network, optimizer, average)


def build_optimizer(network: Network, settings: OptimizerConfig, engine: Engine) -> Optimizer:
    """The optimizer that the config names, over all weights of a network that is on its device."""
    # In one kernel, which can also leave a step out without telling the CPU, which would have to wait for that.
    fused = engine.device.type == "cuda"
    weights, decay = network.parameters(), settings.weight_decay
    if settings.name == "adamw":
        betas = (settings.momentum, 0.999)
        return torch.optim.AdamW(weights, lr=settings.lr, betas=betas, weight_decay=decay, fused=fused)
    optimizer = torch.optim.SGD(
        weights,
        lr=settings.lr,
        momentum=settings.momentum,
        nesterov=settings.nesterov,
        weight_decay=decay,
        fused=fused,
    )
    if fused and settings.momentum:
        # Zeros are what a first step starts from. The kernel's own buffers are not set at all when that is left out.
        optimizer.state.update(
            {weight: {"momentum_buffer": torch.zeros_like(weight)} for weight in network.parameters()}
        )
    return optimizer


def _checkpoint(arm: Arm, stage: Stage) -> Path:
    return arm.path(stage) / "checkpoint" / "state.safetensors"


def _train(
    setting: Setting, arm: Arm, stage: Stage, trainee: Trainee, pseudo: PseudoLabels | None, *, began: float
) -> None:
    config = setting.config
    method = setting.method
    supervised_lr = config.optimizer.supervised_lr or config.optimizer.lr
    num_labeled = supervised_batch(config) if pseudo is None else config.batch.labeled
    batches = StepBatches(
        labeled=arm.parts.labeled_for(stage.labeled_subset),
        num_labeled=num_labeled,
        unlabeled=arm.parts.unlabeled,
        pseudo=pseudo,
        num_pseudo=config.batch.size - num_labeled,
        labeled_view=setting.labeled_view,
        pseudo_view=setting.pseudo_view,
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
        steps=stage_steps(config, arm.parts, stage, pseudo),
        lr=supervised_lr if pseudo is None else config.optimizer.lr,
        schedule=SCHEDULES[config.optimizer.schedule],
        step_function=method.supervised_step if pseudo is None else method.training_step,
        augment=setting.augment,
        class_weights=_class_weights(setting, arm),
        cutmix=0.0 if pseudo is None or not setting.task.is_dense else config.crop.cutmix,
        began=began,
        checkpoint=_checkpoint(arm, stage),
        checkpoint_config=config.checkpoint,
        config_hash=config_hash(config),
        seed=config.seed,
        workers=config.workers,
    )
    train(training, engine=setting.engine, observer=setting.observer, metrics=setting.metrics)


def _class_weights(setting: Setting, arm: Arm) -> Tensor | None:
    exponent = setting.config.loss.class_balance
    return None if exponent is None else balanced_class_weights(class_shares(setting, arm), exponent=exponent)


def stage_steps(config: Config, parts: Parts, stage: Stage, pseudo: Sized | None) -> int:
    """Optimizer steps of a stage, from its duration in steps or epochs; of its pseudo labels the number counts."""
    if pseudo is not None:
        num_pseudo = config.batch.size - config.batch.labeled
        return _steps(config.duration, num_images=len(pseudo), batch_size=num_pseudo, epochs=config.duration.epochs)
    duration, num_labeled = config.supervised, len(parts.labeled)
    epochs = duration.epochs
    if duration.oracle_epochs is not None:
        own_validation = config.validation.source == "given"  # the others are training images that were set aside
        num_validation = 0 if parts.validation is None or own_validation else len(parts.validation)
        num_images = num_labeled + len(parts.unlabeled) + num_validation
        epochs = supervised_epochs(duration.oracle_epochs, num_images=num_images, num_labeled=num_labeled)
    # The rule is for all labels; a stage on a sample of them makes as many passes over fewer images (spec 1.12).
    own = len(parts.labeled_for(stage.labeled_subset))
    return _steps(duration, num_images=own, batch_size=supervised_batch(config), epochs=epochs)


def supervised_batch(config: Config) -> int:
    """Images of a step in supervised training."""
    return config.batch.supervised or config.batch.size


def _steps(duration: Duration, *, num_images: int, batch_size: int, epochs: float | None) -> int:
    if duration.steps is not None:
        return duration.steps
    assert epochs is not None
    return steps_of_epochs(epochs, num_images=num_images, batch_size=batch_size)


def ensemble_scores(setting: Setting, arm: Arm) -> Scores | None:
    """The last round's networks together on the test part, by their mean probabilities; None where it has but one."""
    last_round = [stage for stage in setting.plan if stage.round == setting.plan[-1].round]
    if len(last_round) < 2 or arm.parts.test is None:
        return None
    path = arm.folder / "rounds" / str(last_round[0].round) / "ensemble" / "scores.safetensors"
    if not setting.engine.told_by_main(path.is_file):
        networks = [load_trained(setting, arm, stage) for stage in last_round]
        scores = _evaluate(setting, networks, arm.parts.test, "ensemble of the last round: test")
        if setting.engine.is_main:
            save_scores(path, {"test": scores})
        setting.engine.wait()
    return load_scores(path)["test"]


def _score(setting: Setting, arm: Arm, stage: Stage, trainee: Trainee) -> dict[str, Scores]:
    """Scores on the test part (reported) and on the validation part (for choices), where the arm has them."""
    parts = {"test": arm.parts.test, "validation": arm.parts.validation}
    return {
        name: _evaluate(setting, [trainee.reported], part, f"{arm.title(stage)}: {name}")
        for name, part in parts.items()
        if part is not None
    }


def _evaluate(setting: Setting, networks: Sequence[nn.Module], part: Part, title: str) -> Scores:
    """Scores by what `dmt evaluate` sees of an image, too."""
    return evaluate(
        [windowed(one, setting.config.rounds.window) for one in networks] if setting.task.is_dense else networks,
        part,
        task=setting.task,
        engine=setting.engine,
        batch_size=setting.config.batch.size,
        workers=setting.config.workers,
        title=title,
        observer=setting.observer,
    )


def _metadata(setting: Setting, network: Network) -> dict[str, str]:
    """What weights must not travel without: how images are prepared and what the classes are called."""
    described = {
        "format": FORMAT,
        "network": network.name,
        "preprocessing": asdict(network.preprocessing),
        "class_names": setting.data.class_names,
        "image_size": setting.data.image_size,
        "channels": setting.data.channels,
        "value_range": setting.data.pixel_rule.value_range,
        "exif_orientation": setting.data.pixel_rule.exif_orientation,
        "numbers": REAL if first_readable(setting.data.train).is_floating_point() else LEVELS,
        "palette": setting.data.palette,
    }
    return {METADATA_KEY: json.dumps(described)}
