"""Random maps, and what the specification says of each of their pixels, one at a time."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dmt.config import Config
from dmt.config_files import load_config
from dmt.types import IGNORE_INDEX, Batch

NUM_CLASSES = 4
RULED = ["dmt", "dmt_naive", "dmt_flip", "self_training"]
WITHOUT_RULE = ["cbst", "curriculum_labeling"]
SHAPES = [(2, 1, 1), (3, 4, 5), (5, 7, 2)]
AGREE, DISAGREE, EXPONENT = 5.0, 3.0, 2.0
LOSS = {
    "gamma_agree": AGREE,
    "gamma_disagree": DISAGREE,
    "flip_exponent": EXPONENT,
    "naive_exponent": EXPONENT,
    "confidence_threshold": 0.6,
}


def config(method: str, **changes: Any) -> Config:
    return load_config({"task": "segmentation", "data": {"name": "scenes"}, "method": method, "loss": LOSS} | changes)


class Pixels(nn.Module):
    """Logits of each pixel from its own colors, in double precision; counts its forward passes."""

    def __init__(self, *, batchnorm: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.norm = nn.BatchNorm2d(3).double() if batchnorm else nn.Identity()
        self.head = nn.Conv2d(3, NUM_CLASSES, 1).double()
        with torch.no_grad():
            self.head.weight *= 6
        self.passes = 0

    def forward(self, images: Tensor) -> Tensor:
        self.passes += 1
        logits: Tensor = self.head(self.norm(images.double()))
        return logits


def random_maps(shape: tuple[int, int, int], *, seed: int = 0, ignored: float = 0.25) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, labels (half of them the student's own) and confidences."""
    random = torch.Generator().manual_seed(seed)
    logits = torch.randn(shape[0], NUM_CLASSES, *shape[1:], generator=random) * 2
    other = torch.randint(NUM_CLASSES, shape, generator=random)
    label = torch.where(torch.rand(shape, generator=random) < 0.5, logits.argmax(dim=1), other)
    label[torch.rand(shape, generator=random) < ignored] = IGNORE_INDEX
    return logits, label, torch.rand(shape, generator=random, dtype=torch.float64)


def make_batch(shape: tuple[int, int, int] = (5, 3, 4), *, num_labeled: int = 1, seed: int = 0) -> Batch:
    random = torch.Generator().manual_seed(seed)
    _, label, confidence = random_maps(shape, seed=seed)
    is_labeled = torch.arange(shape[0]) >= shape[0] - num_labeled
    return Batch(
        images=torch.rand(shape[0], 3, *shape[1:], generator=random),
        targets=label,
        confidence=torch.where(is_labeled[:, None, None], 1.0, confidence),
        is_labeled=is_labeled,
    )


def probabilities_of(logits: Sequence[float]) -> list[float]:
    top = max(logits)
    values = [math.exp(value - top) for value in logits]
    return [value / sum(values) for value in values]


def rounded(confidence: float) -> float:
    """A confidence after the stored code."""
    return 1 - 2.0 ** (-round(-1024 * math.log2(1 - confidence)) / 1024)


def case_of(p: Sequence[float], label: int, c_a: float) -> int:
    """Which of Eq. 3's three cases holds."""
    own = p.index(max(p))
    if own == label:
        return 1
    return 2 if c_a >= rounded(p[own]) else 3


def pixel(method: str, p: list[float], label: int, c_a: float) -> tuple[int, float]:
    """Target and weight of one pseudo-labeled pixel, by the tables of the specification (1.2 and 3)."""
    if label == IGNORE_INDEX:
        return label, 0.0
    if method in WITHOUT_RULE:
        return label, 1.0
    if method == "dmt_naive":
        return label, p[label] ** EXPONENT
    case = case_of(p, label, c_a)
    if case == 3:
        return (p.index(max(p)), (1 - c_a) ** EXPONENT) if method == "dmt_flip" else (label, 0.0)
    return label, p[label] ** {1: AGREE, 2: DISAGREE}[case]


def places(shape: Sequence[int]) -> list[tuple[int, int, int]]:
    return list(np.ndindex(*shape))  # type: ignore[arg-type]


def at(logits: Tensor, place: tuple[int, int, int]) -> list[float]:
    values: list[float] = logits[place[0], :, place[1], place[2]].double().tolist()
    return values
