"""Several networks that answer as one."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Ensemble(nn.Module):
    """The mean probabilities of networks, as logits.

    Args:
        networks: images `(N, channels, H, W)` -> logits `(N, C, *S)`, of the same classes.
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        assert networks
        self.networks = nn.ModuleList(networks)

    def forward(self, images: Tensor) -> Tensor:
        """Log-probabilities of the networks' logits' shape, fp32."""
        answers = torch.stack([network(images).float().log_softmax(dim=1) for network in self.networks])
        return answers.logsumexp(dim=0) - math.log(len(answers))
