import math

import numpy as np
import pytest
import torch
from sklearn import metrics as oracle

from dmt.metrics import accuracy, confusion_matrix, fine_grained_accuracy, per_class_accuracy, scaled_log_loss


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


def test_scaled_log_loss_bears_probability_zero() -> None:
    value = scaled_log_loss(torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1, 1]))
    assert 0 < value < 2
