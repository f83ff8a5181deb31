"""Which pseudo labels are kept: the confidence code they are ranked on, and the exact top fraction.

Confidences near 1 are where ranking matters and where softmax saturates, so what is ranked, stored and compared is a
16-bit code of 1 - c (docs/method, contracts section 5).
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

MAX_CODE = 65535
CODES_PER_HALVING = 1024
"""One unit of the code is 1/1024 of a halving of 1 - c; the largest code stands for 1 - c = 2 ** -64."""


@torch.no_grad()
def top_class(logits: Tensor) -> Tensor:
    """The most probable class of each site, the lowest of equal ones: `(N, C, *S)` -> `(N, *S)` int64.

    Torch's argmax over the classes of a map takes ten times as long as this on a CPU.
    """
    num_classes = logits.shape[1]
    descending = torch.arange(num_classes, 0, -1, dtype=torch.uint8 if num_classes < 256 else torch.int32)
    descending = descending.to(logits.device).reshape(-1, *[1] * (logits.dim() - 2))
    first = ((logits == logits.amax(dim=1, keepdim=True)) * descending).amax(dim=1)
    return (num_classes - first.long()).clamp(max=num_classes - 1)  # NaN equals nothing


@torch.no_grad()
def finite_sites(logits: Tensor) -> Tensor:
    """Where all logits are finite: `(N, C, *S)` -> `(N, *S)` bool."""
    return (logits * 0).sum(dim=1) == 0


@torch.no_grad()
def confidence_code(logits: Tensor, label: Tensor | None = None) -> Tensor:
    """Code of the largest softmax probability: clamp(round(1024 * -log2(1 - c)), 0, 65535).

    log(1 - c) = log(sum of exp of all logits but the largest) - log(that of all), in fp32, never through 1 - c itself.

    Args:
        logits: `(N, C, *S)`, C >= 2.
        label: `(N, *S)` int64; whose probability c is instead of the largest one.

    Returns:
        `(N, *S)` int32; 0 where the logits are not finite.
    """
    logits = logits.float()
    own = (top_class(logits) if label is None else label).unsqueeze(1)
    powers = (logits - logits.amax(dim=1, keepdim=True)).exp_()
    own_power = powers.gather(1, own).squeeze(1)
    rest = powers.scatter_(1, own, 0.0).sum(dim=1)
    log_rest = rest.log() - (rest + own_power).log()
    code = (log_rest * (-CODES_PER_HALVING / math.log(2))).round().clamp(0, MAX_CODE)
    return torch.where(finite_sites(logits), code, 0).to(torch.int32)


def decode_confidence(code: Tensor) -> Tensor:
    """The confidence c that a code stands for, float64: 1 - 2 ** (-code / 1024)."""
    return _confidences(code.device)[code.long()]


@lru_cache(maxsize=8)
def _confidences(device: torch.device) -> Tensor:
    """Every code's confidence, computed on the CPU: a tie must not hang on which device decoded which side."""
    codes = torch.arange(MAX_CODE + 1, dtype=torch.float64)
    return (-torch.expm1(codes * (-math.log(2) / CODES_PER_HALVING))).to(device)


def overall_quota(num_sites: int, top_fraction: float) -> int:
    """How many of `num_sites` the overall selection keeps: floor(alpha n + 0.5), at least 1 when there is any.

    The 1e-9 undoes the binary rounding of fractions such as 0.29, as it does in `class_quota`.
    """
    return min(num_sites, max(1, math.floor(top_fraction * num_sites + 0.5 + 1e-9)))


def class_quota(num_sites: int, top_fraction: float) -> int:
    """How many of a class's `num_sites` the per-class selection keeps: ceil(alpha n - 1e-9)."""
    return min(num_sites, math.ceil(top_fraction * num_sites - 1e-9))


def share_quota(num_sites: int, top_fraction: float, *, share: float, num_all: int) -> int:
    """How many of a class's `num_sites` its share of all sites is worth: ceil(alpha n s - 1e-9).

    Args:
        num_sites: where the class is predicted.
        top_fraction: alpha.
        share: what share of all sites the class is believed to have; 0 = unknown, and its own top fraction is kept.
        num_all: sites of all classes, n.
    """
    if share == 0:
        return class_quota(num_sites, top_fraction)
    return min(num_sites, math.ceil(share * top_fraction * num_all - 1e-9))


def select_top(
    confidence: Tensor,
    prediction: Tensor,
    top_fraction: float,
    *,
    per_class: bool,
    class_shares: Sequence[float] | None = None,
    fill_shares: bool = False,
) -> Tensor:
    """Keep the most confident sites, with exact counts (paper, Algorithm 1 line 5 and Algorithm 2 lines 12, 14).

    Args:
        confidence: `(n,)`, anything that ranks: confidences or their codes. NaN is never selected.
        prediction: `(n,)` predicted classes; a negative one is never selected.
        top_fraction: the paper's alpha, in (0, 1].
        per_class: rank within each predicted class instead of over all sites.
        class_shares: with `per_class`, what share of all sites each class is believed to have; a class that is
            predicted more often than that keeps the top fraction of its share only. 0 = unknown, not limited.
        fill_shares: a class that is predicted less often than that keeps as much, as far as it can.

    Returns:
        `(n,)` bool mask. Ties go to the lower index. A class that is never predicted keeps nothing.

    Raises:
        ValueError: when `top_fraction` is outside (0, 1].
    """
    if not 0.0 < top_fraction <= 1.0:
        raise ValueError(f"top_fraction is {top_fraction}; it must be above 0 and at most 1.")
    selectable = ~confidence.isnan() & (prediction >= 0)
    mask = torch.zeros_like(selectable)
    groups = sorted(set(prediction[selectable].tolist())) if per_class else [None]
    for group in groups:
        candidates = (selectable if group is None else selectable & (prediction == group)).nonzero().squeeze(1)
        quota = (class_quota if per_class else overall_quota)(len(candidates), top_fraction)
        if class_shares is not None and group is not None and class_shares[group] > 0:
            by_share = share_quota(
                len(candidates), top_fraction, share=class_shares[group], num_all=int(selectable.sum())
            )
            quota = by_share if fill_shares else min(quota, by_share)
        order = torch.sort(confidence[candidates], descending=True, stable=True).indices
        mask[candidates[order[:quota]]] = True
    return mask
