"""How long a run takes, and how much memory and disk: arithmetic on what was measured."""

from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass
from typing import Any

from dmt.alignment import MAX_IMAGES
from dmt.config import Config
from dmt.data.memory import DEFAULT_BYTES
from dmt.data.parts import Parts
from dmt.models.label_views import LABEL_SCALES
from dmt.stages import stage_steps, supervised_batch
from dmt.tasks import TASKS
from dmt.types import Stage, networks_of


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a few steps on this machine took.

    Attributes:
        seconds_a_step: by the stage's kind, see `kind_of`.
        seconds_a_label: of an image that a teacher labels, its own part of writing the answer down included.
        seconds_a_score: of an image that is scored on.
        peak_memory_mb: of this process, or of the GPU.
        weights_bytes: of what a finished stage keeps.
        num_steps: that were measured, of each kind.
    """

    seconds_a_step: Mapping[str, float]
    seconds_a_label: float
    seconds_a_score: float
    peak_memory_mb: int
    weights_bytes: int
    num_steps: int


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a run needs.

    Attributes:
        seconds: of all stages, those of folds included.
        steps: optimizer steps in all.
        memory_mb: of all processes that load images, and of this one.
        disk_bytes: of the whole run folder, at most.
        largest_store_bytes: of one stage's pseudo labels, which the run asks the disk for.
        measured: what this stands on.
    """

    seconds: float
    steps: int
    memory_mb: int
    disk_bytes: int
    largest_store_bytes: int
    measured: Measured

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "seconds": round(self.seconds, 1),
            "steps": self.steps,
            "memory_mb": self.memory_mb,
            "disk_mb": round(self.disk_bytes / 1e6, 1),
            "measured_steps_of_each_kind": self.measured.num_steps,
            "seconds_a_step": {kind: round(value, 5) for kind, value in self.measured.seconds_a_step.items()},
            "seconds_a_label": round(self.measured.seconds_a_label, 6),
        }


@dataclass(frozen=True)
class _Count(Sized):
    number: int

    def __len__(self) -> int:
        return self.number


def kind_of(stage: Stage) -> str:
    """Stages of one kind have steps that cost alike: `supervised a`, `pseudo-labeled b`."""
    return f"{'supervised' if stage.is_supervised else 'pseudo-labeled'} {stage.network}"


def estimate(
    config: Config,
    plan: Sequence[Stage],
    parts: Parts,
    measured: Measured,
    *,
    label_bytes: int,
    decoded_bytes: int,
) -> Estimate:
    """What a run needs, from what was measured.

    Args:
        config: with its validation settled.
        plan: all stages of the main arm.
        parts: of the main arm.
        measured: on this machine.
        label_bytes: of one store of pseudo labels, at most.
        decoded_bytes: of all images as they are decoded.
    """
    arms = 1 + (config.validation.num_folds if config.validation.source == "cross_validation" else 0)
    seconds, steps = 0.0, 0
    for stage in plan:
        own = stage_steps(config, parts, stage, _pseudo_labels(config, parts, stage))
        steps += own
        seconds += own * measured.seconds_a_step[kind_of(stage)]
        looks = _stores(stage) * looks_at(config) * _looked_at(config, len(parts.unlabeled))
        seconds += looks * measured.seconds_a_label
    scored = len(parts.test or ()) + len(parts.validation or ())
    seconds += len(plan) * scored * measured.seconds_a_score
    stores = sum(_stores(stage) for stage in plan)
    moments = 2 if config.optimizer.name == "adamw" else 1
    checkpoint = measured.weights_bytes * (1 + moments)
    disk = arms * (len(plan) * measured.weights_bytes + stores * label_bytes) + checkpoint
    kept = min(DEFAULT_BYTES, decoded_bytes) // 2**20
    first_steps, first_seconds = _before_labels(config, plan, measured)
    disk += measured.weights_bytes * len(networks_of(plan)) if first_steps else 0
    return Estimate(
        seconds=arms * seconds + first_seconds,
        steps=arms * steps + first_steps,
        memory_mb=measured.peak_memory_mb + config.workers * (kept + _WORKER_MB),
        disk_bytes=disk,
        largest_store_bytes=label_bytes if stores else 0,
        measured=measured,
    )


def _before_labels(config: Config, plan: Sequence[Stage], measured: Measured) -> tuple[int, float]:
    """Steps and seconds of a self-supervised start, whose steps look at two views of an image."""
    settings = config.self_supervised
    if settings is None:
        return 0, 0.0
    images = 2 * settings.batch / supervised_batch(config)
    seconds = [settings.steps * images * measured.seconds_a_step[f"supervised {label}"] for label in networks_of(plan)]
    return settings.steps * len(seconds), sum(seconds)


_WORKER_MB = 300
"""Of a process that loads images, beside the images that it keeps: torch, and a batch on its way."""


def _pseudo_labels(config: Config, parts: Parts, stage: Stage) -> Sized | None:
    """As many as a stage will have, where its length is in passes over them."""
    if stage.is_supervised:
        return None
    is_dense, total = TASKS[config.task].is_dense, len(parts.unlabeled)
    fraction = 1.0 if is_dense or stage.pseudo is None else stage.pseudo.top_fraction  # of masks, pixels are left out
    return _Count(max(1, round(fraction * total)))


def _stores(stage: Stage) -> int:
    """How many stores of labels a stage fills, each with a look at all unlabeled images."""
    if stage.pseudo is None:
        return 0
    return 2 if stage.pseudo.selection == "renormalized" else 1


def _looked_at(config: Config, num_unlabeled: int) -> int:
    """How many images a teacher looks at for one store: all, and those again that it is aligned by."""
    return num_unlabeled + (min(num_unlabeled, MAX_IMAGES) if config.rounds.alignment != "none" else 0)


def looks_at(config: Config) -> float:
    """What a teacher's look at an image costs, in plain looks: other sizes by their area, each mirrored as well."""
    scales = LABEL_SCALES.get(config.rounds.label_views)
    return 1.0 if scales is None else 2 * sum(scale**2 for scale in scales)


def in_words(seconds: float) -> str:
    """`about 40 s`, `about 12 min`, `about 3.5 h`, `about 2 days`."""
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    if seconds < 90 * 60:
        return f"about {round(seconds / 60)} min"
    if seconds < 36 * 3600:
        return f"about {round(seconds / 3600, 1):g} h"
    return f"about {round(seconds / 86400, 1):g} days"
