"""A network that looks twice: at an image, and at it mirrored left to right."""

import math

import torch
from torch import Tensor, nn


class Mirrored(nn.Module):
    """The mean probabilities of a network over an image and its mirror image, as logits.

    Args:
        network: images `(N, channels, H, W)` -> logits `(N, C)`, or `(N, C, H, W)`, which are mirrored back.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Log-probabilities of the network's logits' shape, fp32."""
        plain, mirrored = (self.network(view).float().log_softmax(dim=1) for view in (images, images.flip(-1)))
        # Added as logarithms: a probability near 1 is told by how small the others are.
        back = mirrored.flip(-1) if mirrored.dim() == 4 else mirrored
        return torch.logaddexp(plain, back) - math.log(2)
