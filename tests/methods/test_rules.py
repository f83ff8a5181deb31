import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dmt.config import Config
from dmt.config_files import load_config
from dmt.losses import gamma_ramp
from dmt.methods import METHODS, build_method
from dmt.methods.base import offline_step, weighted_loss
from dmt.selection import confidence_code, decode_confidence
from dmt.types import Batch

NUM_CLASSES = 4
RULED = ["dmt", "dmt_naive", "dmt_flip", "self_training"]
WITHOUT_RULE = ["curriculum_labeling", "cbst"]


def config(method: str, **changes: Any) -> Config:
    return load_config({"task": "classification", "data": {"name": "digits"}, "method": method} | changes)


class Counting(nn.Module):
    """A linear network on flat images, with BatchNorm where asked, that counts its forward passes."""

    def __init__(self, *, batchnorm: bool = False, pixels: int = 4) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(pixels, NUM_CLASSES).double()
        self.norm = nn.BatchNorm1d(pixels).double() if batchnorm else nn.Identity()
        self.passes = 0

    def forward(self, images: Tensor) -> Tensor:
        self.passes += 1
        logits: Tensor = self.linear(self.norm(images.flatten(1).double()))
        return logits


def make_batch(num_pseudo: int = 9, num_labeled: int = 4, *, seed: int = 0) -> Batch:
    random = torch.Generator().manual_seed(seed)
    count = num_pseudo + num_labeled
    is_labeled = torch.zeros(count, dtype=torch.bool)
    is_labeled[torch.randperm(count, generator=random)[:num_labeled]] = True
    confidence = torch.rand(count, generator=random, dtype=torch.float64)
    return Batch(
        images=torch.rand(count, 1, 2, 2, generator=random),
        targets=torch.randint(NUM_CLASSES, (count,), generator=random),
        confidence=torch.where(is_labeled, 1.0, confidence),
        is_labeled=is_labeled,
    )


def rounded(confidence: float) -> float:
    """A confidence after the stored code: 1 - 2 ** (-q / 1024)."""
    return 1 - 2.0 ** (-round(-1024 * math.log2(1 - confidence)) / 1024)


def probabilities_of(logits: Tensor) -> list[float]:
    values = [math.exp(value) for value in logits.tolist()]
    return [value / sum(values) for value in values]


def site(
    method: str, p: list[float], label: int, c_a: float, *, agree: float, disagree: float, exponent: float
) -> tuple[int, float]:
    """Target and weight of one site by the tables of the specification."""
    if method == "dmt_naive":
        return label, p[label] ** exponent
    own = p.index(max(p))
    if own == label:
        return label, p[label] ** agree
    if c_a >= rounded(p[own]):
        return label, p[label] ** disagree
    return (own, (1 - c_a) ** exponent) if method == "dmt_flip" else (label, 0.0)


@pytest.mark.parametrize("exponent", [2.0, 5.0, 0.0])
@pytest.mark.parametrize("progress", [0.0, 0.4, 0.99])
@pytest.mark.parametrize("ramp", [True, False])
@pytest.mark.parametrize("method", RULED)
def test_rules_equal_a_scalar_loop(method: str, ramp: bool, progress: float, exponent: float) -> None:
    loss = {"gamma_agree": 4.0, "gamma_disagree": 1.5, "ramp": ramp}
    loss |= {"flip_exponent": exponent, "naive_exponent": exponent}
    rule = build_method(config(method, loss=loss)).site_rule(progress)
    assert rule is not None
    random = torch.Generator().manual_seed(1)
    logits = torch.randn(80, NUM_CLASSES, generator=random) * 2
    label = torch.randint(-1, NUM_CLASSES, (80,), generator=random)
    confidence = torch.rand(80, generator=random, dtype=torch.float64)
    target, weight = rule(logits, label, confidence)
    agree, disagree = (gamma_ramp(gamma, progress) if ramp else gamma for gamma in (4.0, 1.5))
    for i, own in enumerate(label.tolist()):
        if own == -1:
            assert (target[i].item(), weight[i].item()) == (-1, 0.0)
            continue
        p, c_a = probabilities_of(logits[i]), confidence[i].item()
        expected = site(method, p, own, c_a, agree=agree, disagree=disagree, exponent=exponent)
        assert target[i].item() == expected[0]
        assert weight[i].item() == pytest.approx(expected[1], rel=1e-4, abs=1e-12)


@pytest.mark.parametrize("method", RULED)
def test_rules_take_maps(method: str) -> None:
    rule = build_method(config(method)).site_rule(0.7)
    assert rule is not None
    random = torch.Generator().manual_seed(2)
    logits = torch.randn(2, NUM_CLASSES, 3, 5, generator=random)
    label = torch.randint(-1, NUM_CLASSES, (2, 3, 5), generator=random)
    confidence = torch.rand(2, 3, 5, generator=random, dtype=torch.float64)
    target, weight = rule(logits, label, confidence)
    flat = rule(logits.movedim(1, -1).reshape(-1, NUM_CLASSES), label.flatten(), confidence.flatten())
    assert torch.equal(target.flatten(), flat[0])
    torch.testing.assert_close(weight.flatten(), flat[1])


def test_a_teacher_that_is_the_student_is_never_overruled() -> None:
    """Both confidences go through one code, so equal networks tie wherever they name different classes."""
    logits = torch.randn(500, NUM_CLASSES, generator=torch.Generator().manual_seed(3)) * 6
    stored = decode_confidence(confidence_code(logits))
    label = (logits.argmax(dim=1) + 1) % NUM_CLASSES
    rule = build_method(config("dmt", loss={"gamma_agree": 0.0, "gamma_disagree": 0.0})).site_rule(0.5)
    assert rule is not None
    _, weight = rule(logits, label, stored)
    assert torch.equal(weight, torch.ones(500))


@pytest.mark.parametrize("method", ["curriculum_labeling", "cbst", "supervised", "oracle"])
def test_weight_one_needs_no_rule(method: str) -> None:
    assert build_method(config(method)).site_rule(0.3) is None


@pytest.mark.parametrize("mixup", [{"alpha": 0.75}, {"alpha": None}])
@pytest.mark.parametrize("method", [*RULED, *WITHOUT_RULE])
def test_forward_passes(method: str, mixup: dict[str, Any]) -> None:
    network = Counting()
    step = build_method(config(method, mixup=mixup)).training_step
    step({"a": network}, make_batch(), 0.5, np.random.default_rng(0))
    extra = mixup["alpha"] is not None and method not in WITHOUT_RULE
    assert network.passes == 1 + extra


@pytest.mark.parametrize("method", [*RULED, *WITHOUT_RULE])
def test_offline_step_without_mixup_by_hand(method: str) -> None:
    network, batch = Counting(), make_batch()
    chosen = config(method, mixup={"alpha": None}, loss={"ramp": False, "gamma_agree": 3.0, "gamma_disagree": 2.0})
    output = build_method(chosen).training_step({"a": network}, batch, 0.5, np.random.default_rng(0))
    with torch.no_grad():
        logits = network(batch.images)
    total, weights = 0.0, []
    for i, label in enumerate(batch.targets.tolist()):
        p = probabilities_of(logits[i])
        target, weight = label, 1.0
        if method not in WITHOUT_RULE and not batch.is_labeled[i]:
            exponent = 2.0 if method == "dmt_flip" else 5.0
            target, weight = site(method, p, label, batch.confidence[i].item(), agree=3, disagree=2, exponent=exponent)
        total += -weight * math.log(p[target])
        weights.append(weight)
    assert output.loss.item() == pytest.approx(total / len(weights), rel=1e-4)
    pseudo = [weight for weight, labeled in zip(weights, batch.is_labeled.tolist(), strict=True) if not labeled]
    assert float(output.logs["mean_weight"]) == pytest.approx(np.mean(pseudo), rel=1e-4)
    assert float(output.logs["share_vetoed"]) == pytest.approx(np.mean([weight == 0 for weight in pseudo]))


@pytest.mark.parametrize("keep_max", [True, False])
@pytest.mark.parametrize("method", ["dmt", "curriculum_labeling"])
def test_offline_step_with_mixup_by_hand(method: str, keep_max: bool) -> None:
    network, batch = Counting(), make_batch()
    loss = {"ramp": True, "gamma_agree": 3.0, "gamma_disagree": 2.0}
    chosen = config(method, mixup={"alpha": 0.75, "keep_max": keep_max}, loss=loss)
    output = build_method(chosen).training_step({"a": network}, batch, 0.5, np.random.default_rng(4))

    agree, disagree = gamma_ramp(3.0, 0.5), gamma_ramp(2.0, 0.5)
    with torch.no_grad():
        clean = network(batch.images)
    weights = [1.0] * len(batch.targets)
    if method == "dmt":
        for i, label in enumerate(batch.targets.tolist()):
            if not batch.is_labeled[i]:
                p, c_a = probabilities_of(clean[i]), batch.confidence[i].item()
                weights[i] = site(method, p, label, c_a, agree=agree, disagree=disagree, exponent=0)[1]
    draws = np.random.default_rng(4)
    lam = draws.beta(0.75, 0.75)
    lam = max(lam, 1 - lam) if keep_max else lam
    partner = draws.permutation(len(weights))
    with torch.no_grad():
        mixed = network(lam * batch.images + (1 - lam) * batch.images[partner])
    total = 0.0
    for i, j in enumerate(partner):
        p = probabilities_of(mixed[i])
        entropy = -lam * math.log(p[batch.targets[i]]) - (1 - lam) * math.log(p[batch.targets[j]])
        total += (lam * weights[i] + (1 - lam) * weights[j]) * entropy
    assert output.loss.item() == pytest.approx(total / len(weights), rel=1e-4)


def test_mixup_loss_vector_of_the_specification() -> None:
    """Two sites that are each other's partner: lam .7, weights .07776 and 1, cross-entropies 1.2 and .4 -> .340255."""
    # A third class brings the partition function to e ** 1.2.
    logits = torch.tensor([[0.0, 0.8, math.log(math.exp(1.2) - 1 - math.exp(0.8))]])
    entropy = (logits.logsumexp(1) - logits[0]).tolist()
    assert entropy[:2] == pytest.approx([1.2, 0.4], abs=1e-6)

    class Fixed(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return logits.expand(len(images), -1)

    class Draws:
        def beta(self, *_: float) -> float:
            return 0.7

        def permutation(self, count: int) -> np.ndarray:
            return np.arange(count)[::-1].copy()

    targets, weights = torch.tensor([0, 1]), torch.tensor([0.07776, 1.0])
    batch = Batch(
        images=torch.zeros(2, 1, 1, 1), targets=targets, confidence=torch.ones(2), is_labeled=torch.ones(2).bool()
    )
    loss = weighted_loss(Fixed(), batch, targets, weights, config("dmt"), Draws(), True)  # type: ignore[arg-type]
    # The second site: weight .3 * .07776 + .7, cross-entropy .7 * .4 + .3 * 1.2.
    second = (0.3 * 0.07776 + 0.7) * (0.7 * 0.4 + 0.3 * 1.2)
    assert loss.item() == pytest.approx((0.340255 + second) / 2, rel=1e-5)


def test_supervised_step_is_ordinary_mixup() -> None:
    network = Counting()
    batch = make_batch(num_pseudo=0, num_labeled=6)
    # A seed whose lambda is below one half, which keep_max would fold.
    seed = next(s for s in range(99) if np.random.default_rng(s).beta(0.75, 0.75) < 0.4)
    step = build_method(config("dmt")).supervised_step
    output = step({"a": network}, batch, 0.0, np.random.default_rng(seed))
    draws = np.random.default_rng(seed)
    lam, partner = draws.beta(0.75, 0.75), draws.permutation(6)
    with torch.no_grad():
        mixed = network(lam * batch.images + (1 - lam) * batch.images[partner])
    both = [nn.functional.cross_entropy(mixed, batch.targets[order]) for order in (np.arange(6), partner)]
    assert output.loss.item() == pytest.approx((lam * both[0] + (1 - lam) * both[1]).item(), rel=1e-5)
    assert network.passes == 2  # one of them was this test's


def test_no_gradient_flows_through_the_weights_of_a_step() -> None:
    network, batch = Counting(), make_batch()
    chosen = config("dmt", mixup={"alpha": None}, loss={"ramp": False})
    rule = build_method(chosen).site_rule(0.5)
    assert rule is not None
    offline_step(network, batch, rule, config=chosen, generator=np.random.default_rng(0)).loss.backward()
    found = network.linear.bias.grad
    with torch.no_grad():
        logits = network(batch.images)
        target, weight = rule(logits, batch.targets, batch.confidence)
        weight = torch.where(batch.is_labeled, 1.0, weight)
    slope = weight[:, None] * (logits.softmax(1) - nn.functional.one_hot(target, NUM_CLASSES)) / len(weight)
    assert found is not None
    torch.testing.assert_close(found, slope.sum(0).double(), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("method", ["dmt", "curriculum_labeling"])
def test_weight_batchnorm(method: str) -> None:
    def running_mean(setting: str) -> tuple[Tensor, int, Tensor]:
        network = Counting(batchnorm=True).train()
        chosen = config(method, loss={"weight_batchnorm": setting})
        output = build_method(chosen).training_step({"a": network}, make_batch(), 0.5, np.random.default_rng(0))
        norm = network.norm
        assert isinstance(norm, nn.BatchNorm1d)
        assert norm.running_mean is not None
        assert norm.num_batches_tracked is not None
        assert norm.track_running_stats
        return norm.running_mean, int(norm.num_batches_tracked), output.loss.detach()

    updated, passes, loss = running_mean("update")
    frozen, frozen_passes, frozen_loss = running_mean("frozen")
    assert torch.equal(loss, frozen_loss)  # batch statistics in either case
    assert frozen_passes == 1
    assert passes == (2 if method == "dmt" else 1)
    batch, draws = make_batch(), np.random.default_rng(0)
    lam = max((drawn := draws.beta(0.75, 0.75)), 1 - drawn)
    partner = draws.permutation(len(batch.images))
    mixed = (lam * batch.images + (1 - lam) * batch.images[partner]).flatten(1).double().mean(0)
    torch.testing.assert_close(frozen, 0.1 * mixed, rtol=1e-5, atol=1e-8)
    clean = batch.images.flatten(1).double().mean(0)
    twice = 0.9 * (0.1 * clean) + 0.1 * mixed
    torch.testing.assert_close(updated, twice if method == "dmt" else 0.1 * mixed, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("threshold", [0.3, 0.9, 1.0])
def test_online_self_training_by_hand(threshold: float) -> None:
    network, batch = Counting(), make_batch()
    with torch.no_grad():
        network.linear.weight *= 6
        logits = network(batch.images)
    passes = network.passes
    online = build_method(config("online_self_training", loss={"confidence_threshold": threshold}))
    hidden = Batch(**vars(batch) | {"targets": torch.where(batch.is_labeled, batch.targets, -1)})
    output = online.training_step({"a": network}, hidden, 0.5, np.random.default_rng(0))
    assert network.passes == passes + 1
    losses, confident = [], 0
    for i, label in enumerate(batch.targets.tolist()):
        p = probabilities_of(logits[i])
        if batch.is_labeled[i]:
            losses.append(-math.log(p[label]))
        elif max(p) > threshold:
            losses.append(-math.log(max(p)))
            confident += 1
    assert output.loss.item() == pytest.approx(np.mean(losses), rel=1e-4)
    assert float(output.logs["share_confident"]) == pytest.approx(confident / 9)


@pytest.mark.parametrize("mixup", [{"alpha": 0.75}, {"alpha": None}])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_overfits_a_tiny_batch(method: str, mixup: dict[str, Any]) -> None:
    built = build_method(config(method, mixup=mixup, loss={"confidence_threshold": 0.5}))
    torch.manual_seed(1)
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, NUM_CLASSES))
    classes = torch.arange(12) % NUM_CLASSES
    images = torch.eye(16)[classes].reshape(12, 1, 4, 4) + 0.2 * torch.rand(12, 1, 4, 4)
    supervised = built.plan()[-1].is_supervised
    is_labeled = torch.ones(12, dtype=torch.bool) if supervised else torch.arange(12) < 4
    targets = torch.where(is_labeled, classes, -1) if method == "online_self_training" else classes
    confidence = torch.where(is_labeled, 1.0, 0.99).double()
    batch = Batch(images=images, targets=targets, confidence=confidence, is_labeled=is_labeled)
    step = built.supervised_step if supervised else built.training_step
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    for number in range(250):
        optimizer.zero_grad()
        step({"a": network}, batch, number / 250, np.random.default_rng(number)).loss.backward()
        optimizer.step()
    assert torch.equal(network(images).argmax(dim=1), classes)
