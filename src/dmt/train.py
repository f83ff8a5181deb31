"""The inner loop: one stage's optimizer steps, the same for every method and task."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from dmt.checkpoint import CheckpointClock, Trainee, load_checkpoint, save_checkpoint
from dmt.config_sections import CheckpointConfig
from dmt.data.cutmix import cutmix
from dmt.data.loaders import StepBatches, load_in_order
from dmt.engine import Engine
from dmt.finite import FiniteGuard
from dmt.metrics_log import MetricsLog
from dmt.randomness import generator, seeded_torch
from dmt.schedules import Schedule
from dmt.signals import stop, stop_requested
from dmt.types import Batch, Observer, StepOutput

WINDOW = 20
"""Steps between looks at the loss: a look waits for the GPU, a step does not."""

StepFunction = Callable[[Mapping[str, nn.Module], Batch, float, np.random.Generator], StepOutput]
Augment = Callable[[Tensor, np.random.Generator], Tensor]


@dataclass(frozen=True, kw_only=True)
class Training:
    """One stage, ready to train.

    Attributes:
        title: the stage in words.
        stream: names the stage's random streams.
        trainees: the networks to train, by label, in the order of the plan.
        batches: the data of every step.
        steps: how many optimizer steps.
        lr: base learning rate.
        schedule: factor of it over the stage.
        step_function: the method's.
        augment: uint8 images -> float images in [0, 1].
        cutmix: share of the pseudo-labeled images that are covered in part; 0 = none.
        class_weights: `(C,)`, of the loss; None = all classes alike.
        began: when the stage began, by `time.monotonic`, less what earlier starts took of it.
        checkpoint: where the running state is kept.
        checkpoint_config: how often.
        config_hash: ties the checkpoint to its run.
        seed: the run's.
        workers: processes that load batches.
    """

    title: str
    stream: str
    trainees: Mapping[str, Trainee]
    batches: StepBatches
    steps: int
    lr: float
    schedule: Schedule
    step_function: StepFunction
    augment: Augment
    cutmix: float
    class_weights: Tensor | None
    began: float
    checkpoint: Path
    checkpoint_config: CheckpointConfig
    config_hash: str
    seed: int
    workers: int


def train(training: Training, *, engine: Engine, observer: Observer, metrics: MetricsLog) -> None:
    """Train a stage to its end, from its last checkpoint where there is one.

    Raises:
        StoppedError: a signal came in; the step at hand was finished, and a checkpoint written.
        NonFiniteError: the loss was NaN or infinite in too many steps in a row, or a weight is; the last checkpoint is
            from before that.
    """
    start = load_checkpoint(training.checkpoint, training.trainees, engine=engine, config_hash=training.config_hash)
    if engine.is_main:
        metrics.rewind(training.stream, start)
    networks = {label: engine.distribute(one.network.train()) for label, one in training.trainees.items()}
    guard = FiniteGuard(training.trainees, title=training.title, engine=engine)
    clock = CheckpointClock(training.checkpoint_config)
    window: list[StepOutput] = []
    observer.task_started(training.title, training.steps, start)
    steps = range(start, training.steps)
    for step, batch in zip(steps, load_in_order(training.batches, steps, workers=training.workers), strict=True):
        window.append(_train_step(training, networks, batch, step, engine))
        done = step + 1
        is_full = done % WINDOW == 0 or done == training.steps
        is_stopping = engine.any_stops(stop_requested(), at_meeting=is_full)
        if is_full or is_stopping:
            logs = _close_window(window, guard, done)
            if engine.is_main:
                metrics.write({"stage": training.stream, "step": done, **logs})
            # By the main process's clock, on all of them: the check of the weights is a meeting.
            is_due = engine.gather([clock.is_due(len(window))])[0]
            if is_stopping or (is_due and done < training.steps):
                guard.check_weights(done=done)
                _write_checkpoint(training, done, engine)
            # Last, since telling may fail: of processes in a pipe, a signal may have ended the one that listens.
            observer.task_advanced(done, f"loss {logs['loss']:.3f}" if "loss" in logs else "no finite loss")
            if is_stopping:
                engine.wait()  # or the others lose this process while the main one still writes
                raise stop(f"{training.title}: {done:,} of {training.steps:,} steps are written down")
            window = []
    guard.check_weights(done=training.steps)
    for trainee in training.trainees.values():
        engine.align(trainee.network)
        engine.align(trainee.reported)
    observer.task_finished()


def _write_checkpoint(training: Training, done: int, engine: Engine) -> None:
    if engine.is_main:
        save_checkpoint(
            training.checkpoint,
            training.trainees,
            done,
            engine=engine,
            config_hash=training.config_hash,
            seconds=time.monotonic() - training.began,
        )


def _train_step(
    training: Training, networks: Mapping[str, nn.Module], batch: Batch, step: int, engine: Engine
) -> StepOutput:
    """One optimizer step; the order of its random streams is fixed by their names, not by the order of use."""
    progress = step / training.steps
    for trainee in training.trainees.values():
        for group in trainee.optimizer.param_groups:
            group["lr"] = training.lr * training.schedule(progress)
    batch = engine.to_device(replace(batch, class_weights=training.class_weights))
    images = training.augment(batch.images, generator(training.seed, f"{training.stream}/augment", step, engine.rank))
    batch = replace(batch, images=images.contiguous(memory_format=torch.channels_last))
    if training.cutmix > 0:
        mixing = generator(training.seed, f"{training.stream}/cutmix", step, engine.rank)
        batch = cutmix(batch, mixing, probability=training.cutmix)
    stream = generator(training.seed, f"{training.stream}/step", step, engine.rank)
    with seeded_torch(stream), engine.autocast():
        output = training.step_function(networks, batch, progress, stream)
    engine.update(output.loss, [one.optimizer for one in training.trainees.values()])
    for trainee in training.trainees.values():
        if trainee.ema is not None:
            trainee.ema.update()
    return StepOutput(loss=output.loss.detach(), logs=output.logs)


def _close_window(window: list[StepOutput], guard: FiniteGuard, done: int) -> dict[str, float]:
    """Mean loss and logs of the last steps that were taken, and how many were left out.

    Raises:
        NonFiniteError: too many were, in a row.
    """
    losses = torch.stack([output.loss for output in window]).tolist()
    skipped = guard.look(losses, done=done)
    taken = [{"loss": loss, **output.logs} for loss, output in zip(losses, window, strict=True) if math.isfinite(loss)]
    means = {name: float(np.mean([float(logs[name]) for logs in taken])) for name in (taken[0] if taken else ())}
    return means | ({"skipped": skipped} if skipped else {})
