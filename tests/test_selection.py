import inspect
import math
from fractions import Fraction

import pytest
import torch

from dmt.selection import (
    class_quota,
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
    assert not any(one.default for name, one in parameters.items() if name not in list(parameters)[:4])
