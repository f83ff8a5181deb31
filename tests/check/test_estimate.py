"""Time, memory and disk: by a clock that is not real, and against the same sums by hand."""

from collections.abc import Callable
from pathlib import Path

import pytest

from check.tiny_sets import class_folders
from dmt.assemble import draw_split, parts_of
from dmt.check import check
from dmt.check.estimate import Estimate, Measured, estimate, in_words, looks_at
from dmt.check.measure import FEW_STEPS, NUM_STEPS, PATIENCE
from dmt.config import Config
from dmt.config_files import load_config
from dmt.data.parts import Parts
from dmt.loading import load_data
from dmt.methods import build_method

MEASURED = Measured(
    seconds_a_step={"supervised a": 2.0, "supervised b": 3.0, "pseudo-labeled a": 5.0, "pseudo-labeled b": 7.0},
    seconds_a_label=0.5,
    seconds_a_score=0.25,
    peak_memory_mb=1000,
    weights_bytes=10_000,
    num_steps=10,
)


def clock_of(seconds: float) -> Callable[[], float]:
    """Goes on by so much whenever it is looked at."""
    now = 0.0

    def look() -> float:
        nonlocal now
        now += seconds
        return now

    return look


def estimated(folder: Path, *changes: str) -> tuple[Estimate, Config, Parts]:
    config = load_config(str(class_folders(folder)), ["validation.source=given", *changes])
    data = load_data(config, None)
    method = build_method(config)
    parts = parts_of(config, data, draw_split(config, data, needs_all_labels=False))
    result = estimate(config, method.plan(), parts, MEASURED, label_bytes=640, decoded_bytes=50 * 2**20)
    return result, config, parts


def test_a_step_is_from_one_to_the_next_look_at_the_clock(tmp_path: Path) -> None:
    report = check(str(class_folders(tmp_path)), clock=clock_of(0.5))
    assert report.estimate is not None
    measured = report.estimate.measured
    assert measured.num_steps == NUM_STEPS
    assert measured.seconds_a_step == {"supervised a": 0.5, "pseudo-labeled a": 0.5}
    assert measured.seconds_a_label == pytest.approx(0.5 / 5)  # five unlabeled images, one look before and one after
    assert measured.seconds_a_score == pytest.approx(0.5 / 6)


def test_calibrated_teachers_are_measured_without_the_labels_that_a_few_steps_spare(tmp_path: Path) -> None:
    changes = ["validation.source=given", "rounds.calibration=temperature"]
    report = check(str(class_folders(tmp_path)), changes, clock=clock_of(0.5))
    assert report.estimate is not None
    assert report.estimate.measured.seconds_a_label == pytest.approx(0.5 / 5)


def test_slow_steps_are_measured_twice_and_not_ten_times(tmp_path: Path) -> None:
    slow = PATIENCE / NUM_STEPS * 1.01
    report = check(str(class_folders(tmp_path)), clock=clock_of(slow))
    assert report.estimate is not None
    assert report.estimate.measured.num_steps == FEW_STEPS
    assert report.estimate.measured.seconds_a_step["supervised a"] == pytest.approx(slow)


def test_time_of_a_chain_in_steps(tmp_path: Path) -> None:
    found, _, parts = estimated(tmp_path)
    assert (len(parts.unlabeled), len(parts.test or ()), len(parts.validation or ())) == (5, 6, 6)
    assert found.steps == 40 + 20 + 20
    assert found.seconds == 40 * 2.0 + 2 * (20 * 5.0 + 5 * 0.5) + 3 * (6 + 6) * 0.25
    assert found.memory_mb == 1000
    assert found.disk_bytes == 3 * 10_000 + 2 * 640 + 2 * 10_000
    assert found.largest_store_bytes == 640


def test_time_of_passes_grows_with_what_is_kept(tmp_path: Path) -> None:
    # Rounds of 2 or 3 and of 5 images, two a step; six labels, four a step, sqrt(11 / 6) x 10 passes.
    found, _, _ = estimated(tmp_path, "duration={epochs: 10}", "supervised={epochs: 10}")
    assert found.steps == 10 * 2 + 10 * 1 + 10 * 3


def test_time_of_two_networks_mirrored_views_and_folds(tmp_path: Path) -> None:
    changes = ["scheme=mutual", "rounds={top_fractions: [1.0], label_views: mirrored}", "workers=2"]
    found, _, _ = estimated(tmp_path, *changes, "optimizer.name=adamw")
    assert found.seconds == 40 * (2 + 3) + 20 * (5 + 7) + 2 * 2 * 5 * 0.5 + 4 * 12 * 0.25
    assert found.memory_mb == 1000 + 2 * (50 + 300)
    assert found.disk_bytes == 4 * 10_000 + 2 * 640 + 3 * 10_000


def test_aligned_teachers_look_twice(tmp_path: Path) -> None:
    plain, _, _ = estimated(tmp_path)
    looks_twice, _, _ = estimated(tmp_path, "rounds.alignment=labeled_shares")
    assert looks_twice.seconds - plain.seconds == pytest.approx(2 * 5 * 0.5)


def test_where_nothing_is_unlabeled_nobody_is_aligned(tmp_path: Path) -> None:
    report = check("digits-20", ["method=oracle", "rounds.alignment=labeled_shares"], clock=clock_of(0.5))
    assert report.estimate is not None
    assert report.estimate.seconds > 0


def test_a_self_supervised_start_is_made_once_a_network_and_sees_each_image_twice(tmp_path: Path) -> None:
    plain, _, _ = estimated(tmp_path, "scheme=mutual", "batch.supervised=4")
    begun, _, _ = estimated(tmp_path, "scheme=mutual", "batch.supervised=4", "self_supervised={steps: 30, batch: 10}")
    assert begun.steps - plain.steps == 2 * 30
    assert begun.seconds - plain.seconds == pytest.approx(30 * (2 + 3) * 2 * 10 / 4)
    assert begun.disk_bytes - plain.disk_bytes == 2 * 10_000


def test_folds_repeat_everything(tmp_path: Path) -> None:
    config = load_config(str(class_folders(tmp_path)), ["validation.source=cross_validation", "validation.num_folds=3"])
    data = load_data(config, None)
    parts = parts_of(config, data, draw_split(config, data, needs_all_labels=False))
    plan = build_method(config).plan()
    once = estimate(
        config.model_copy(update={"validation": config.validation.model_copy(update={"source": "none"})}),
        plan,
        parts,
        MEASURED,
        label_bytes=640,
        decoded_bytes=0,
    )
    found = estimate(config, plan, parts, MEASURED, label_bytes=640, decoded_bytes=0)
    assert (found.steps, found.seconds) == (4 * once.steps, 4 * once.seconds)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.1, "about 1 s"),
        (40, "about 40 s"),
        (89.4, "about 89 s"),
        (90, "about 2 min"),
        (3000, "about 50 min"),
        (5400, "about 1.5 h"),
        (7200, "about 2 h"),
        (86400 * 2.5, "about 2.5 days"),
    ],
)
def test_seconds_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


@pytest.mark.parametrize(("views", "looks"), [("plain", 1), ("mirrored", 2), ("multiscale", 2 * (0.5625 + 1 + 2.25))])
def test_looks_of_a_teacher_cost_by_their_area(views: str, looks: float) -> None:
    assert looks_at(load_config("camvid-46", [f"rounds.label_views={views}"])) == looks
