import math
from collections.abc import Iterable, Sequence
from fractions import Fraction

import pytest
import torch
from torch import Tensor

from dmt.histograms import COARSE, KEEPS_NOTHING, MAX_CLASSES_IN_FULL, ConfidenceHistogram, Cut, exact_cut
from dmt.selection import MAX_CODE, decode_confidence, select_top
from dmt.types import IGNORE_INDEX, PseudoSpec, Selection

ALPHAS = ["1e-12", "0.0001", "0.2", "0.29", "0.99", "1.0"]
CODES = {
    "ties": [0, 1, 255, 256, 257, 5000, 65_279, MAX_CODE],
    "edges": [*range(250, 262), *range(1020, 1030)],
    "all": [*range(MAX_CODE + 1)],
    "one": [777],
}
Site = tuple[int, int]
"""Label and code."""


def make_spec(selection: Selection, alpha: str = "1.0", threshold: float | None = None) -> PseudoSpec:
    return PseudoSpec(teacher="a", teacher_round=0, top_fraction=float(alpha), selection=selection, threshold=threshold)


def random_sites(count: int, num_classes: int, codes: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Of which the last class is never predicted, and some sites have no prediction."""
    random = torch.Generator().manual_seed(count + num_classes)
    label = torch.randint(-1, num_classes - 1, (count,), generator=random)
    label[torch.rand(count, generator=random) < 0.05] = IGNORE_INDEX
    return label, torch.tensor(codes)[torch.randint(len(codes), (count,), generator=random)].int()


def slow_quota(count: int, alpha: str) -> int:
    """ceil(alpha n - 1e-9) in rational arithmetic."""
    return min(count, math.ceil(Fraction(alpha) * count - Fraction("1e-9")))


def slow_cut(sites: list[Site], spec: PseudoSpec, alpha: str, shares: list[str]) -> list[tuple[int, int, int]]:
    """For each class: the threshold, how many sites it is predicted at, and how many of them are kept. By sorting."""
    usable = [(label, code) for label, code in sites if 0 <= label < len(shares)]
    every = sorted((code for _, code in usable), reverse=True)
    rows = []
    for k, share in enumerate(shares):
        codes = sorted((code for label, code in usable if label == k), reverse=True)
        ranked = every if spec.selection == "overall" else codes
        if spec.selection == "overall":
            quota = max(1, math.floor(Fraction(alpha) * len(every) + Fraction(1, 2))) if every else 0
        else:
            quota = slow_quota(len(codes), alpha)
        if spec.selection == "class_prior" and Fraction(share) > 0:
            quota = min(quota, math.ceil(Fraction(share) * Fraction(alpha) * len(usable) - Fraction("1e-9")))
        if spec.selection == "class_share" and Fraction(share) > 0:
            quota = min(len(codes), math.ceil(Fraction(share) * Fraction(alpha) * len(usable) - Fraction("1e-9")))
        threshold = ranked[quota - 1] if quota else KEEPS_NOTHING
        if alpha == "1.0" and quota == len(ranked):
            threshold = 0
        kept = sum(code >= threshold for code in codes)
        rows.append((threshold if kept else KEEPS_NOTHING, len(codes), kept))
    return rows


def rows_of(cut: Cut) -> list[tuple[int, int, int]]:
    return list(zip(cut.thresholds.tolist(), cut.predicted.tolist(), cut.kept.tolist(), strict=True))


class Stored:
    """Sites in pieces, and how often they were asked for."""

    def __init__(self, label: Tensor, code: Tensor) -> None:
        self.pieces = list(zip(label.tensor_split(3), code.tensor_split(3), strict=True))
        self.asked = 0

    def __call__(self) -> Iterable[tuple[Tensor, Tensor]]:
        self.asked += 1
        return iter(self.pieces)


def both_ways(
    label: Tensor, code: Tensor, spec: PseudoSpec, num_classes: int, shares: Sequence[float]
) -> tuple[Cut, Cut]:
    """The cut of a full histogram, and that of a coarse one with a second look at the sites."""
    cuts = []
    for codes_per_bin in (1, COARSE):
        stored = Stored(label, code)
        histogram = ConfidenceHistogram.of_all_codes(num_classes, codes_per_bin=codes_per_bin)
        for piece in stored.pieces:
            histogram.add(*piece)
        cuts.append(exact_cut(histogram, spec, class_shares=shares, stored=stored))
        assert stored.asked == (codes_per_bin > 1)
    return cuts[0], cuts[1]


@pytest.mark.parametrize("selection", ["per_class", "overall", "class_prior", "class_share"])
@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("codes", CODES)
@pytest.mark.parametrize("num_classes", [2, 5])
def test_the_cut_equals_sorting_exactly(selection: Selection, alpha: str, codes: str, num_classes: int) -> None:
    shares = ["1/50", "0", "1/3", "1/9", "0"][:num_classes]
    for count in (0, 1, 9, 400):
        label, code = random_sites(count, num_classes, CODES[codes])
        expected = slow_cut(
            list(zip(label.tolist(), code.tolist(), strict=True)), make_spec(selection, alpha), alpha, shares
        )
        cuts = both_ways(label, code, make_spec(selection, alpha), num_classes, [float(Fraction(x)) for x in shares])
        assert [rows_of(cut) for cut in cuts] == [expected, expected]


@pytest.mark.parametrize("selection", ["per_class", "overall", "class_prior", "class_share"])
@pytest.mark.parametrize("alpha", ["0.0001", "0.2", "0.57", "1.0"])
def test_what_is_kept_is_what_select_top_keeps_and_its_ties(selection: Selection, alpha: str) -> None:
    label, code = random_sites(2000, 6, CODES["all"][:700])
    label[label == IGNORE_INDEX] = -1
    shares = [0.5, 0.0, 0.1, 0.1, 0.1, 0.2]
    top = select_top(
        code,
        label,
        float(alpha),
        per_class=selection != "overall",
        class_shares=shares if selection.startswith("class_") else None,
        fill_shares=selection == "class_share",
    )
    for cut in both_ways(label, code, make_spec(selection, alpha), 6, shares):
        kept = (label >= 0) & (code >= cut.thresholds[label])
        assert int(cut.kept.sum()) == int(kept.sum())
        assert (kept | ~top).all()
        for group in [label >= 0] if selection == "overall" else [label == k for k in range(5)]:
            assert (code[group & kept] >= code[group & top].min()).all()


@pytest.mark.parametrize("codes", CODES)
@pytest.mark.parametrize("code_of_threshold", [0, 1, 255, 256, 777, 1024, 5000, 20_000])
def test_a_fixed_threshold_keeps_what_is_strictly_surer(codes: str, code_of_threshold: int) -> None:
    num_classes = 4
    threshold = float(decode_confidence(torch.tensor(code_of_threshold)))
    label, code = random_sites(1000, num_classes, CODES[codes])
    sure = decode_confidence(code) > threshold
    kept = [int((sure & (label == k)).sum()) for k in range(num_classes)]
    for cut in both_ways(label, code, make_spec("threshold", threshold=threshold), num_classes, [0.0] * num_classes):
        assert cut.kept.tolist() == kept
        assert cut.thresholds.tolist() == [code_of_threshold + 1 if some else KEEPS_NOTHING for some in kept]
        assert cut.predicted.tolist() == [int((label == k).sum()) for k in range(num_classes)]


@pytest.mark.parametrize(("threshold", "kept"), [(0.0, [3]), (0.4999, [3]), (0.5, [2]), (0.9, [1]), (1.0, [0])])
def test_thresholds_between_and_beyond_the_codes(threshold: float, kept: list[int]) -> None:
    label, code = torch.zeros(4, dtype=torch.int64), torch.tensor([0, 1024, 1025, MAX_CODE])
    for cut in both_ways(label, code, make_spec("threshold", threshold=threshold), 1, [0.0]):
        assert cut.kept.tolist() == kept


@pytest.mark.parametrize(("share", "alpha"), [(0.07, "1.0"), (0.28, "0.25")])
def test_shares_are_not_rounded_up_by_binary_fractions(share: float, alpha: str) -> None:
    assert share * float(alpha) * 100 > 7
    for cut in both_ways(torch.zeros(100).long(), torch.arange(100), make_spec("class_prior", alpha), 1, [share]):
        assert cut.kept.tolist() == [7]


def test_all_ties_at_the_threshold_are_kept() -> None:
    label, code = torch.zeros(100, dtype=torch.int64), torch.tensor([9000] * 30 + [100] * 70)
    for alpha, kept in (("0.01", 30), ("0.3", 30), ("0.31", 100)):
        for cut in both_ways(label, code, make_spec("per_class", alpha), 1, [0.0]):
            assert cut.kept.tolist() == [kept]


@pytest.mark.parametrize("selection", ["per_class", "overall", "class_prior", "class_share"])
def test_without_any_prediction_nothing_is_kept(selection: Selection) -> None:
    label, code = torch.tensor([-1, IGNORE_INDEX, -1]), torch.tensor([5, 6, 7])
    for cut in both_ways(label, code, make_spec(selection), 2, [0.5, 0.5]):
        assert rows_of(cut) == [(KEEPS_NOTHING, 0, 0)] * 2


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64])
@pytest.mark.parametrize("shape", [(24,), (2, 3, 4), (0,), (1, 0, 3)])
def test_sites_of_any_shape_and_type_are_counted(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    random = torch.Generator().manual_seed(0)
    label = torch.randint(3, shape, generator=random)
    code = torch.randint(4, shape, generator=random)
    label[code == 3] = IGNORE_INDEX
    histogram = ConfidenceHistogram.of_all_codes(3)
    histogram.add(label.to(dtype), code.to(dtype))
    pairs = list(zip(label.flatten().tolist(), code.flatten().tolist(), strict=True))
    expected = {pair: pairs.count(pair) for pair in sorted(set(pairs)) if pair[0] != IGNORE_INDEX}
    found = zip(*(column.tolist() for column in histogram.rows()), strict=True)
    assert {(k, code_): count for k, code_, count in found} == expected
    assert histogram.sites.sum() == sum(expected.values())


def test_a_label_that_is_no_class_is_our_bug() -> None:
    with pytest.raises((IndexError, RuntimeError)):
        ConfidenceHistogram.of_all_codes(3).add(torch.tensor([3]), torch.tensor([0]))


@pytest.mark.parametrize("codes_per_bin", [1, COARSE])
def test_histograms_of_shares_add_up(codes_per_bin: int) -> None:
    label, code = random_sites(500, 4, CODES["all"])
    whole, *shares = (ConfidenceHistogram.of_all_codes(4, codes_per_bin=codes_per_bin) for _ in range(3))
    whole.add(label, code)
    for rank, share in enumerate(shares):
        share.add(label[rank::2], code[rank::2])
    shares[0].merge(shares[1])
    assert torch.equal(shares[0].counts, whole.counts)
    copy = ConfidenceHistogram.of_all_codes(4, codes_per_bin=codes_per_bin)
    copy.add_rows(*whole.rows())
    assert torch.equal(copy.counts, whole.counts)
    assert (whole.rows()[1] % codes_per_bin == 0).all()


@pytest.mark.parametrize("num_classes", [2, MAX_CLASSES_IN_FULL, MAX_CLASSES_IN_FULL + 1, 150, 255])
def test_a_histogram_fits_in_sixteen_megabytes(num_classes: int) -> None:
    histogram = ConfidenceHistogram.of_all_codes(num_classes)
    assert histogram.counts.numel() * histogram.counts.element_size() <= 16e6
    assert histogram.codes_per_bin == (1 if num_classes <= MAX_CLASSES_IN_FULL else COARSE)


@pytest.mark.parametrize("alpha", ["0", "-0.1", "1.0001", "nan", "inf"])
def test_impossible_fractions_are_refused(alpha: str) -> None:
    histogram = ConfidenceHistogram.of_all_codes(2)
    with pytest.raises(ValueError, match="top_fraction"):
        exact_cut(histogram, make_spec("per_class", alpha), class_shares=[], stored=tuple)
