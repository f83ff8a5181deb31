import math
from itertools import pairwise

import pytest

from dmt.schedules import SCHEDULES, constant, cosine, poly, steps_of_epochs, supervised_epochs
from dmt.selection import overall_quota

# |D|, |S_l|, the oracle's epochs, what the rule gives (spec 1.12).
SUPERVISED = [
    (50_000, 4000, 300, 1060.7),
    (50_000, 1000, 300, 2121.3),
    (10_582, 10_582, 30, 30.0),
    (10_582, 1322, 30, 84.9),
    (10_582, 1464, 30, 80.7),
    (10_582, 530, 30, 134.1),
    (10_582, 211, 30, 212.5),
    (10_582, 100, 30, 308.6),
    (2975, 2975, 60, 60.0),
    (2975, 371, 60, 169.9),
    (2975, 100, 60, 327.3),
]

# Unlabeled images, pseudo-labeled images a batch, steps an epoch at 20, 40, ... 100 % (spec 1.12).
DMT_STEPS = [
    (45_800, 448, [21, 41, 62, 82, 103], [15_750, 30_750, 46_500, 61_500, 77_250]),
    (48_800, 496, [20, 40, 60, 79, 99], [15_000, 30_000, 45_000, 59_250, 74_250]),
]

# Labeled images, epochs, batch, total steps of supervised training (spec 1.12).
SUPERVISED_STEPS = [
    (4000, 1060, 512, 8480),
    (1000, 2120, 512, 4240),
    (10_582, 30, 8, 39_690),
    (1322, 85, 8, 14_110),
    (530, 134, 8, 8978),
    (211, 212, 8, 5724),
    (100, 300, 8, 3900),
    (2975, 60, 8, 22_320),
    (371, 170, 8, 7990),
]


@pytest.mark.parametrize(("images", "labeled", "oracle", "expected"), SUPERVISED)
def test_supervised_epochs_of_the_paper(images: int, labeled: int, oracle: float, expected: float) -> None:
    assert supervised_epochs(oracle, num_images=images, num_labeled=labeled) == pytest.approx(expected, abs=0.06)


@pytest.mark.parametrize(("unlabeled", "batch", "steps_per_epoch", "totals"), DMT_STEPS)
def test_dmt_steps_of_the_paper(unlabeled: int, batch: int, steps_per_epoch: list[int], totals: list[int]) -> None:
    kept = [overall_quota(unlabeled, alpha) for alpha in (0.2, 0.4, 0.6, 0.8, 1.0)]
    assert [steps_of_epochs(1, num_images=count, batch_size=batch) for count in kept] == steps_per_epoch
    assert [steps_of_epochs(750, num_images=count, batch_size=batch) for count in kept] == totals


@pytest.mark.parametrize(("labeled", "epochs", "batch", "steps"), SUPERVISED_STEPS)
def test_supervised_steps_of_the_paper(labeled: int, epochs: int, batch: int, steps: int) -> None:
    assert steps_of_epochs(epochs, num_images=labeled, batch_size=batch) == steps


def test_durations_at_their_edges() -> None:
    assert steps_of_epochs(1, num_images=1, batch_size=100) == 1
    assert steps_of_epochs(0.001, num_images=10, batch_size=10) == 1
    assert steps_of_epochs(0.5, num_images=100, batch_size=10) == 5
    assert steps_of_epochs(3, num_images=10, batch_size=10) == 3
    assert steps_of_epochs(3, num_images=11, batch_size=10) == 6


@pytest.mark.parametrize("progress", [0.0, 0.1, 0.25, 0.5, 0.9, 0.999])
def test_schedules_follow_their_formulas(progress: float) -> None:
    assert cosine(progress) == pytest.approx((1 + math.cos(math.pi * progress)) / 2)
    assert poly(progress) == pytest.approx((1 - progress) ** 0.9)
    assert constant(progress) == 1.0


def test_schedules_begin_at_one_and_never_rise() -> None:
    for schedule in SCHEDULES.values():
        values = [schedule(step / 100) for step in range(100)]
        assert values[0] == 1.0
        assert all(later <= earlier for earlier, later in pairwise(values))
    assert set(SCHEDULES) == {"cosine", "poly", "constant"}
