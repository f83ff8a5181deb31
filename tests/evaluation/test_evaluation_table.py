"""Sums by image, and figures of any choice of images, against slow recomputations."""

import itertools
import math

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import multiclass_calibration_error

from dmt.evaluation.table import NUM_BINS, Columns, figures_of, image_row, resampled_sums, stack
from dmt.metrics import calibration_bins
from dmt.scores import ImageScores, PixelScores


def random_answers(num_images: int, num_classes: int, shape: tuple[int, ...], *, seed: int = 0):
    """Probabilities `(n, C, *S)` and true classes `(n, *S)`, some of which count nothing."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(num_images, num_classes, *shape)) * 2
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    targets = random.integers(0, num_classes, (num_images, *shape))
    if shape:
        targets[random.random(targets.shape) < 0.2] = -1
    return probabilities.astype(np.float32), targets


def table_of(probabilities: np.ndarray, targets: np.ndarray):
    num_classes = probabilities.shape[1]
    rows = [
        image_row(
            np.atleast_1d(one.argmax(axis=0)),
            np.atleast_1d(one.max(axis=0)),
            np.atleast_1d(target),
            num_classes=num_classes,
        )
        for one, target in zip(probabilities, targets, strict=True)
    ]
    return stack(rows, Columns(num_classes))


def slow_calibration_error(probabilities: np.ndarray, targets: np.ndarray) -> float:
    """Site by site, as it is defined: the share of each bin times the gap between its means."""
    bins: list[list[tuple[float, bool]]] = [[] for _ in range(NUM_BINS)]
    for one, target in zip(probabilities, targets, strict=True):
        for place in itertools.product(*map(range, target.shape)):
            of_site = one[(slice(None), *place)]
            if target[place] < 0:
                continue
            confidence = float(of_site.max())
            number = min(int(confidence * NUM_BINS), NUM_BINS - 1)
            bins[number].append((confidence, int(of_site.argmax()) == target[place]))
    total = sum(len(one) for one in bins)
    gaps = [len(one) / total * abs(np.mean([c for c, _ in one]) - np.mean([r for _, r in one])) for one in bins if one]
    return 100 * sum(gaps)


@pytest.mark.parametrize("shape", [(), (5, 7)])
def test_figures_are_those_of_the_scores(shape: tuple[int, ...]) -> None:
    probabilities, targets = random_answers(30, 4, shape)
    table = table_of(probabilities, targets)
    sums = np.asarray(table.sum(axis=0)).ravel()
    found = figures_of(sums, Columns(4), is_dense=bool(shape))
    kind = PixelScores if shape else ImageScores
    scores = kind.measure(torch.from_numpy(probabilities), torch.from_numpy(targets))
    for name, value in scores.figures().items():
        if name in found:
            assert found[name] == pytest.approx(value, abs=1e-4), name
    assert list(found["per_class"]) == pytest.approx(list(scores.per_class("abcd").values()), abs=1e-4)
    confusion, bins, _ = Columns(4).split(sums)
    assert np.array_equal(confusion, scores.confusion.numpy())
    assert bins[0].sum() == confusion.sum()


@pytest.mark.parametrize("shape", [(), (4, 5)])
def test_calibration_error_against_a_slow_loop(shape: tuple[int, ...]) -> None:
    probabilities, targets = random_answers(25, 3, shape, seed=1)
    sums = np.asarray(table_of(probabilities, targets).sum(axis=0)).ravel()
    found = figures_of(sums, Columns(3), is_dense=bool(shape))["ece"]
    assert found == pytest.approx(slow_calibration_error(probabilities, targets), abs=1e-9)


def test_calibration_error_against_torchmetrics() -> None:
    probabilities, targets = random_answers(200, 5, (), seed=2)
    sums = np.asarray(table_of(probabilities, targets).sum(axis=0)).ravel()
    wanted = multiclass_calibration_error(
        torch.from_numpy(probabilities), torch.from_numpy(targets), num_classes=5, n_bins=NUM_BINS
    )
    assert figures_of(sums, Columns(5), is_dense=False)["ece"] == pytest.approx(100 * float(wanted), abs=1e-4)


def test_a_sure_and_right_model_is_calibrated_and_a_sure_and_wrong_one_is_not() -> None:
    for target, wanted in ((0, 0.0), (1, 100.0)):
        sums = table_of(np.array([[1.0, 0.0]], dtype=np.float32), np.array([target])).toarray()[0]
        assert figures_of(sums, Columns(2), is_dense=False)["ece"] == pytest.approx(wanted)


def test_the_ends_of_bins() -> None:
    assert calibration_bins(np.array([0.0, 0.1, 0.19999, 0.2, 0.99, 1.0]), num_bins=5).tolist() == [0, 0, 0, 1, 4, 4]


@pytest.mark.parametrize("shape", [(), (3, 4)])
@pytest.mark.parametrize("together", [None, 1, 7])
def test_resamples_against_a_slow_recomputation(shape, together, monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw the same images one resample at a time, and count their sites anew."""
    probabilities, targets = random_answers(13, 3, shape, seed=3)
    table = table_of(probabilities, targets)
    if together is not None:
        largest = max(table.shape)
        monkeypatch.setattr("dmt.evaluation.table._CELLS_TOGETHER", together * largest)
    found = list(resampled_sums(table, np.random.default_rng(5), times=20))
    assert together is None or [len(some) for some in found] == [together] * (20 // together) + [20 % together] * (
        20 % together > 0
    )
    draws = np.random.default_rng(5)
    for sums in np.concatenate(found):
        chosen = draws.integers(0, 13, 13)
        wanted = table_of(probabilities[chosen], targets[chosen]).toarray().sum(axis=0)
        assert np.allclose(sums, wanted, atol=1e-9)
        figures = figures_of(sums, Columns(3), is_dense=bool(shape))
        name = "pixel_accuracy" if shape else "accuracy"
        hits = [
            int(probabilities[image][(slice(None), *place)].argmax()) == targets[image][place]
            for image in chosen
            for place in itertools.product(*map(range, shape))
            if targets[image][place] >= 0
        ]
        assert figures[name] == pytest.approx(100 * np.mean(hits))


def test_figures_of_many_sums_at_once_are_those_of_each() -> None:
    probabilities, targets = random_answers(9, 3, (4, 4), seed=4)
    table = table_of(probabilities, targets)
    together = figures_of(table.toarray(), Columns(3), is_dense=True)
    for number, sums in enumerate(table.toarray()):
        for name, value in figures_of(sums, Columns(3), is_dense=True).items():
            assert np.array_equal(together[name][number], value, equal_nan=True), name


def test_nothing_counted_is_no_figure() -> None:
    row = image_row(np.array([0, 1]), np.array([0.5, 0.6]), np.array([-1, 255]), num_classes=2)
    sums = stack([row], Columns(2)).toarray()[0]
    assert not sums.any()
    for is_dense in (False, True):
        figures = figures_of(sums, Columns(2), is_dense=is_dense)
        assert all(math.isnan(value) for value in np.concatenate([np.ravel(one) for one in figures.values()]))
