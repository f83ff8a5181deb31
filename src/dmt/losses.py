"""The paper's loss as pure functions: dynamic weights (Eq. 3), losses (Eq. 4-6), gamma ramp, mixup.

Every formula is written once for both tasks: logits are `(N, C, *S)`, everything else `(N, *S)`. All arithmetic on
probabilities is fp32 whatever the network computes in, so that p ** gamma does not underflow.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dmt.selection import top_class
from dmt.types import UNLABELED

MIN_LOG_PROBABILITY = -1e4
"""Stands in for log 0, so that gamma = 0 gives weight exp(0) = 1 at p = 0 too; exp(gamma * it) is 0 from gamma 0.02."""

MAX_CLASS_SCALE = 10.0
"""The most that `class_scales` multiplies with: a class that is all but vetoed does not hang on its last few sites."""


@torch.no_grad()
def dynamic_weights(
    logits: Tensor,
    pseudo_label: Tensor,
    pseudo_confidence: Tensor,
    *,
    gamma_agree: float,
    gamma_disagree: float,
    ignore_index: int = UNLABELED,
    student_confidence: Tensor | None = None,
) -> Tensor:
    """How much each pseudo label counts: less, the more the student disagrees with its teacher (paper, Eq. 3).

    With y_B, c_B the student's class and confidence, and p_B its probability of the pseudo label:
    p_B ** gamma_agree where they agree, p_B ** gamma_disagree where they disagree and the teacher is at least as
    confident, 0 where the student disagrees and is more confident (also at gamma 0).

    Args:
        logits: `(N, C, *S)`, the student's; no gradient flows through the weights.
        pseudo_label: `(N, *S)` int64, the teacher's class, or `ignore_index`.
        pseudo_confidence: `(N, *S)`, the teacher's confidence in [0, 1].
        gamma_agree: the paper's gamma_1, >= 0.
        gamma_disagree: the paper's gamma_2, >= 0.
        ignore_index: the label of sites that count nothing.
        student_confidence: c_B to compare with instead of the exact one, `(N, *S)`; training passes it through the
            code that stored confidences went through, so that both sides of the comparison are rounded alike.

    Returns:
        `(N, *S)` float32 weights in [0, 1]; 0 where the label is ignored.

    Raises:
        ValueError: the shapes do not belong together, or a gamma is below 0.
    """
    if min(gamma_agree, gamma_disagree) < 0:
        raise ValueError(f"gamma_agree is {gamma_agree} and gamma_disagree {gamma_disagree}; both must be 0 or more.")
    _check_sites(logits, pseudo_label=pseudo_label, pseudo_confidence=pseudo_confidence)
    if student_confidence is not None:
        _check_sites(logits, student_confidence=student_confidence)
    logits = logits.float()
    valid = pseudo_label != ignore_index
    label = torch.where(valid, pseudo_label, 0)
    log_p = (-F.cross_entropy(logits, label, reduction="none")).clamp(min=MIN_LOG_PROBABILITY)
    # Not exp of a log: a c_A that came from a softmax of the same logits must tie with c_B, not lose to it.
    confidence = logits.softmax(dim=1).amax(dim=1) if student_confidence is None else student_confidence

    agrees = top_class(logits) == label
    surer = ~agrees & (confidence > pseudo_confidence)
    gamma = torch.where(agrees, gamma_agree, gamma_disagree)
    return torch.exp(gamma * log_p) * (valid & ~surer)


def _check_sites(logits: Tensor, **maps: Tensor) -> None:
    """Refuse what torch would broadcast to a wrong result without a word."""
    wanted = (logits.shape[0], *logits.shape[2:])
    for name, one in maps.items():
        if tuple(one.shape) != wanted:
            raise ValueError(
                f"{name} has the shape {tuple(one.shape)}; to logits {tuple(logits.shape)} belongs {wanted}."
            )


def site_cross_entropy(
    logits: Tensor, target: Tensor, *, ignore_index: int = UNLABELED, class_weights: Tensor | None = None
) -> Tensor:
    """Cross-entropy of every site, fp32; 0 where the target is ignored. `(N, C, *S)`, `(N, *S)` -> `(N, *S)`.

    With `class_weights` `(C,)`, each site's is multiplied by the weight of its target.
    """
    return F.cross_entropy(logits.float(), target, weight=class_weights, ignore_index=ignore_index, reduction="none")


def balanced_class_weights(shares: Sequence[float], *, exponent: float) -> Tensor:
    """Weights `(C,)` of classes that have these shares of the labeled sites: share ** -exponent, and 1 in the mean.

    The mean is that over labeled sites, so that the loss keeps its size. A class without a site gets weight 1.

    Args:
        shares: of each class, in [0, 1].
        exponent: 0 leaves all classes alike, 1 gives each the same sum of weights.
    """
    share = torch.tensor(shares, dtype=torch.float64)
    raw = torch.where(share > 0, share, 1.0) ** -exponent
    weights = raw / (raw * share).sum().clamp(min=1e-12)
    return torch.where(share > 0, weights, 1.0).float()


@torch.no_grad()
def class_sums(weights: Tensor, labels: Tensor, valid: Tensor, *, num_classes: int) -> Tensor:
    """Sum of the weights, and number, of each class's valid sites: `(N, *S)` three times -> `(2, C)` float32."""
    # Not scatter_add, which adds in any order on a GPU: a run is to give the same bits again.
    of_class = [valid & (labels == one) for one in range(num_classes)]
    total = torch.stack([torch.where(one, weights, 0.0).sum() for one in of_class])
    return torch.stack([total, torch.stack([one.sum() for one in of_class]).to(total)])


def class_scales(sums: Tensor) -> Tensor:
    """Factors `(C,)` that bring each class's weights to a mean of 1, from what `class_sums` gives; 10 at most."""
    total, count = sums.unbind()
    return (count / total.clamp(min=1e-12)).clamp(max=MAX_CLASS_SCALE)


def dynamic_loss(
    logits: Tensor,
    target: Tensor,
    weights: Tensor,
    *,
    ignore_index: int = UNLABELED,
    normalizer: Tensor | float | None = None,
    class_weights: Tensor | None = None,
) -> Tensor:
    """Weighted cross-entropy over labeled and pseudo-labeled sites together (paper, Eq. 4-6).

    The sum of weight x cross-entropy, over the number of sites that are not ignored. Sites of weight 0 do count in
    that number; with no site at all the loss is 0 with a zero gradient.

    Args:
        logits: `(N, C, *S)`.
        target: `(N, *S)` int64.
        weights: `(N, *S)`, 1 where labeled.
        ignore_index: the target of sites that count nothing.
        normalizer: the number of sites to divide by when this batch is a part of a larger one (of other processes);
            counted here when None.
        class_weights: `(C,)`, of which each site's loss is multiplied with that of its target; None = 1 (the paper).

    Raises:
        ValueError: the shapes do not belong together.
    """
    _check_sites(logits, target=target, weights=weights)
    cross_entropy = site_cross_entropy(logits, target, ignore_index=ignore_index, class_weights=class_weights)
    # A vetoed site counts nothing even where its cross-entropy is infinite.
    total = (weights * torch.where(weights > 0, cross_entropy, 0.0)).sum()
    if normalizer is None:
        normalizer = (target != ignore_index).sum()
    return total / torch.as_tensor(normalizer, device=total.device).clamp(min=1)


def gamma_ramp(gamma_max: float, progress: float) -> float:
    """The paper's sigmoid-like ramp of gamma: gamma_max * exp(-5 (1 - progress) ** 2), progress in [0, 1].

    The sign in the exponent is minus; the plus that the paper prints would start at 148 times gamma_max (docs/method).
    """
    return gamma_max * math.exp(-5.0 * (1.0 - progress) ** 2)


def mixup(
    images: Tensor,
    weights: Tensor,
    targets: Tensor,
    *,
    alpha: float,
    generator: np.random.Generator,
    keep_max: bool = True,
) -> tuple[Tensor, Tensor, Tensor, Tensor, float]:
    """Mix every image, and its weight, with another one of the batch (paper, section 5.2.2).

    One lambda ~ Beta(alpha, alpha) and one permutation for the whole batch, labeled and pseudo-labeled alike. The mixed
    weight is for the mixed cross-entropy: lam * CE(targets_a) + (1 - lam) * CE(targets_b).

    Args:
        images: `(N, channels, H, W)`.
        weights: `(N, *S)`.
        targets: `(N, *S)`.
        alpha: > 0.
        generator: where lambda and the permutation come from.
        keep_max: use max(lam, 1 - lam), so that an image stays mostly itself.

    Returns:
        Mixed images, mixed weights, targets, targets of the partners, lambda.
    """
    lam = float(generator.beta(alpha, alpha))
    lam = max(lam, 1.0 - lam) if keep_max else lam
    partner = torch.from_numpy(generator.permutation(len(images))).to(images.device, non_blocking=True)
    mixed_images = torch.lerp(images[partner], images, lam)
    mixed_weights = torch.lerp(weights[partner], weights, lam)
    return mixed_images, mixed_weights, targets, targets[partner], lam


def contrastive_loss(projections: Tensor, *, temperature: float) -> Tensor:
    """How badly each view's partner stands out from all other views (Chen et al. 2020, NT-Xent, Eq. 1).

    Cosine similarities, in fp32, are divided by the temperature; for every view, the cross-entropy of its partner among
    all views but itself is taken, and their mean returned.

    Args:
        projections: `(2 n, D)`; views k and n + k are of the same image, n at least 2.
        temperature: above 0.
    """
    count = len(projections)
    assert count % 2 == 0
    assert count >= 4
    with torch.autocast(projections.device.type, enabled=False):  # which computes products in half precision
        unit = F.normalize(projections.float(), dim=1)
        similarities = unit @ unit.T / temperature
    itself = torch.eye(count, dtype=torch.bool, device=unit.device)
    similarities = similarities.masked_fill(itself, -math.inf)
    partners = torch.arange(count, device=unit.device).roll(count // 2)
    return F.cross_entropy(similarities, partners)
