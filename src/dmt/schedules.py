"""Learning-rate schedules and durations: everything that turns a config's numbers into steps."""

import math
from collections.abc import Callable
from typing import TypeAlias

Schedule: TypeAlias = Callable[[float], float]
"""progress in [0, 1) -> factor of the base learning rate."""


def cosine(progress: float) -> float:
    """Half a cosine from 1 to 0 (spec 1.12)."""
    return 0.5 * (1.0 + math.cos(math.pi * progress))


def poly(progress: float) -> float:
    """(1 - progress) ** 0.9, DeepLab's schedule (spec 1.12)."""
    return float((1.0 - progress) ** 0.9)


def constant(progress: float) -> float:
    """Always 1."""
    return 1.0


SCHEDULES: dict[str, Schedule] = {"cosine": cosine, "poly": poly, "constant": constant}


def steps_of_epochs(epochs: float, *, num_images: int, batch_size: int) -> int:
    """Optimizer steps of `epochs` passes over `num_images`, the last incomplete batch of a pass counting as one."""
    return max(1, round(epochs * math.ceil(num_images / batch_size)))


def supervised_epochs(oracle_epochs: float, *, num_images: int, num_labeled: int) -> float:
    """The paper's compromise for training on labels alone: sqrt(|D| / |S_l|) x the oracle's epochs (section 5.2.2)."""
    return math.sqrt(num_images / num_labeled) * oracle_epochs
