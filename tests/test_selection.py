import inspect
import math
from decimal import Decimal, localcontext
from fractions import Fraction

import pytest
import torch
from torch import Tensor

from dmt.selection import (
    CODES_PER_HALVING,
    MAX_CODE,
    class_quota,
    confidence_code,
    decode_confidence,
    overall_quota,
    select_top,
)

ALPHAS = ["0.01", "0.07", "0.1", "0.2", "0.29", "0.35", "0.4", "0.57", "0.58", "0.6", "0.8", "0.95", "0.99", "1.0"]
SIZES = [*range(60), 90, 150, 170, 350, 1000, 9160, 45_800, 48_800, 1_000_000]


def exact_overall(count: int, alpha: str) -> int:
    """floor(alpha n + 1/2), at least 1 when there is any, with alpha the number that the user wrote."""
    return 0 if count == 0 else max(1, math.floor(Fraction(alpha) * count + Fraction(1, 2)))


def exact_per_class(count: int, alpha: str) -> int:
    """ceil(alpha n)."""
    return math.ceil(Fraction(alpha) * count)


def slow_selection(confidence: list[float], prediction: list[int], alpha: str, *, per_class: bool) -> list[bool]:
    """Rank, by index among equals, and take the quota, one group at a time."""
    usable = [i for i, (c, k) in enumerate(zip(confidence, prediction, strict=True)) if c == c and k >= 0]
    groups = [[i for i in usable if prediction[i] == k] for k in set(prediction)] if per_class else [usable]
    quota = exact_per_class if per_class else exact_overall
    kept: set[int] = set()
    for group in groups:
        kept |= set(sorted(group, key=lambda i: (-confidence[i], i))[: quota(len(group), alpha)])
    return [i in kept for i in range(len(confidence))]


@pytest.mark.parametrize("alpha", ALPHAS)
def test_quotas_equal_rational_arithmetic(alpha: str) -> None:
    assert {n: overall_quota(n, float(alpha)) for n in SIZES} == {n: exact_overall(n, alpha) for n in SIZES}
    assert {n: class_quota(n, float(alpha)) for n in SIZES} == {n: exact_per_class(n, alpha) for n in SIZES}


@pytest.mark.parametrize("per_class", [True, False])
@pytest.mark.parametrize("alpha", ["0.01", "0.2", "0.29", "0.6", "1.0"])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 5, 10, 50, 101])
def test_selection_equals_a_slow_one(count: int, alpha: str, per_class: bool) -> None:
    random = torch.Generator().manual_seed(count)
    # Eight levels: ties everywhere.
    confidence = torch.randint(8, (count,), generator=random).float() / 8
    confidence[torch.rand(count, generator=random) < 0.1] = math.nan
    prediction = torch.randint(-1, 4, (count,), generator=random)
    mask = select_top(confidence, prediction, float(alpha), per_class=per_class)
    assert mask.dtype == torch.bool
    assert mask.tolist() == slow_selection(confidence.tolist(), prediction.tolist(), alpha, per_class=per_class)


def test_exact_counts_where_the_reference_selects_none() -> None:
    # 30 of 100 saturated: the authors' strict comparison keeps nothing (spec 1.7).
    confidence = torch.cat([torch.full((30,), 1.0), torch.linspace(0.1, 0.9, 70)])
    mask = select_top(confidence, torch.zeros(100, dtype=torch.long), 0.2, per_class=False)
    assert mask.nonzero().squeeze(1).tolist() == list(range(20))


@pytest.mark.parametrize("per_class", [True, False])
def test_ties_go_to_the_lower_index(per_class: bool) -> None:
    mask = select_top(torch.full((1000,), 0.9), torch.zeros(1000, dtype=torch.long), 0.4, per_class=per_class)
    assert mask.nonzero().squeeze(1).tolist() == list(range(400))


@pytest.mark.parametrize("per_class", [True, False])
def test_nan_and_negative_predictions_are_never_selected(per_class: bool) -> None:
    confidence = torch.tensor([math.nan, 0.9, 0.1, 0.99, math.nan])
    prediction = torch.tensor([0, 0, 1, -1, -1])
    mask = select_top(confidence, prediction, 1.0, per_class=per_class)
    assert mask.tolist() == [False, True, True, False, False]
    nothing = select_top(torch.full((3,), math.nan), torch.zeros(3, dtype=torch.long), 1.0, per_class=per_class)
    assert not nothing.any()


def test_per_class_keeps_something_of_every_predicted_class_and_skips_empty_ones() -> None:
    confidence = torch.tensor([0.9, 0.8, 0.7, 0.2, 0.3])
    prediction = torch.tensor([0, 0, 0, 7, 7])  # classes 1 to 6 are never predicted
    mask = select_top(confidence, prediction, 0.2, per_class=True)
    assert mask.tolist() == [True, False, False, False, True]


def test_overall_may_leave_a_class_out() -> None:
    mask = select_top(torch.tensor([0.9, 0.8, 0.2, 0.3]), torch.tensor([0, 0, 1, 1]), 0.5, per_class=False)
    assert mask.tolist() == [True, True, False, False]


@pytest.mark.parametrize("alpha", [0.0, -0.1, 1.0001, math.nan, math.inf])
def test_impossible_fractions_are_refused(alpha: float) -> None:
    with pytest.raises(ValueError, match="top_fraction"):
        select_top(torch.ones(3), torch.zeros(3, dtype=torch.long), alpha, per_class=True)


@pytest.mark.parametrize("dtype", [torch.int32, torch.float16, torch.float32, torch.float64])
def test_anything_that_ranks_may_be_selected_on(dtype: torch.dtype) -> None:
    mask = select_top(torch.tensor([3, 1, 2]).to(dtype), torch.zeros(3, dtype=torch.long), 0.5, per_class=False)
    assert mask.tolist() == [True, False, True]


@pytest.mark.parametrize("alpha", ["0.2", "0.5", "1.0"])
@pytest.mark.parametrize("shares", [["1/2", "1/3", "1/6"], ["1/3", "1/3", "1/3"], ["1", "0", "0"]])
def test_no_class_gets_more_than_the_top_fraction_of_its_share(shares: list[str], alpha: str) -> None:
    random = torch.Generator().manual_seed(0)
    confidence = torch.rand(90, generator=random)
    prediction = torch.tensor([0] * 60 + [1] * 20 + [-1] * 6 + [2] * 4)
    share = [float(Fraction(one)) for one in shares]
    mask = select_top(confidence, prediction, float(alpha), per_class=True, class_shares=share)
    for k in range(3):
        members = (prediction == k).nonzero().squeeze(1).tolist()
        quota = exact_per_class(len(members), alpha)
        if shares[k] != "0":  # 0 = unknown, not limited; 84 sites have a prediction
            quota = min(quota, math.ceil(Fraction(shares[k]) * Fraction(alpha) * 84))
        kept = sorted(members, key=lambda i: (-confidence[i].item(), i))[:quota]
        assert mask[members].nonzero().squeeze(1).tolist() == [j for j, i in enumerate(members) if i in kept]
    assert not mask[prediction < 0].any()


def test_promised_signature() -> None:
    parameters = inspect.signature(select_top).parameters
    assert list(parameters)[:4] == ["confidence", "prediction", "top_fraction", "per_class"]
    assert parameters["per_class"].kind is inspect.Parameter.KEYWORD_ONLY
    assert parameters["per_class"].default is inspect.Parameter.empty
    assert all(one.default is None for name, one in parameters.items() if name not in list(parameters)[:4])


def exact_halvings(logits: list[float]) -> Decimal:
    """-log2(1 - c) with 60 digits, 1 - c as the share of all other classes."""
    with localcontext() as context:
        context.prec = 60
        values = [Decimal(logit).exp() for logit in logits]
        top = logits.index(max(logits))
        rest = sum((value for index, value in enumerate(values) if index != top), Decimal(0))
        return -(rest / sum(values)).ln() / Decimal(2).ln()


def code_of(logits: list[float]) -> int:
    return int(confidence_code(torch.tensor([logits])).item())


def test_codes_of_saturated_logits_keep_their_order() -> None:
    gaps = [5.0, 10.0, 16.0, 17.0, 18.0, 20.0, 30.0, 40.0, 44.0]
    codes = [code_of([gap, 0.0, 0.0]) for gap in gaps]
    assert codes == sorted(set(codes))
    # fp32 softmax cannot tell these apart.
    assert torch.tensor([[20.0, 0.0, 0.0], [30.0, 0.0, 0.0]]).softmax(dim=1).max(dim=1).values.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("gap", [0.0, 0.001, 0.5, 1.0, 3.0, 5.0, 9.5, 17.0, 23.25, 31.0, 44.0, 45.0, 60.0])
@pytest.mark.parametrize("rest", [[0.0], [0.0, 0.0], [0.0, -1.0, -7.5], [0.0] * 20])
@pytest.mark.parametrize("offset", [0.0, -30.0, 12.0])
def test_codes_equal_sixty_digit_arithmetic(gap: float, rest: list[float], offset: float) -> None:
    logits = [offset + gap, *(offset + other for other in rest)]
    exact = min(Decimal(MAX_CODE), CODES_PER_HALVING * exact_halvings(logits))
    # Half a code of rounding, and what fp32 logarithms of this size can be off.
    assert abs(Decimal(code_of(logits)) - exact) <= Decimal("0.5") + Decimal("0.15")


def test_codes_of_random_maps_equal_float64() -> None:
    logits = torch.randn(2, 5, 6, 7, generator=torch.Generator().manual_seed(0)) * 8
    sites = logits.double().movedim(1, -1)
    top = sites.max(dim=-1, keepdim=True)
    others = sites.scatter(-1, top.indices, -math.inf)
    exact = -CODES_PER_HALVING * (others.logsumexp(-1) - sites.logsumexp(-1)) / math.log(2)
    code = confidence_code(logits)
    assert code.shape == (2, 6, 7)
    assert code.dtype == torch.int32
    assert (code.double() - exact.clamp(0, MAX_CODE)).abs().max() <= 0.65


def test_codes_are_clamped() -> None:
    assert code_of([1000.0, 0.0]) == MAX_CODE
    assert code_of([-1000.0, 0.0, -1000.0]) == MAX_CODE
    assert code_of([0.0] * 100) == round(-1024 * math.log2(0.99))
    assert code_of([0.0, 0.0]) == 1024


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_logits_that_are_not_finite_have_code_zero(value: float, place: int) -> None:
    logits = [1.0, 5.0, 2.0]
    logits[place] = value
    assert code_of(logits) == 0


def test_half_precision_logits_are_coded_in_fp32() -> None:
    logits = torch.randn(50, 4, generator=torch.Generator().manual_seed(1)) * 5
    for dtype in (torch.float16, torch.bfloat16):
        halved = logits.to(dtype)
        assert torch.equal(confidence_code(halved), confidence_code(halved.float()))


def test_decoding_gives_the_confidence() -> None:
    codes = torch.tensor([0, 1, 1024, 2048, 10_240, MAX_CODE])
    decoded = decode_confidence(codes)
    assert decoded.dtype == torch.float64
    expected = [float(1 - Decimal(2) ** (-Decimal(int(code)) / CODES_PER_HALVING)) for code in codes]
    assert decoded.tolist() == pytest.approx(expected, rel=1e-14)


def test_every_code_survives_the_round_trip_and_decoding_is_monotone() -> None:
    codes = torch.arange(MAX_CODE + 1)
    decoded = decode_confidence(codes)
    assert (decoded.diff() >= 0).all()
    assert decoded[0] == 0
    assert decoded[-1] <= 1
    # Where 1 - c is still a float64 (53 bits), the code comes back exactly.
    precise = codes[codes < 40 * CODES_PER_HALVING]
    again = (-torch.log2(1 - decoded[: len(precise)]) * CODES_PER_HALVING).round().long()
    assert torch.equal(again, precise)


def stored_and_recomputed(logits: Tensor) -> tuple[Tensor, Tensor]:
    return decode_confidence(confidence_code(logits)), logits.double().softmax(dim=1).max(dim=1).values


def test_stored_confidence_is_within_half_a_code_of_the_true_one() -> None:
    stored, true = stored_and_recomputed(torch.randn(400, 10, generator=torch.Generator().manual_seed(3)) * 4)
    relative = ((1 - stored) / (1 - true)).log2().abs() * CODES_PER_HALVING
    assert relative.max() <= 0.65
