import inspect
import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from dmt.losses import (
    MAX_CLASS_SCALE,
    balanced_class_weights,
    class_scales,
    class_sums,
    dynamic_loss,
    dynamic_weights,
    gamma_ramp,
    mixup,
    site_cross_entropy,
)

KEYWORD_ONLY, POSITIONAL = inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD

# Student's probabilities, label, teacher's confidence -> weight, cross-entropy (spec 1.2; gamma 5).
VECTORS = [
    pytest.param([0.6, 0.3, 0.1], 0.07776, 0.510826, 0.0397218, id="agreement"),
    pytest.param([0.3, 0.5, 0.2], 0.00243, 1.203973, 0.00292565, id="negative disagreement"),
    pytest.param([0.1, 0.85, 0.05], 0.0, 2.302585, 0.0, id="positive disagreement"),
    pytest.param([0.3, 0.7, 0.0], 0.00243, 1.203973, 0.00292565, id="tie of confidences"),
]


def weight_of_site(
    logits: list[float], label: int, confidence: float, gamma_agree: float, gamma_disagree: float, ignore_index: int
) -> float:
    """Eq. 3 for one site, by the table of the specification."""
    if label == ignore_index:
        return 0.0
    top = max(logits)
    scaled = [math.exp(logit - top) for logit in logits]
    p = [value / sum(scaled) for value in scaled]
    student = logits.index(top)
    if student == label:
        return p[label] ** gamma_agree
    if confidence >= p[student]:
        return p[label] ** gamma_disagree
    return 0.0


def cross_entropy_of_site(logits: list[float], label: int) -> float:
    top = max(logits)
    return top + math.log(sum(math.exp(logit - top) for logit in logits)) - logits[label]


def as_sites(tensor: Tensor) -> list[list[float]]:
    """`(N, C, *S)` -> one list of C logits a site, in the order of `flatten` on `(N, *S)`."""
    return tensor.double().movedim(1, -1).reshape(-1, tensor.shape[1]).tolist()


def random_sites(
    shape: tuple[int, ...], num_classes: int, seed: int, *, ignore_index: int = -1
) -> tuple[Tensor, Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    logits = torch.randn((shape[0], num_classes, *shape[1:]), generator=random) * 3
    # Half of the labels are the student's own, or agreement would be rare with many classes.
    other = torch.randint(num_classes, shape, generator=random)
    label = torch.where(torch.rand(shape, generator=random) < 0.5, logits.argmax(dim=1), other)
    label[torch.rand(shape, generator=random) < 0.2] = ignore_index
    return logits, label, torch.rand(shape, generator=random)


@pytest.mark.parametrize(("probabilities", "weight", "entropy", "product"), VECTORS)
def test_vectors_of_the_specification(
    probabilities: list[float], weight: float, entropy: float, product: float
) -> None:
    logits = torch.tensor([probabilities]).log()
    label, confidence = torch.tensor([0]), torch.tensor([0.7])
    weights = dynamic_weights(logits, label, confidence, gamma_agree=5.0, gamma_disagree=5.0)
    assert weights.item() == pytest.approx(weight, rel=1e-5, abs=1e-12)
    assert site_cross_entropy(logits, label).item() == pytest.approx(entropy, rel=1e-5)
    assert dynamic_loss(logits, label, weights).item() == pytest.approx(product, rel=1e-5, abs=1e-12)


def test_batch_loss_of_the_specification() -> None:
    logits = torch.tensor([*(vector.values[0] for vector in VECTORS), [0.2, 0.5, 0.3]]).log()
    target = torch.tensor([0, 0, 0, 0, 1])
    weights = dynamic_weights(logits, target, torch.full((5,), 0.7), gamma_agree=5.0, gamma_disagree=5.0)
    weights[4] = 1.0  # labeled
    assert dynamic_loss(logits, target, weights).item() == pytest.approx(0.147744, rel=1e-5)


@pytest.mark.parametrize("gammas", [(0.0, 0.0), (0.5, 0.5), (4.0, 4.0), (20.0, 20.0), (5.0, 1.0), (0.0, 3.0), (2, 3)])
@pytest.mark.parametrize("num_classes", [2, 3, 21])
@pytest.mark.parametrize("shape", [(1,), (40,), (2, 5, 3), (3, 1, 7)])
@pytest.mark.parametrize("ignore_index", [-1, 255])
def test_weights_and_loss_equal_a_scalar_loop(
    shape: tuple[int, ...], num_classes: int, gammas: tuple[float, float], ignore_index: int
) -> None:
    logits, label, confidence = random_sites(shape, num_classes, seed=num_classes, ignore_index=ignore_index)
    agree, disagree = gammas
    weights = dynamic_weights(
        logits, label, confidence, gamma_agree=agree, gamma_disagree=disagree, ignore_index=ignore_index
    )
    sites, labels = as_sites(logits), label.flatten().tolist()
    expected = [
        weight_of_site(site, own, c, agree, disagree, ignore_index)
        for site, own, c in zip(sites, labels, confidence.double().flatten().tolist(), strict=True)
    ]
    assert weights.shape == label.shape
    assert weights.dtype == torch.float32
    np.testing.assert_allclose(weights.flatten().numpy(), expected, rtol=2e-4, atol=1e-12)

    loss = dynamic_loss(logits, label, weights, ignore_index=ignore_index)
    counted = [index for index, own in enumerate(labels) if own != ignore_index]
    total = sum(expected[index] * cross_entropy_of_site(sites[index], labels[index]) for index in counted)
    assert loss.item() == pytest.approx(total / max(1, len(counted)), rel=1e-4, abs=1e-9)


def test_a_number_to_divide_by_may_be_a_tensor_or_not() -> None:
    logits, target, weights = torch.randn(6, 3), torch.tensor([0, 1, 2, 0, 1, -1]), torch.rand(6)
    loss = dynamic_loss(logits, target, weights)
    for number in (5, 5.0, torch.tensor(5)):
        assert torch.equal(dynamic_loss(logits, target, weights, normalizer=number), loss)
    assert torch.equal(dynamic_loss(logits, target, weights, normalizer=0.5), 5 * loss), "not below one site"


def test_all_three_cases_occur_in_the_random_maps() -> None:
    logits, label, confidence = random_sites((40,), 3, seed=3)
    p = logits.softmax(dim=1).max(dim=1).values
    valid, agrees = label != -1, logits.argmax(dim=1) == label
    for case in (agrees, ~agrees & (confidence >= p), ~agrees & (confidence < p)):
        assert (case & valid).any()
    assert (~valid).any()


def test_gamma_agree_touches_agreement_only() -> None:
    logits = torch.tensor([[0.6, 0.3, 0.1], [0.3, 0.5, 0.2]]).log()
    weights = dynamic_weights(logits, torch.tensor([0, 0]), torch.tensor([0.7, 0.7]), gamma_agree=2, gamma_disagree=3)
    assert weights.tolist() == pytest.approx([0.6**2, 0.3**3], rel=1e-5)


def test_gamma_zero_keeps_the_veto() -> None:
    logits = torch.tensor([[0.6, 0.3, 0.1], [0.3, 0.5, 0.2], [0.1, 0.85, 0.05]]).log()
    weights = dynamic_weights(
        logits, torch.zeros(3, dtype=torch.long), torch.full((3,), 0.7), gamma_agree=0.0, gamma_disagree=0.0
    )
    assert weights.tolist() == [1.0, 1.0, 0.0]


@pytest.mark.parametrize("logit", [-math.inf, -3e38, -200.0])
def test_probability_zero(logit: float) -> None:
    logits = torch.tensor([[logit, 0.0, 0.0]])
    label, sure = torch.tensor([0]), torch.tensor([1.0])
    assert dynamic_weights(logits, label, sure, gamma_agree=0.0, gamma_disagree=0.0).item() == 1.0
    assert dynamic_weights(logits, label, sure, gamma_agree=4.0, gamma_disagree=4.0).item() == 0.0


def test_argmax_ties_go_to_the_lowest_class() -> None:
    logits = torch.zeros(3, 3)
    weights = dynamic_weights(
        logits, torch.tensor([0, 1, 2]), torch.tensor([0.0, 0.0, 0.0]), gamma_agree=1.0, gamma_disagree=1.0
    )
    # Class 0 is the student's own; for the others the student, at 1/3, is surer than a teacher at 0.
    assert weights.tolist() == pytest.approx([1 / 3, 0.0, 0.0])


@pytest.mark.parametrize("num_classes", [2, 3, 10])
def test_a_teacher_exactly_as_sure_as_the_student_is_not_overruled(num_classes: int) -> None:
    logits = torch.randn(3000, num_classes, generator=torch.Generator().manual_seed(0)) * 3
    probabilities = logits.softmax(dim=1)  # fp32, as the specification defines c_A and c_B
    label = (logits.argmax(dim=1) + 1) % num_classes
    weights = dynamic_weights(logits, label, probabilities.max(dim=1).values, gamma_agree=0.0, gamma_disagree=0.0)
    assert (weights == 0).sum().item() == 0


def test_a_rounded_student_confidence_decides_the_veto_alone() -> None:
    logits = torch.tensor([[0.3, 0.7]]).log()
    settings = {"gamma_agree": 1.0, "gamma_disagree": 1.0}
    label, teacher = torch.tensor([0]), torch.tensor([0.6])
    assert dynamic_weights(logits, label, teacher, **settings).item() == 0.0
    rounded = dynamic_weights(logits, label, teacher, **settings, student_confidence=torch.tensor([0.6]))
    assert rounded.item() == pytest.approx(0.3, rel=1e-6)


@pytest.mark.parametrize(
    "changes", [{"pseudo_confidence": (5, 1)}, {"pseudo_label": (1,)}, {"student_confidence": (4,)}]
)
def test_maps_that_do_not_fit_the_logits_are_refused(changes: dict[str, tuple[int, ...]]) -> None:
    maps = {"pseudo_label": torch.zeros(5, dtype=torch.int64), "pseudo_confidence": torch.ones(5)}
    for name, shape in changes.items():
        maps[name] = torch.zeros(shape, dtype=torch.int64 if name == "pseudo_label" else torch.float32)
    with pytest.raises(ValueError, match=f"{next(iter(changes))} has the shape"):
        dynamic_weights(torch.randn(5, 3), gamma_agree=1.0, gamma_disagree=1.0, **maps)
    with pytest.raises(ValueError, match=r"weights has the shape \(5, 1\); to logits \(5, 3\) belongs \(5,\)"):
        dynamic_loss(torch.randn(5, 3), torch.zeros(5, dtype=torch.int64), torch.ones(5, 1))


def test_a_negative_gamma_is_refused() -> None:
    with pytest.raises(ValueError, match="gamma_agree is -3"):
        dynamic_weights(
            torch.randn(5, 3), torch.zeros(5, dtype=torch.int64), torch.ones(5), gamma_agree=-3, gamma_disagree=1
        )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_are_weighed_in_fp32(dtype: torch.dtype) -> None:
    logits, label, confidence = random_sites((60,), 5, seed=8)
    halved = logits.to(dtype)
    settings = {"gamma_agree": 5.0, "gamma_disagree": 5.0}
    weights = dynamic_weights(halved, label, confidence, **settings)
    assert weights.dtype == torch.float32
    assert torch.equal(weights, dynamic_weights(halved.float(), label, confidence, **settings))
    loss = dynamic_loss(halved, label, weights)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, dynamic_loss(halved.float(), label, weights))


def test_small_weights_do_not_underflow() -> None:
    # 0.02 ** 5 = 3.2e-9 is 0 in fp16.
    logits = torch.tensor([[0.02, 0.5, 0.48]]).log().half()
    weights = dynamic_weights(logits, torch.tensor([0]), torch.tensor([1.0]), gamma_agree=5.0, gamma_disagree=5.0)
    assert weights.item() == pytest.approx(0.02**5, rel=0.02)


@pytest.mark.parametrize("shape", [(4,), (2, 3, 3)])
def test_all_ignored_gives_zero_with_a_finite_zero_gradient(shape: tuple[int, ...]) -> None:
    logits = torch.randn(shape[0], 3, *shape[1:]).requires_grad_()
    target = torch.full(shape, -1)
    weights = dynamic_weights(logits, target, torch.ones(shape), gamma_agree=4.0, gamma_disagree=4.0)
    loss = dynamic_loss(logits, target, weights)
    loss.backward()
    assert loss.item() == 0.0
    assert logits.grad is not None
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_a_vetoed_site_of_probability_zero_gives_no_nan() -> None:
    logits = torch.tensor([[-math.inf, 0.0, -1.0], [1.0, 0.0, 0.0]])
    target = torch.tensor([0, 0])
    weights = dynamic_weights(logits, target, torch.tensor([0.1, 0.9]), gamma_agree=4.0, gamma_disagree=4.0)
    assert weights[0].item() == 0.0
    assert math.isfinite(dynamic_loss(logits, target, weights).item())


def test_no_gradient_flows_through_the_weights() -> None:
    logits, label, confidence = random_sites((30,), 4, seed=5)
    logits.requires_grad_()
    weights = dynamic_weights(logits, label, confidence, gamma_agree=3.0, gamma_disagree=2.0)
    assert not weights.requires_grad
    (gradient,) = torch.autograd.grad(dynamic_loss(logits, label, weights), logits)
    # The gradient of w * CE with constant w: w (p - onehot) / N.
    p = logits.detach().softmax(dim=1)
    valid = label != -1
    onehot = torch.nn.functional.one_hot(label.clamp(min=0), 4)
    expected = torch.where(valid[:, None], weights[:, None] * (p - onehot), 0.0) / valid.sum()
    torch.testing.assert_close(gradient, expected)


def test_sites_of_weight_zero_count_in_the_normalizer_and_ignored_ones_do_not() -> None:
    logits = torch.zeros(4, 2)
    target = torch.tensor([0, 1, 0, -1])
    loss = dynamic_loss(logits, target, torch.tensor([1.0, 1.0, 0.0, 1.0]))
    assert loss.item() == pytest.approx(2 * math.log(2) / 3)


def test_normalizer_makes_parts_add_up_to_the_whole() -> None:
    logits, label, confidence = random_sites((12, 2, 2), 3, seed=2)
    weights = dynamic_weights(logits, label, confidence, gamma_agree=1.0, gamma_disagree=1.0)
    count = (label != -1).sum()
    parts = [
        dynamic_loss(logits[rows], label[rows], weights[rows], normalizer=count)
        for rows in (slice(0, 5), slice(5, 6), slice(6, 12))
    ]
    assert sum(part.item() for part in parts) == pytest.approx(dynamic_loss(logits, label, weights).item(), rel=1e-5)
    assert dynamic_loss(logits, label, weights, normalizer=torch.tensor(0)).isfinite()


def test_gamma_ramp_values_of_the_specification() -> None:
    values = [gamma_ramp(4.0, progress) for progress in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert values == pytest.approx([0.0270, 0.240, 1.146, 2.926, 4.0], abs=5e-4)
    assert gamma_ramp(0.0, 0.3) == 0.0


def mixup_batch(count: int = 6) -> tuple[Tensor, Tensor, Tensor]:
    random = torch.Generator().manual_seed(4)
    images = torch.rand(count, 2, 3, 3, generator=random)
    return images, torch.rand(count, generator=random), torch.arange(count)


@pytest.mark.parametrize("keep_max", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_mixup_follows_the_formula(seed: int, keep_max: bool) -> None:
    images, weights, targets = mixup_batch()
    before = images.clone(), weights.clone(), targets.clone()
    generator = np.random.default_rng(seed)
    mixed, mixed_weights, targets_a, targets_b, lam = mixup(
        images, weights, targets, alpha=0.75, generator=generator, keep_max=keep_max
    )
    assert isinstance(lam, float)
    assert 0.0 <= lam <= 1.0
    assert torch.equal(targets_a, targets)
    partner = targets_b.tolist()  # targets are positions here
    assert sorted(partner) == targets.tolist()
    for i, j in enumerate(partner):
        torch.testing.assert_close(mixed[i], lam * images[i] + (1 - lam) * images[j])
        torch.testing.assert_close(mixed_weights[i], lam * weights[i] + (1 - lam) * weights[j])
    for tensor, old in zip((images, weights, targets), before, strict=True):
        assert torch.equal(tensor, old)


def test_keep_max_only_folds_lambda() -> None:
    images, weights, targets = mixup_batch()
    drawn = [mixup(images, weights, targets, alpha=0.75, generator=np.random.default_rng(seed), keep_max=False)[4]
             for seed in range(200)]  # fmt: skip
    folded = [mixup(images, weights, targets, alpha=0.75, generator=np.random.default_rng(seed))[4]
              for seed in range(200)]  # fmt: skip
    assert folded == [max(lam, 1 - lam) for lam in drawn]
    assert min(folded) >= 0.5
    assert min(drawn) < 0.2
    # Beta(a, a) has mean 1/2 and variance 1 / (4 (2 a + 1)).
    assert np.mean(drawn) == pytest.approx(0.5, abs=0.08)
    assert np.var(drawn) == pytest.approx(0.1, abs=0.03)


def test_mixup_is_a_function_of_its_generator() -> None:
    images, weights, targets = mixup_batch()
    first, again, other = (
        mixup(images, weights, targets, alpha=0.75, generator=np.random.default_rng(seed)) for seed in (3, 3, 4)
    )
    assert all(torch.equal(a, b) for a, b in zip(first[:4], again[:4], strict=True))
    assert first[4] == again[4] != other[4]


def test_mixup_takes_maps_of_targets() -> None:
    images = torch.rand(3, 1, 2, 4)
    weights, targets = torch.rand(3, 2, 4), torch.arange(24).reshape(3, 2, 4)
    _, mixed_weights, _, targets_b, lam = mixup(
        images, weights, targets, alpha=1.0, generator=np.random.default_rng(1), keep_max=True
    )
    partner = targets_b[:, 0, 0] // 8
    torch.testing.assert_close(mixed_weights, lam * weights + (1 - lam) * weights[partner])


@pytest.mark.parametrize(
    ("function", "positional", "keywords"),
    [
        (
            dynamic_weights,
            ["logits", "pseudo_label", "pseudo_confidence"],
            {"gamma_agree": None, "gamma_disagree": None, "ignore_index": -1},
        ),
        (dynamic_loss, ["logits", "target", "weights"], {"ignore_index": -1}),
        (gamma_ramp, ["gamma_max", "progress"], {}),
        (mixup, ["images", "weights", "targets"], {"alpha": None, "generator": None, "keep_max": True}),
    ],
)
def test_promised_signatures(function: object, positional: list[str], keywords: dict[str, object]) -> None:
    parameters = inspect.signature(function).parameters  # type: ignore[arg-type]
    assert [name for name, one in parameters.items() if one.kind is POSITIONAL] == positional
    for name, default in keywords.items():
        assert parameters[name].kind is KEYWORD_ONLY
        assert parameters[name].default == (inspect.Parameter.empty if default is None else default)
    further = [one for name, one in parameters.items() if name not in {*positional, *keywords}]
    assert all(one.default is None for one in further)


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_class_weights_are_one_in_the_mean_over_labeled_sites(exponent: float) -> None:
    counts = [700, 0, 250, 50]
    shares = [count / sum(counts) for count in counts]
    weights = balanced_class_weights(shares, exponent=exponent).tolist()
    per_site = [weights[k] for k, count in enumerate(counts) for _ in range(count)]
    assert sum(per_site) / len(per_site) == pytest.approx(1.0, rel=1e-6)
    assert weights[1] == 1.0, "a class without a label"
    assert weights[3] / weights[0] == pytest.approx((700 / 50) ** exponent, rel=1e-6)


@pytest.mark.parametrize("size", [(), (3, 2)])
def test_class_weights_multiply_the_loss_of_their_targets(size: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 3, *size, generator=generator)
    target = torch.randint(-1, 3, (5, *size), generator=generator)
    weights, of_class = torch.rand(5, *size, generator=generator), [0.25, 1.0, 3.0]
    total, count = 0.0, 0
    for site in itertools.product(*(range(length) for length in target.shape)):
        k = int(target[site])
        if k != -1:
            row = logits[(site[0], slice(None), *site[1:])].tolist()
            entropy = math.log(sum(math.exp(value) for value in row)) - row[k]
            total, count = total + float(weights[site]) * of_class[k] * entropy, count + 1
    found = dynamic_loss(logits, target, weights, class_weights=torch.tensor(of_class))
    assert found.item() == pytest.approx(total / count, rel=1e-5)


@pytest.mark.parametrize("shape", [(7,), (3, 5, 4)])
def test_scales_bring_the_weights_of_each_class_to_a_mean_of_one(shape: tuple[int, ...]) -> None:
    random = torch.Generator().manual_seed(0)
    labels, weights = torch.randint(3, shape, generator=random), 0.2 + torch.rand(shape, generator=random)
    valid = torch.rand(shape, generator=random) < 0.8
    scaled = weights * class_scales(class_sums(weights, labels, valid, num_classes=3))[labels]
    for one in labels[valid].unique():
        assert scaled[valid & (labels == one)].mean().item() == pytest.approx(1.0, rel=1e-5)


def test_scales_end_at_ten_for_a_class_that_is_all_but_vetoed_and_for_one_without_a_site() -> None:
    labels, weights = torch.tensor([0] * 100 + [1] * 2), torch.tensor([0.5] + [0.0] * 99 + [0.0, 0.0])
    scales = class_scales(class_sums(weights, labels, torch.ones(102, dtype=torch.bool), num_classes=3))
    assert scales[:2].tolist() == [MAX_CLASS_SCALE] * 2
    assert scales.isfinite().all()
