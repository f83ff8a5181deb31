"""A few steps of every kind that a run's plan has, by the run's own code, in a folder that is thrown away."""

import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dmt.check.estimate import Measured, kind_of
from dmt.config import Config
from dmt.config_sections import Duration
from dmt.data.augment import Augment
from dmt.data.images import DataSet
from dmt.data.parts import Part, Parts, UnlabeledPart
from dmt.engine import peak_memory_mb
from dmt.methods import build_method
from dmt.progress import Silent
from dmt.randomness import generator
from dmt.resources import shortages_told
from dmt.run import make_setting
from dmt.self_supervised import pretrain
from dmt.setting import Arm
from dmt.stages import run_stage
from dmt.types import Observer, Stage

NUM_STEPS, WARM_UP = 10, 2
"""Steps that are measured of each kind, after some that are not: the first ones are slower."""
FEW_STEPS = 2
"""Of networks so slow that more would take minutes."""
PATIENCE = 60.0
"""Seconds that the steps of one kind may take before fewer must do."""

Clock = Callable[[], float]


class _TooSlowError(Exception):
    """The steps of one kind would take longer than anybody waits for an estimate."""


class _Stopwatch:
    """Stands before the augmentation, which every step begins with, and notes when that is."""

    def __init__(self, augment: Augment, *, clock: Clock, num_steps: int, device: torch.device) -> None:
        self._augment, self._clock, self._num_steps, self._device = augment, clock, num_steps, device
        self.times: list[float] = []

    def __call__(self, images: Tensor, stream: np.random.Generator) -> Tensor:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        self.times.append(self._clock())
        if len(self.times) == 3 and self._num_steps > FEW_STEPS:
            step = self.times[2] - self.times[1]
            if step * self._num_steps > PATIENCE:
                raise _TooSlowError
        return self._augment(images, stream)

    def seconds_a_step(self) -> float:
        """The mean over the steps after the first ones."""
        return (self.times[-1] - self.times[WARM_UP]) / (len(self.times) - 1 - WARM_UP)


class _Times(Silent):
    """An observer that notes how long each piece of work took, and passes on what can be shown."""

    def __init__(self, shown: Observer, clock: Clock) -> None:
        self._shown, self._clock = shown, clock
        self._piece, self._total, self._start = "", 0, 0.0
        self.seconds: dict[str, list[float]] = {"label": [], "score": []}

    def task_started(self, title: str, total: int, done: int = 0) -> None:
        """Remember when."""
        self._shown.task_started(f"measuring: {title}", total, done)
        self._piece, self._total, self._start = _piece(title), total, self._clock()

    def task_advanced(self, done: int, note: str = "") -> None:
        """Show it."""
        self._shown.task_advanced(done)

    def task_finished(self) -> None:
        """Note the seconds of each of its images."""
        self._shown.task_finished()
        if self._piece and self._total:
            self.seconds[self._piece].append((self._clock() - self._start) / self._total)


def measure(
    config: Config, data: DataSet, parts: Parts, *, observer: Observer, clock: Clock = time.perf_counter
) -> Measured:
    """Train each kind of stage of a plan for some steps on some of the images, and label some of them.

    Args:
        config: with its validation settled.
        data: the images.
        parts: of the main arm.
        observer: told of the progress.
        clock: seconds.

    Raises:
        DMTError: as a run would.
    """
    with tempfile.TemporaryDirectory(prefix="dmt-check-") as name, suppress(_TooSlowError):
        return _measure(config, data, parts, Path(name), NUM_STEPS, observer=observer, clock=clock)
    with tempfile.TemporaryDirectory(prefix="dmt-check-") as name:
        return _measure(config, data, parts, Path(name), FEW_STEPS, observer=observer, clock=clock)


def _measure(
    config: Config, data: DataSet, parts: Parts, folder: Path, num_steps: int, *, observer: Observer, clock: Clock
) -> Measured:
    tiny = _shortened(config, WARM_UP + num_steps + 1)  # a step is over when the next one begins
    method, times = build_method(tiny), _Times(observer, clock)
    views = tiny.rounds.model_copy(update={"label_views": config.rounds.label_views})
    tried = tiny.model_copy(update={"rounds": views})  # networks are tried at the sizes of all views, and timed at one
    setting = replace(make_setting(tried, method, data, None, folder=folder, observer=times), config=tiny)
    arm = Arm(name="", folder=folder, parts=_some(tiny, parts))
    steps: dict[str, float] = {}
    with shortages_told(config, image_size=data.image_size):
        pretrain(setting, arm)  # for the memory that it takes; its time is told from the steps of others
        for stage in _one_of_each(method.plan()):
            watch = _Stopwatch(setting.augment, clock=clock, num_steps=num_steps, device=setting.engine.device)
            run_stage(replace(setting, augment=watch), arm, stage)
            steps[kind_of(stage)] = watch.seconds_a_step()
    first = arm.path(setting.plan[0])
    return Measured(
        seconds_a_step=steps,
        seconds_a_label=_mean(times.seconds["label"]),
        seconds_a_score=_mean(times.seconds["score"]),
        peak_memory_mb=peak_memory_mb(setting.engine.device),
        weights_bytes=sum(path.stat().st_size for path in first.glob("*.safetensors")),
        num_steps=num_steps,
    )


def _shortened(config: Config, num_steps: int) -> Config:
    """One round of a few steps, whose teacher, which knows nothing yet, has all its labels taken."""
    begins = config.self_supervised
    rounds = config.rounds.model_copy(
        update={"top_fractions": [1.0], "selection": "overall", "label_views": "plain"}
        | {"calibration": "none", "alignment": "none", "strangers": "keep"},
    )
    return config.model_copy(
        update={
            "rounds": rounds,
            "self_supervised": None if begins is None else begins.model_copy(update={"steps": FEW_STEPS}),
            "supervised": Duration(steps=num_steps),
            "duration": Duration(steps=num_steps),
        }
    )


def _some(config: Config, parts: Parts) -> Parts:
    """All labels, and as many other images as two batches hold, at random."""

    def some(part: Part | UnlabeledPart, count: int) -> list[int]:
        order = generator(config.seed, "check").permutation(len(part))[:count]
        return sorted(order.tolist())

    count = 2 * config.batch.size
    unlabeled = parts.unlabeled.subset(some(parts.unlabeled, count))
    scored = parts.test or parts.validation
    test = None if scored is None else scored.subset(some(scored, count))
    return replace(parts, unlabeled=unlabeled, validation=None, test=test)


def _one_of_each(plan: Sequence[Stage]) -> list[Stage]:
    """All of the first round, and those that it stands on."""
    return [stage for stage in plan if stage.round <= 1]


def _piece(title: str) -> str:
    if ": labels by " in title:
        return "label"
    return "score" if title.endswith(": test") else ""


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else 0.0
