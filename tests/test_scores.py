"""What networks' answers come to, image by image."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sklearn import metrics as oracle
from torch import Tensor

from dmt.metrics import fine_grained_accuracy, scaled_log_loss
from dmt.scores import KINDS, ImageScores, PixelScores, Scores, load_scores, save_scores
from dmt.tasks import TASKS

Pixels = list[tuple[int, int]]
"""(prediction, true class) of each pixel of an image."""


def answers(count: int, num_classes: int, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """`(n, C)` probabilities and `(n,)` classes."""
    random = torch.Generator().manual_seed(seed)
    probabilities = (torch.randn(count, num_classes, generator=random) * 2).softmax(dim=1)
    return probabilities, torch.randint(num_classes, (count,), generator=random)


def maps(
    count: int, num_classes: int, size: tuple[int, int] = (4, 5), *, seed: int = 0, ignored: float = 0.2
) -> tuple[Tensor, Tensor]:
    """`(n, C, H, W)` probabilities and `(n, H, W)` masks."""
    random = torch.Generator().manual_seed(seed)
    target = torch.randint(num_classes, (count, *size), generator=random)
    logits = torch.randn(count, num_classes, *size, generator=random)
    logits.scatter_add_(1, target[:, None], 1.5 * torch.rand(count, 1, *size, generator=random))
    target[torch.rand(count, *size, generator=random) < ignored] = 255
    return logits.softmax(dim=1), target


def pixels_of(probabilities: Tensor, target: Tensor) -> list[Pixels]:
    """What a measurement is about, as plain numbers."""
    guesses = probabilities.argmax(dim=1).flatten(1).tolist()
    truths = target.flatten(1).tolist()
    return [
        [(guess, truth) for guess, truth in zip(*image, strict=True) if truth != 255]
        for image in zip(guesses, truths, strict=True)
    ]


def slow_iou(images: Sequence[Pixels], num_classes: int) -> list[float | None]:
    """Percent by class, over the pixels of all images together."""
    sites = [site for image in images for site in image]
    values: list[float | None] = []
    for k in range(num_classes):
        either = sum(k in site for site in sites)
        values.append(100 * sum(site == (k, k) for site in sites) / either if either else None)
    return values


def slow_mean_iou(images: Sequence[Pixels], num_classes: int) -> float:
    values = [value for value in slow_iou(images, num_classes) if value is not None]
    return sum(values) / len(values)


@pytest.mark.parametrize("num_classes", [2, 5])
@pytest.mark.parametrize("count", [1, 3, 8])
def test_pixel_figures_are_over_all_pixels(count: int, num_classes: int) -> None:
    """The matrix is summed before anything is divided: an image of few pixels counts for few."""
    probabilities, target = maps(count, num_classes, seed=count)
    scores = PixelScores.measure(probabilities, target)
    images = pixels_of(probabilities, target)
    sites = [site for image in images for site in image]
    assert len(scores) == count
    assert {value.dtype for value in vars(scores).values()} == {torch.int64}
    assert int(scores.confusion.sum()) == len(sites)
    right = 100 * sum(guess == truth for guess, truth in sites) / len(sites)
    assert scores.figures() == {
        "mean_iou": pytest.approx(slow_mean_iou(images, num_classes), abs=6e-5),
        "num_classes_seen": num_classes,
        "pixel_accuracy": pytest.approx(right, abs=6e-5),
    }
    assert scores.rank() == (
        pytest.approx(slow_mean_iou(images, num_classes), rel=1e-12),
        pytest.approx(right, rel=1e-12),
    )
    names = [f"class {k}" for k in range(num_classes)]
    expected = dict(zip(names, slow_iou(images, num_classes), strict=True))
    assert scores.per_class(names) == {name: pytest.approx(value, abs=6e-5) for name, value in expected.items()}


def test_a_class_that_does_not_occur_is_none_and_not_in_the_mean() -> None:
    probabilities, target = maps(4, 3)
    wider = torch.cat([probabilities, torch.zeros(4, 2, 4, 5)], dim=1)
    wider[0, 3, 0, 0] = 2.0  # class 3 is predicted once and never true, class 4 is nowhere
    target[0, 0, 0] = 0
    scores = PixelScores.measure(wider, target)
    found = scores.per_class("abcde")
    assert found["d"] == 0.0
    assert found["e"] is None
    assert scores.figures()["num_classes_seen"] == 4
    assert scores.figures()["mean_iou"] == pytest.approx(sum(found[name] or 0.0 for name in "abcd") / 4, abs=1e-4)


def test_ignored_pixels_count_nothing() -> None:
    probabilities, target = maps(3, 4, ignored=0.0)
    target[:, ::2] = 255
    halved = PixelScores.measure(probabilities, target)
    alone = PixelScores.measure(probabilities[:, :, 1::2], target[:, 1::2])
    assert fields(halved) == fields(alone)


def test_a_part_of_ignored_pixels_alone_can_still_be_written() -> None:
    scores = PixelScores.measure(maps(2, 3)[0], torch.full((2, 4, 5), 255))
    assert json.dumps(scores.figures(), allow_nan=False)


@pytest.mark.parametrize("num_classes", [2, 4])
@pytest.mark.parametrize("count", [1, 5, 60])
def test_image_figures(count: int, num_classes: int) -> None:
    probabilities, target = answers(count, num_classes, seed=count)
    scores = ImageScores.measure(probabilities, target)
    guesses = probabilities.argmax(dim=1).tolist()
    right = [guess == truth for guess, truth in zip(guesses, target.tolist(), strict=True)]
    assert len(scores) == count
    assert scores.correct.tolist() == right
    assert scores.figures() == {
        "accuracy": pytest.approx(100 * sum(right) / count, abs=6e-5),
        "fine_grained_accuracy": pytest.approx(fine_grained_accuracy(probabilities, target), abs=6e-5),
    }
    expected = oracle.confusion_matrix(target, guesses, labels=range(num_classes))
    np.testing.assert_array_equal(scores.confusion.numpy(), expected)
    assert scores.rank()[0] == pytest.approx(100 * sum(right) / count)
    assert scores.rank()[1] == -scaled_log_loss(probabilities, target)
    for k, value in scores.per_class([str(k) for k in range(num_classes)]).items():
        own = [hit for hit, truth in zip(right, target.tolist(), strict=True) if truth == int(k)]
        assert value == (pytest.approx(100 * sum(own) / len(own), abs=6e-5) if own else None)


@pytest.mark.parametrize("count", [2, 9, 100])
def test_the_difference_of_accuracies_is_a_paired_mean(count: int) -> None:
    _, target = answers(count, 3)
    first, second = (ImageScores.measure(answers(count, 3, seed=seed)[0], target) for seed in (1, 2))
    difference, error = first.minus(second)
    pairs = [100.0 * (int(a) - int(b)) for a, b in zip(first.correct, second.correct, strict=True)]
    mean = sum(pairs) / count
    spread = math.sqrt(sum((value - mean) ** 2 for value in pairs) / (count - 1))
    assert difference == pytest.approx(mean, rel=1e-12, abs=1e-12)
    assert error == pytest.approx(spread / math.sqrt(count), rel=1e-12, abs=1e-12)


def jackknife(first: Sequence[Pixels], second: Sequence[Pixels], num_classes: int) -> tuple[float, float]:
    """The difference of mean IoU and its standard error: computed anew without each image in turn.

    A difference that is gone, or turned round, without one of the images has an error that is no smaller than itself.
    """

    def difference(left_out: int | None) -> float:
        kept = [[image for i, image in enumerate(images) if i != left_out] for images in (first, second)]
        return slow_mean_iou(kept[0], num_classes) - slow_mean_iou(kept[1], num_classes)

    count = len(first)
    without = [difference(i) for i in range(count)]
    mean = sum(without) / count
    variance = (count - 1) / count * sum((value - mean) ** 2 for value in without)
    whole, error = difference(None), math.sqrt(variance)
    return whole, error if all(value * whole > 1e-9 for value in without) else max(error, abs(whole))


@pytest.mark.parametrize("num_classes", [2, 4, 7])
@pytest.mark.parametrize("count", [2, 3, 9])
def test_the_difference_of_mean_iou_has_the_error_of_the_jackknife(count: int, num_classes: int) -> None:
    # With seven classes on few pixels, some occur in one image alone, and so not without it.
    size = (4, 5) if num_classes < 7 else (2, 3)
    _, target = maps(count, num_classes, size)
    both = [maps(count, num_classes, size, seed=seed)[0] for seed in (1, 2)]
    first, second = (PixelScores.measure(probabilities, target) for probabilities in both)
    expected = jackknife(*(pixels_of(probabilities, target) for probabilities in both), num_classes)
    assert first.minus(second) == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert expected[1] > 0
    backwards = second.minus(first)
    assert backwards == pytest.approx((-expected[0], expected[1]), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("measure", [ImageScores, PixelScores])
def test_a_network_does_not_differ_from_itself(measure: type[Scores]) -> None:
    scores = measure.measure(*(answers(6, 3) if measure is ImageScores else maps(6, 3)))
    assert scores.minus(scores) == (0.0, 0.0)


def test_one_image_tells_of_no_error() -> None:
    for scores in (ImageScores.measure(*answers(1, 3)), PixelScores.measure(*maps(1, 3))):
        assert scores.minus(scores) == (0.0, math.inf)


def both_kinds(count: int, *, seed: int = 0) -> list[Scores]:
    return [ImageScores.measure(*answers(count, 3, seed=seed)), PixelScores.measure(*maps(count, 3, seed=seed))]


def fields(scores: Scores) -> dict[str, list[Any]]:
    return {name: value.tolist() for name, value in vars(scores).items()}


@pytest.mark.parametrize("number", [0, 1])
def test_parts_are_pooled_and_put_in_order(number: int) -> None:
    kind, inputs = (ImageScores, answers(7, 3)) if number == 0 else (PixelScores, maps(7, 3))
    whole, order = kind.measure(*inputs), torch.tensor([3, 0, 6, 5, 2, 1, 4])
    assert fields(whole.in_order(order)) == fields(kind.measure(*(one[order] for one in inputs)))
    parts = [kind.measure(*(one[some] for one in inputs)) for some in (order[:3], order[3:4], order[4:])]
    pooled = kind.pool(parts)
    assert len(pooled) == 7
    assert fields(pooled) == fields(whole.in_order(order))
    assert fields(pooled.in_order(order.argsort())) == fields(whole)
    assert fields(kind.pool([whole])) == fields(whole)


def test_scores_of_many_classes_are_small(tmp_path: Path) -> None:
    """A matrix for each of the images would be 0.9 MB."""
    target = torch.randint(0, 150, (5, 8, 8))
    save_scores(tmp_path / "scores.safetensors", {"test": PixelScores.measure(torch.rand(5, 150, 8, 8), target)})
    assert (tmp_path / "scores.safetensors").stat().st_size < 200_000


def test_images_of_different_sizes_are_pooled() -> None:
    parts = [maps(2, 3, size) for size in ((4, 5), (7, 2), (1, 1))]
    pooled = PixelScores.pool([PixelScores.measure(*part) for part in parts])
    images = [image for part in parts for image in pixels_of(*part)]
    assert len(pooled) == 6
    assert pooled.rank()[0] == pytest.approx(slow_mean_iou(images, 3), rel=1e-12)


def test_both_kinds_survive_a_file(tmp_path: Path) -> None:
    for number in (0, 1):
        stored = {"test": both_kinds(5)[number], "validation": both_kinds(3, seed=1)[number]}
        path = tmp_path / str(number) / "scores.safetensors"
        save_scores(path, stored)
        loaded = load_scores(path)
        assert list(loaded) == ["test", "validation"]
        for name, scores in stored.items():
            assert type(loaded[name]) is type(scores)
            for field, value in vars(scores).items():
                assert torch.equal(getattr(loaded[name], field), value)
                assert getattr(loaded[name], field).dtype == value.dtype


def test_files_of_runs_from_before_are_read(tmp_path: Path) -> None:
    confusions = torch.randint(0, 50, (4, 3, 3))
    save_file({"test/confusions": confusions}, tmp_path / "scores.safetensors")
    assert fields(load_scores(tmp_path / "scores.safetensors")["test"]) == fields(PixelScores.of(confusions))


def test_no_scores_are_a_file_too(tmp_path: Path) -> None:
    save_scores(tmp_path / "scores.safetensors", {})
    assert load_scores(tmp_path / "scores.safetensors") == {}


def test_slices_are_stored_whole(tmp_path: Path) -> None:
    every, second = torch.arange(24).reshape(4, 2, 3)[::2].unbind(dim=1)
    scores = PixelScores(intersections=every, unions=second, matrix=torch.arange(9).reshape(3, 3).T)
    save_scores(tmp_path / "scores.safetensors", {"test": scores})
    found = load_scores(tmp_path / "scores.safetensors")["test"]
    assert fields(found) == fields(scores)


def test_equal_scores_are_equal_files(tmp_path: Path) -> None:
    for name in ("one", "two"):
        save_scores(tmp_path / name, {"test": both_kinds(5)[1], "validation": both_kinds(5)[0]})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_every_task_has_a_kind_of_its_own() -> None:
    assert {task.scores for task in TASKS.values()} == set(KINDS)
    assert len({kind.headline for kind in KINDS}) == len(KINDS)
    for scores in both_kinds(4):
        assert scores.headline in scores.figures()
        assert scores.figures()[scores.headline] == pytest.approx(scores.rank()[0], abs=6e-5)
