import torch
from torch import nn

from dmt.models.calibrated import Calibrated


def test_logits_are_divided_by_the_temperature() -> None:
    images = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(Calibrated(nn.Identity(), 2.0)(images), images / 2)
