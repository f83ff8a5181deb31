import math
from decimal import Decimal, localcontext

import pytest
import torch
from torch import Tensor

from dmt.selection import (
    CODES_PER_HALVING,
    MAX_CODE,
    confidence_code,
    decode_confidence,
    finite_sites,
    top_class,
)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("num_classes", [2, 3, 21, 254, 255, 256, 300])
@pytest.mark.parametrize("shape", [(13,), (2, 3, 5), (0,)])
def test_the_top_class_is_the_first_of_the_largest(
    shape: tuple[int, ...], num_classes: int, dtype: torch.dtype
) -> None:
    random = torch.Generator().manual_seed(num_classes)
    # Few levels: ties everywhere.
    logits = torch.randint(-3, 4, (shape[0], num_classes, *shape[1:]), generator=random).to(dtype) / 2
    found = top_class(logits)
    assert (found.shape, found.dtype) == (shape, torch.int64)
    sites = logits.movedim(1, -1).reshape(-1, num_classes).tolist()
    assert found.flatten().tolist() == [site.index(max(site)) for site in sites]


def test_the_top_class_of_infinite_and_signed_zero_logits() -> None:
    logits = torch.tensor([[0.0, math.inf, math.inf], [-math.inf, -1.0, -math.inf], [-0.0, 0.0, -1.0]])
    assert top_class(logits).tolist() == [1, 1, 0]
    assert 0 <= int(top_class(torch.tensor([[0.0, math.nan, 2.0]]))) < 3


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("shape", [(6,), (2, 3, 4)])
def test_sites_are_finite_where_all_their_logits_are(shape: tuple[int, ...], value: float) -> None:
    random = torch.Generator().manual_seed(1)
    logits = torch.randn((shape[0], 5, *shape[1:]), generator=random) * 1e38
    broken = torch.rand(logits.shape, generator=random) < 0.1
    logits = torch.where(broken, value, logits)
    found = finite_sites(logits)
    assert found.dtype == torch.bool
    assert torch.equal(found, ~broken.any(dim=1))
    assert 0 < int(found.sum()) < found.numel()


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


def exact_code_of(logits: list[float], label: int) -> float:
    """-1024 log2(1 - p) of one class in double precision, 1 - p as the share of all other classes, before rounding."""
    top = max(logits)
    rest = math.fsum(math.exp(logit - top) for index, logit in enumerate(logits) if index != label)
    whole = math.fsum(math.exp(logit - top) for logit in logits)
    return min(float(MAX_CODE), -CODES_PER_HALVING * math.log2(rest / whole))


@pytest.mark.parametrize("num_classes", [2, 3, 21])
@pytest.mark.parametrize("shape", [(9,), (2, 4, 5)])
@pytest.mark.parametrize("scale", [0.5, 4.0, 12.0])
def test_codes_of_a_given_class_equal_float64(shape: tuple[int, ...], num_classes: int, scale: float) -> None:
    random = torch.Generator().manual_seed(num_classes)
    logits = torch.randn((shape[0], num_classes, *shape[1:]), generator=random) * scale
    label = torch.randint(num_classes, shape, generator=random)
    code = confidence_code(logits, label)
    assert code.shape == shape
    assert code.dtype == torch.int32
    sites = logits.double().movedim(1, -1).reshape(-1, num_classes).tolist()
    for site, own, found in zip(sites, label.flatten().tolist(), code.flatten().tolist(), strict=True):
        assert abs(found - exact_code_of(site, own)) <= 0.65


def test_the_code_of_the_largest_is_that_of_its_own_label() -> None:
    logits = torch.randn(3, 5, 6, 7, generator=torch.Generator().manual_seed(4)) * 9
    assert torch.equal(confidence_code(logits, logits.argmax(dim=1)), confidence_code(logits))


def test_the_surer_of_two_classes_has_the_higher_code() -> None:
    logits = torch.tensor([[8.0, 5.0, -3.0]])
    codes = [int(confidence_code(logits, torch.tensor([k]))) for k in range(3)]
    assert codes == sorted(codes, reverse=True)
    assert codes[2] == 0
    assert codes[1] == round(exact_code_of([8.0, 5.0, -3.0], 1)) > 0


@pytest.mark.parametrize("label", [0, 1, 2])
def test_a_given_class_of_logits_that_are_not_finite_has_code_zero(label: int) -> None:
    assert int(confidence_code(torch.tensor([[1.0, math.nan, 30.0]]), torch.tensor([label]))) == 0


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
