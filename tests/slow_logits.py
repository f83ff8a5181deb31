"""Slow and obvious arithmetic on logits, to hold the fast one against."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def random_logits(
    shape: tuple[int, ...], num_classes: int, *, seed: int = 0, scale: float = 3.0, bias: float = 0.0
) -> Tensor:
    """With a bias, the first classes are predicted often and surely, the last ones seldom and unsurely."""
    random = torch.Generator().manual_seed(seed)
    logits = torch.randn((shape[0], num_classes, *shape[1:]), generator=random) * scale
    return logits + torch.linspace(bias, -bias, num_classes).reshape(-1, *[1] * (len(shape) - 1))


def sites_of(logits: Tensor) -> list[list[float]]:
    """`(N, C, *S)` -> the C logits of every site."""
    return logits.double().movedim(1, -1).reshape(-1, logits.shape[1]).tolist()


def softmax(logits: Sequence[float]) -> list[float]:
    top = max(logits)
    scaled = [math.exp(logit - top) for logit in logits]
    return [value / sum(scaled) for value in scaled]


def code_of(confidence: float) -> float:
    """Before it is rounded."""
    return -1024 * math.log2(1 - confidence) if confidence < 1 else math.inf
