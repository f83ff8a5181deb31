"""Training steps in segmentation: one forward pass, and ignored pixels count nothing."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dmt.data.loaders import StepBatches
from dmt.data.parts import Part, UnlabeledPart
from dmt.data.pseudo_labels import WithoutLabels
from dmt.data.views import RandomView
from dmt.losses import dynamic_loss, dynamic_weights
from dmt.methods import build_method
from dmt.methods.base import batch_loss
from dmt.types import IGNORE_INDEX, Batch
from slow_pixels import (
    LOSS,
    NUM_CLASSES,
    RULED,
    WITHOUT_RULE,
    Pixels,
    at,
    config,
    make_batch,
    pixel,
    places,
    probabilities_of,
    random_maps,
)
from tiny_runs import masked_images


@pytest.mark.parametrize("method", [*RULED, *WITHOUT_RULE])
@pytest.mark.parametrize("ignore_index", [255, 0, 11, -1])
def test_ignored_pixels_are_255_in_memory_whatever_they_are_in_files(method: str, ignore_index: int) -> None:
    network, batch = Pixels(), make_batch()
    losses = [
        build_method(config(method, data={"name": "scenes", "ignore_index": value}))
        .training_step({"a": network}, batch, 0.5, np.random.default_rng(0))
        .loss.item()
        for value in (255, ignore_index)
    ]
    assert losses[0] == losses[1]


def step_by_hand(method: str, logits: Tensor, batch: Batch) -> tuple[float, list[float]]:
    """The loss: sum of weight x cross-entropy over the number of pixels that are not ignored (spec 1.2)."""
    total, counted, weights = 0.0, 0, []
    for place in places(batch.targets.shape):
        p, label = probabilities_of(at(logits, place)), int(batch.targets[place])
        target, weight = label, 1.0
        if not batch.is_labeled[place[0]]:
            target, weight = pixel(method, p, label, float(batch.confidence[place]))
            weights.append(weight)
        if label != IGNORE_INDEX:
            counted += 1
            total -= weight * math.log(p[target])
    return total / counted, weights


@pytest.mark.parametrize("shape", [(2, 1, 3), (5, 3, 4), (8, 6, 5)])
@pytest.mark.parametrize("method", [*RULED, *WITHOUT_RULE])
def test_a_step_by_hand(method: str, shape: tuple[int, int, int]) -> None:
    network, batch = Pixels(), make_batch(shape, seed=shape[0])
    output = build_method(config(method)).training_step({"a": network}, batch, 0.5, np.random.default_rng(0))
    assert network.passes == 1
    with torch.no_grad():
        logits = network(batch.images)
    expected, _ = step_by_hand(method, logits, batch)
    assert output.loss.item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("method", RULED)
def test_a_step_by_hand_with_weights_of_mean_one_in_each_class(method: str) -> None:
    network, batch = Pixels(), make_batch((8, 6, 5), seed=3)
    settings = config(method, loss=LOSS | {"weights_per_class": "mean_one"})
    output = build_method(settings).training_step({"a": network}, batch, 0.5, np.random.default_rng(0))
    with torch.no_grad():
        logits = network(batch.images)
    weighed: dict[int, list[tuple[float, float]]] = {one: [] for one in range(NUM_CLASSES)}
    total, counted = 0.0, 0
    for place in places(batch.targets.shape):
        p, label = probabilities_of(at(logits, place)), int(batch.targets[place])
        counted += label != IGNORE_INDEX
        if batch.is_labeled[place[0]]:
            total -= math.log(p[label]) if label != IGNORE_INDEX else 0.0
        elif label != IGNORE_INDEX:
            target, weight = pixel(method, p, label, float(batch.confidence[place]))
            weighed[target].append((weight, -math.log(p[target])))
    for of_class in weighed.values():
        mean = sum(weight for weight, _ in of_class) / len(of_class)
        total += sum(min(1.0 / mean, 10.0) * weight * loss for weight, loss in of_class)
    assert output.loss.item() == pytest.approx(total / counted, rel=1e-4)


@pytest.mark.parametrize("method", RULED)
def test_mean_weight_is_over_pseudo_labeled_pixels(method: str) -> None:
    network, batch = Pixels(), make_batch((6, 5, 4), num_labeled=2)
    batch = replace(batch, targets=batch.targets.where(batch.targets != IGNORE_INDEX, 0))
    output = build_method(config(method)).training_step({"a": network}, batch, 0.5, np.random.default_rng(0))
    with torch.no_grad():
        _, weights = step_by_hand(method, network(batch.images), batch)
    assert len(weights) == 4 * 20
    assert float(output.logs["mean_weight"]) == pytest.approx(np.mean(weights), rel=1e-4)
    assert float(output.logs["share_vetoed"]) == pytest.approx(np.mean([weight == 0 for weight in weights]))


@pytest.mark.parametrize("method", ["dmt"])
def test_ignored_pixels_are_not_vetoed(method: str) -> None:
    network, batch = Pixels(), make_batch((6, 5, 4), num_labeled=2)
    output = build_method(config(method)).training_step({"a": network}, batch, 0.5, np.random.default_rng(0))
    with torch.no_grad():
        _, weights = step_by_hand(method, network(batch.images), batch)
    valid = (batch.targets[~batch.is_labeled] != IGNORE_INDEX).flatten().tolist()
    kept = [weight for weight, one in zip(weights, valid, strict=True) if one]
    assert float(output.logs["share_vetoed"]) == pytest.approx(np.mean([weight == 0 for weight in kept]))
    assert float(output.logs["mean_weight"]) == pytest.approx(np.mean(kept), rel=1e-4)


@pytest.mark.parametrize("method", [*RULED, *WITHOUT_RULE, "online_self_training"])
def test_weights_and_loss_come_from_one_forward_pass(method: str) -> None:
    """BatchNorm's statistics move once a step (spec 1.2)."""
    network, batch = Pixels(batchnorm=True).train(), make_batch()
    output = build_method(config(method)).training_step({"a": network}, batch, 0.5, np.random.default_rng(0))
    assert network.passes == 1
    assert isinstance(network.norm, nn.BatchNorm2d)
    assert int(network.norm.num_batches_tracked or 0) == 1
    output.loss.backward()
    assert network.head.weight.grad is not None
    assert network.head.weight.grad.isfinite().all()


def test_no_gradient_flows_through_the_weights() -> None:
    network, batch = Pixels(), make_batch()
    build_method(config("dmt")).training_step({"a": network}, batch, 0.5, np.random.default_rng(0)).loss.backward()
    with torch.no_grad():
        logits = network(batch.images)
    expected = torch.zeros(NUM_CLASSES, dtype=torch.float64)
    counted = int((batch.targets != IGNORE_INDEX).sum())
    for place in places(batch.targets.shape):
        label = int(batch.targets[place])
        if label != IGNORE_INDEX:
            p = probabilities_of(at(logits, place))
            weight = 1.0 if batch.is_labeled[place[0]] else pixel("dmt", p, label, float(batch.confidence[place]))[1]
            slope = torch.tensor(p, dtype=torch.float64)
            slope[label] -= 1
            expected += weight * slope / counted
    assert network.head.bias.grad is not None
    torch.testing.assert_close(network.head.bias.grad, expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("method", [*RULED, *WITHOUT_RULE, "online_self_training"])
def test_a_batch_of_ignored_pixels_is_no_step_and_no_error(method: str) -> None:
    """Loss 0 with the graph kept: gradients are there, finite and 0 (spec, section 4)."""
    network, batch = Pixels(batchnorm=True), make_batch()
    batch = replace(batch, targets=torch.full_like(batch.targets, IGNORE_INDEX))
    chosen = build_method(config(method, loss={"confidence_threshold": 1.0}))
    for step in (chosen.training_step, chosen.supervised_step):
        network.zero_grad()
        loss = step({"a": network}, batch, 0.5, np.random.default_rng(0)).loss
        assert loss.item() == 0
        loss.backward()
        for parameter in network.parameters():
            assert parameter.grad is not None
            assert torch.equal(parameter.grad, torch.zeros_like(parameter))


def test_a_map_loss_with_nothing_but_ignored_pixels_keeps_its_graph() -> None:
    logits = torch.randn(2, 3, 4, 5, requires_grad=True)
    target = torch.full((2, 4, 5), IGNORE_INDEX)
    weights = dynamic_weights(
        logits, target, torch.rand(2, 4, 5), gamma_agree=5.0, gamma_disagree=5.0, ignore_index=IGNORE_INDEX
    )
    assert not weights.any()
    loss = dynamic_loss(logits, target, weights, ignore_index=IGNORE_INDEX)
    loss.backward()
    assert (loss.item(), logits.grad is not None and not logits.grad.any()) == (0.0, True)


@pytest.mark.parametrize("num_first", [1, 2, 4])
def test_processes_divide_by_the_pixels_of_the_whole_batch(num_first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mean of their gradients is the gradient of one process, however unevenly ignored pixels are shared."""
    logits, target, _ = random_maps((6, 4, 5))
    target[:num_first] = IGNORE_INDEX
    target[0, 0, 0] = 2
    weights = torch.rand(6, 4, 5)
    whole = logits.clone().requires_grad_()
    batch_loss(whole, target, weights, ignore_index=IGNORE_INDEX).backward()
    parts = (slice(0, 3), slice(3, 6))
    mean = sum((target[part] != IGNORE_INDEX).sum() for part in parts) / 2
    monkeypatch.setattr("dmt.methods.base.mean_over_processes", lambda _: mean)
    gradients = []
    for part in parts:
        own = logits[part].clone().requires_grad_()
        (batch_loss(own, target[part], weights[part], ignore_index=IGNORE_INDEX) / 2).backward()
        assert own.grad is not None
        gradients.append(own.grad)
    assert whole.grad is not None
    torch.testing.assert_close(torch.cat(gradients), whole.grad)


def test_the_supervised_step_is_the_plain_mean_over_pixels() -> None:
    network, batch = Pixels(), make_batch(num_labeled=5)
    loss = build_method(config("dmt")).supervised_step({"a": network}, batch, 0.0, np.random.default_rng(0)).loss
    with torch.no_grad():
        expected = nn.functional.cross_entropy(network(batch.images), batch.targets, ignore_index=IGNORE_INDEX)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("threshold", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("shape", [(2, 1, 3), (5, 3, 4)])
def test_online_self_training_by_hand(shape: tuple[int, int, int], threshold: float) -> None:
    """Mean cross-entropy over labels and confident predictions; what is neither does not count in the mean."""
    network, batch = Pixels(), make_batch(shape)
    hidden = batch.targets.where(batch.is_labeled[:, None, None], IGNORE_INDEX)
    padded = torch.rand(shape, generator=torch.Generator().manual_seed(4)) < 0.2
    batch = replace(batch, targets=hidden, confidence=torch.where(padded, 0.0, 1.0).double())
    online = build_method(config("online_self_training", loss={"confidence_threshold": threshold}))
    output = online.training_step({"a": network}, batch, 0.5, np.random.default_rng(0))
    with torch.no_grad():
        logits = network(batch.images)
    losses, confident, unlabeled = [], 0, 0
    for place in places(shape):
        p = probabilities_of(at(logits, place))
        if batch.is_labeled[place[0]]:
            if batch.targets[place] != IGNORE_INDEX:
                losses.append(-math.log(p[int(batch.targets[place])]))
            continue
        unlabeled += 1
        if max(p) > threshold and not padded[place]:
            losses.append(-math.log(max(p)))
            confident += 1
    assert output.loss.item() == pytest.approx(np.mean(losses) if losses else 0.0, rel=1e-4)
    assert float(output.logs["share_confident"]) == pytest.approx(confident / unlabeled)


def test_online_self_training_does_not_learn_from_padding() -> None:
    """A view pads small images with black; a confident answer there is no pseudo label (spec 1.16).

    How a step can tell: by a label of padding that is not that of pixels, or by a code above 0 on pixels.
    """
    source = masked_images(6, seed=0)
    part = UnlabeledPart(source, (1, 2, 3, 4, 5), has_truth=False)
    view = RandomView(crop_size=(40, 40), scale=(0.5, 0.5))
    batch = StepBatches(
        labeled=Part(source, (0,)),
        num_labeled=1,
        unlabeled=part,
        pseudo=WithoutLabels(part, IGNORE_INDEX, dense=True),
        num_pseudo=3,
        labeled_view=view,
        pseudo_view=view,
        seed=0,
        stage="x",
    )[0]
    network = Pixels()
    images = (batch.images.float() / 255).requires_grad_()
    online = build_method(config("online_self_training", loss={"confidence_threshold": 0.3}))
    online.training_step({"a": network}, replace(batch, images=images), 0.5, np.random.default_rng(0)).loss.backward()
    assert images.grad is not None
    padded = (batch.images == 0).all(dim=1)
    assert padded.float().mean() > 0.9
    assert not images.grad.abs().sum(dim=1)[padded].any()
