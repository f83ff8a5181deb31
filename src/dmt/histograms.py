"""Where each class is cut so that its most confident sites are kept: exact, from counts of confidence codes.

Segmentation has too many sites to sort. Counts add up over images and processes, and thresholds that are read off them
keep exactly the sites that sorting would, ties included (contracts section 5).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from dmt.selection import MAX_CODE, class_quota, decode_confidence, overall_quota, share_quota
from dmt.types import BY_SHARES, IGNORE_INDEX, PseudoSpec

KEEPS_NOTHING = MAX_CODE + 1
"""The threshold of a class that keeps no site; no code reaches it."""

MAX_CLASSES_IN_FULL = 21
"""Up to so many classes, a count of every code is held (11 MB); of more classes, counts of `COARSE` codes together."""

COARSE = 256


class ConfidenceHistogram:
    """How many sites each class was predicted at, by confidence code.

    Bins 1 .. `num_bins` of class k hold `codes_per_bin` codes each, from `first_code[k]` on. Bin 0 holds all lower
    codes and the last bin all higher ones, so that a close look at a few codes still counts every site.
    """

    def __init__(self, first_code: Tensor, *, num_bins: int, codes_per_bin: int) -> None:
        self.first_code = first_code
        self.codes_per_bin = codes_per_bin
        self.counts = torch.zeros(len(first_code), num_bins + 2, dtype=torch.int64)

    @classmethod
    def of_all_codes(cls, num_classes: int, *, codes_per_bin: int | None = None) -> Self:
        """An empty one; by default with a bin for each code up to 21 classes, and coarse bins for more."""
        if codes_per_bin is None:
            codes_per_bin = 1 if num_classes <= MAX_CLASSES_IN_FULL else COARSE
        first_code = torch.zeros(num_classes, dtype=torch.int64)
        return cls(first_code, num_bins=KEEPS_NOTHING // codes_per_bin, codes_per_bin=codes_per_bin)

    @property
    def sites(self) -> Tensor:
        """`(C,)` int64: how many sites each class was predicted at."""
        return self.counts.sum(dim=1)

    def add(self, label: Tensor, code: Tensor) -> None:
        """Count sites.

        Args:
            label: predicted classes, any shape; negative ones and 255 are left out.
            code: confidence codes of that shape.
        """
        predicted = (label >= 0) & (label != IGNORE_INDEX)
        self.add_rows(label.where(predicted, 0).flatten().long(), code.flatten().long(), predicted.flatten().long())

    def merge(self, other: Self) -> None:
        """Count what another process counted in bins like these."""
        self.counts += other.counts

    def rows(self) -> tuple[Tensor, Tensor, Tensor]:
        """Class, first code and count of the bins that are not empty; each `(n,)` int64."""
        label, number = self.counts.nonzero(as_tuple=True)
        return label, self.first_code[label] + (number - 1) * self.codes_per_bin, self.counts[label, number]

    def add_rows(self, label: Tensor, code: Tensor, count: Tensor) -> None:
        """Count what `rows` told of a histogram with bins like these."""
        # Not bincount, which would make a table of our size for every image.
        self.counts.view(-1).index_add_(0, label * self.counts.shape[1] + self._bins(label, code), count)

    def zoom(self, first_code: Tensor) -> Self:
        """An empty one of single codes, as many as one of our bins holds, from `first_code` `(C,)` on."""
        return type(self)(first_code, num_bins=self.codes_per_bin, codes_per_bin=1)

    def lowest_kept(self, quotas: Tensor, *, pooled: bool = False) -> Tensor:
        """Where the highest bin begins from which on a class has at least its quota of sites.

        Args:
            quotas: `(C,)` int64; `(1,)` when pooled.
            pooled: count all classes together, and cut them at one place.

        Returns:
            `(C,)` int64 codes.
        """
        at_least = _sum_from_each_on(self.counts.sum(dim=0, keepdim=True) if pooled else self.counts)
        number = (at_least >= quotas[:, None]).sum(dim=1) - 1
        return self.first_code + (number - 1) * self.codes_per_bin

    def count_from(self, code: Tensor) -> Tensor:
        """`(C,)` int64: sites of each class from a code on, which must be one that a bin begins with."""
        return _sum_from_each_on(self.counts).gather(1, self._bins(torch.arange(len(code)), code)[:, None]).squeeze(1)

    def _bins(self, label: Tensor, code: Tensor) -> Tensor:
        steps = (code - self.first_code[label]) // self.codes_per_bin
        return steps.clamp(-1, self.counts.shape[1] - 2) + 1


@dataclass(frozen=True, kw_only=True)
class Cut:
    """What a selection keeps: the sites whose code is at least the threshold of their predicted class.

    Attributes:
        thresholds: `(C,)` int64 codes; `KEEPS_NOTHING` for a class that is never predicted or keeps nothing.
        predicted: `(C,)` int64, sites of each predicted class.
        kept: `(C,)` int64, those of them that are kept.
    """

    thresholds: Tensor
    predicted: Tensor
    kept: Tensor


def exact_cut(
    histogram: ConfidenceHistogram,
    spec: PseudoSpec,
    *,
    class_shares: Sequence[float],
    stored: Callable[[], Iterable[tuple[Tensor, Tensor]]],
) -> Cut:
    """Cut each class so that it keeps its quota of most confident sites, and those tied with the last of them.

    Args:
        histogram: of all sites.
        spec: how many sites are kept, and ranked among which.
        class_shares: what share of all sites each class is believed to have, for `BY_SHARES`; 0 = unknown.
        stored: all sites again, as pieces of labels and codes. It is asked only where the histogram is coarse, and
            makes the cut the same as that of a full histogram.

    Raises:
        ValueError: when `spec.top_fraction` is outside (0, 1].
    """
    thresholds = _thresholds(histogram, spec, class_shares)
    if histogram.codes_per_bin > 1:
        histogram = histogram.zoom(thresholds)
        for label, code in stored():
            histogram.add(label, code)
        thresholds = _thresholds(histogram, spec, class_shares)
    kept = histogram.count_from(thresholds)
    return Cut(
        thresholds=torch.where(kept > 0, thresholds, KEEPS_NOTHING),
        predicted=histogram.sites,
        kept=kept,
    )


def _thresholds(histogram: ConfidenceHistogram, spec: PseudoSpec, class_shares: Sequence[float]) -> Tensor:
    """As precise as the histogram's bins."""
    if spec.selection == "threshold":
        assert spec.threshold is not None
        return torch.full_like(histogram.first_code, _lowest_code_above(spec.threshold))
    if not 0.0 < spec.top_fraction <= 1.0:
        raise ValueError(f"top_fraction is {spec.top_fraction}; it must be above 0 and at most 1.")
    pooled = spec.selection == "overall"
    sites = histogram.sites.sum(dim=0, keepdim=True) if pooled else histogram.sites
    quotas = torch.tensor(_quotas(sites.tolist(), spec, class_shares))
    everything = (quotas == sites) & (spec.top_fraction == 1.0)
    return torch.where(everything, 0, histogram.lowest_kept(quotas, pooled=pooled))


def _quotas(sites: Sequence[int], spec: PseudoSpec, class_shares: Sequence[float]) -> list[int]:
    """How many sites each group keeps at least; the groups are classes, or all classes together."""
    if spec.selection == "overall":
        return [overall_quota(count, spec.top_fraction) for count in sites]
    quotas = [class_quota(count, spec.top_fraction) for count in sites]
    if spec.selection not in BY_SHARES:
        return quotas
    # As in select_top.
    shares = [
        share_quota(count, spec.top_fraction, share=share, num_all=sum(sites))
        for count, share in zip(sites, class_shares, strict=True)
    ]
    return shares if spec.selection == "class_share" else list(map(min, quotas, shares))


def _lowest_code_above(confidence: float) -> int:
    return int((decode_confidence(torch.arange(MAX_CODE + 1)) <= confidence).sum())


def _sum_from_each_on(counts: Tensor) -> Tensor:
    """`(C, bins)`: the sum of each bin and all higher ones."""
    return counts.sum(dim=1, keepdim=True) - counts.cumsum(dim=1) + counts
