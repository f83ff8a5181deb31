import math

import numpy as np
import pytest
import torch
from sklearn import metrics as oracle
from torchmetrics.functional.classification import multiclass_confusion_matrix, multiclass_jaccard_index

from dmt.metrics import (
    accuracy,
    best_temperature,
    confusion_matrix,
    fine_grained_accuracy,
    intersection_over_union,
    mean_iou,
    per_class_accuracy,
    scaled_log_loss,
)


def random_answers(count: int, num_classes: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    return (torch.randint(num_classes, (count,), generator=random) for _ in range(2))  # type: ignore[return-value]


@pytest.mark.parametrize("num_classes", [2, 3, 10])
@pytest.mark.parametrize("count", [1, 7, 500])
def test_confusion_and_accuracies_equal_scikit_learn(count: int, num_classes: int) -> None:
    prediction, target = random_answers(count, num_classes, seed=count)
    confusion = confusion_matrix(prediction, target, num_classes=num_classes)
    expected = oracle.confusion_matrix(target, prediction, labels=range(num_classes))
    assert confusion.dtype == torch.int64
    np.testing.assert_array_equal(confusion.numpy(), expected)
    assert accuracy(confusion) == pytest.approx(100 * oracle.accuracy_score(target, prediction))
    recall = oracle.recall_score(target, prediction, labels=range(num_classes), average=None, zero_division=np.nan)
    np.testing.assert_allclose(per_class_accuracy(confusion).numpy(), 100 * recall)


def test_targets_outside_the_classes_are_left_out() -> None:
    target = torch.tensor([0, 1, -1, 255, 2, 2])
    confusion = confusion_matrix(torch.tensor([0, 0, 1, 1, 2, 1]), target, num_classes=3)
    assert confusion.tolist() == [[1, 0, 0], [1, 0, 0], [0, 1, 1]]


def test_maps_are_counted_site_by_site() -> None:
    prediction, target = random_answers(24, 3, seed=0)
    maps = confusion_matrix(prediction.reshape(2, 3, 4), target.reshape(2, 3, 4), num_classes=3)
    assert torch.equal(maps, confusion_matrix(prediction, target, num_classes=3))


def test_a_class_without_sites_and_an_empty_part_are_nan() -> None:
    confusion = confusion_matrix(torch.tensor([0, 2]), torch.tensor([0, 0]), num_classes=3)
    assert per_class_accuracy(confusion)[0] == 50
    assert per_class_accuracy(confusion)[1:].isnan().all()
    assert math.isnan(accuracy(torch.zeros(3, 3, dtype=torch.int64)))


def random_masks(
    shape: tuple[int, ...], num_classes: int, *, absent: int = 0, ignored: float = 0.2
) -> tuple[torch.Tensor, torch.Tensor]:
    """Predictions and targets of maps; the last `absent` classes never occur in truth, the very last nowhere."""
    random = torch.Generator().manual_seed(num_classes * 100 + math.prod(shape))
    target = torch.randint(max(1, num_classes - absent), shape, generator=random)
    wrong = torch.randint(num_classes - (absent > 0), shape, generator=random)
    prediction = torch.where(torch.rand(shape, generator=random) < 0.6, target, wrong)
    target[torch.rand(shape, generator=random) < ignored] = 255
    return prediction, target


def iou_of_class(prediction: list[int], target: list[int], k: int) -> float:
    """TP / (TP + FP + FN) in percent, one site at a time; NaN for a class that is nowhere."""
    both = either = 0
    for guess, truth in zip(prediction, target, strict=True):
        if truth != 255:
            both += guess == truth == k
            either += k in (guess, truth)
    return 100 * both / either if either else math.nan


@pytest.mark.parametrize("absent", [0, 1, 2])
@pytest.mark.parametrize("num_classes", [3, 5, 21])
@pytest.mark.parametrize("shape", [(1, 2, 2), (2, 3, 5), (4, 20, 17)])
def test_intersection_over_union_equals_a_scalar_loop(shape: tuple[int, ...], num_classes: int, absent: int) -> None:
    prediction, target = random_masks(shape, num_classes, absent=absent)
    confusion = confusion_matrix(prediction, target, num_classes=num_classes)
    sites = prediction.flatten().tolist(), target.flatten().tolist()
    expected = [iou_of_class(*sites, k) for k in range(num_classes)]
    np.testing.assert_allclose(intersection_over_union(confusion).numpy(), expected, rtol=1e-12)
    occurring = [value for value in expected if not math.isnan(value)]
    assert float(mean_iou(confusion)) == pytest.approx(sum(occurring) / len(occurring), rel=1e-12)


@pytest.mark.parametrize("absent", [0, 1, 2])
@pytest.mark.parametrize("num_classes", [2, 3, 5, 21])
@pytest.mark.parametrize("shape", [(2, 3, 5), (4, 20, 17)])
def test_intersection_over_union_equals_torchmetrics(shape: tuple[int, ...], num_classes: int, absent: int) -> None:
    prediction, target = random_masks(shape, num_classes, absent=min(absent, num_classes - 1))
    confusion = confusion_matrix(prediction, target, num_classes=num_classes)
    assert torch.equal(confusion, multiclass_confusion_matrix(prediction, target, num_classes, ignore_index=255))
    each, mean = (
        100 * multiclass_jaccard_index(prediction, target, num_classes, average=average, ignore_index=255)
        for average in ("none", "macro")
    )
    # torchmetrics gives 0 to a class that is nowhere, and leaves it out of the mean.
    found = intersection_over_union(confusion)
    torch.testing.assert_close(found.nan_to_num(0.0).float(), each)
    torch.testing.assert_close(mean_iou(confusion).float(), mean)
    nowhere = (confusion.sum(dim=0) + confusion.sum(dim=1)) == 0
    assert torch.equal(found.isnan(), nowhere)


def test_a_class_that_is_only_predicted_or_never_predicted_has_zero() -> None:
    # Class 0 right twice and missed once, class 1 never predicted, class 2 never true, class 3 nowhere.
    confusion = confusion_matrix(torch.tensor([0, 0, 2, 0]), torch.tensor([0, 0, 0, 1]), num_classes=4)
    iou = intersection_over_union(confusion)
    assert iou[:3].tolist() == [50.0, 0.0, 0.0]
    assert math.isnan(iou[3])
    assert float(mean_iou(confusion)) == pytest.approx(50 / 3)


@pytest.mark.parametrize("count", [1, 2, 7])
def test_stacked_matrices_are_measured_one_by_one(count: int) -> None:
    prediction, target = random_masks((count, 6, 5), 4, absent=2)
    matrices = [confusion_matrix(guess, truth, num_classes=4) for guess, truth in zip(prediction, target, strict=True)]
    stacked = torch.stack(matrices)
    torch.testing.assert_close(
        intersection_over_union(stacked),
        torch.stack([intersection_over_union(one) for one in matrices]),
        equal_nan=True,
    )
    assert mean_iou(stacked).shape == (count,)
    assert mean_iou(stacked).tolist() == [float(mean_iou(one)) for one in matrices]


def test_nothing_to_measure_is_nan() -> None:
    assert intersection_over_union(torch.zeros(3, 3, dtype=torch.int64)).isnan().all()
    assert mean_iou(torch.zeros(3, 3, dtype=torch.int64)).isnan()


def test_counts_beyond_single_precision_count() -> None:
    many = 2**26 + 1
    confusion = torch.tensor([[many, 1], [0, 2 * many]])
    expected = (100 * many / (many + 1) + 100 * 2 * many / (2 * many + 1)) / 2
    assert float(mean_iou(confusion)) == pytest.approx(expected, rel=1e-14)


def test_fine_grained_accuracy_by_hand() -> None:
    probabilities = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.2, 0.5, 0.3], [0.0, 0.0, 1.0]])
    # Right with 0.7, right with 0.6, wrong, right with 1.
    value = fine_grained_accuracy(probabilities, torch.tensor([0, 1, 2, 2]))
    assert value == pytest.approx(100 * (0.7 + 0.6 + 0.0 + 1.0) / 4, rel=1e-6)


@pytest.mark.parametrize("temperature", [0.2, 1.0, 4.0])
def test_scaled_log_loss_does_not_depend_on_sharpness(temperature: float) -> None:
    random = torch.Generator().manual_seed(2)
    logits = torch.randn(300, 4, generator=random, dtype=torch.float64)
    target = torch.multinomial(logits.softmax(dim=1), 1, generator=random).squeeze(1)
    sharpened = (logits / temperature).softmax(dim=1)
    value = scaled_log_loss(sharpened, target)
    grid = [
        oracle.log_loss(target.numpy(), (logits / t).softmax(dim=1).numpy(), labels=range(4))
        for t in np.geomspace(0.2, 5, 400)
    ]
    assert value == pytest.approx(min(grid), abs=1e-4)


@pytest.mark.parametrize("temperature", [0.25, 1.0, 3.0])
def test_the_best_temperature_is_that_by_which_logits_were_sharpened(temperature: float) -> None:
    random = torch.Generator().manual_seed(3)
    logits = 2 * torch.randn(20_000, 4, generator=random, dtype=torch.float64)
    target = torch.multinomial(logits.softmax(dim=1), 1, generator=random).squeeze(1)
    assert best_temperature((logits * temperature).softmax(dim=1), target) == pytest.approx(temperature, rel=0.03)


def test_a_few_labels_that_are_all_right_do_not_make_sure() -> None:
    """Nine of nine right at 0.8 each: the more of them, the surer, but never beyond what the count is worth."""
    sure = torch.tensor([[0.8, 0.1, 0.1]])
    found = [best_temperature(sure.expand(n, -1), torch.zeros(n, dtype=torch.int64)) for n in (3, 9, 90)]
    assert found[0] > found[1] > found[2] > 0.1
    # (n + 1) / (n + 3) of three classes: with 9 labels, 10/12
    logits = sure.log() / found[1]
    assert logits.softmax(dim=1)[0, 0].item() == pytest.approx(10 / 12, abs=1e-3)


def test_scaled_log_loss_bears_probability_zero() -> None:
    value = scaled_log_loss(torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1, 1]))
    assert 0 < value < 2
