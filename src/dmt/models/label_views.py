"""A network that looks several times: at an image and its mirror image, at one scale or more."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_LEAST = 1e-37
"""Stands in for probability 0, of which there is no logarithm; the smallest that fp32 holds in full."""


LABEL_SCALES = {"mirrored": (1.0,), "multiscale": (0.75, 1.0, 1.5)}
"""Sizes at which a teacher looks at an image and its mirror image, by `rounds.label_views`."""


class LabelViews(nn.Module):
    """The mean probabilities of a network over views of an image, as logits.

    Args:
        network: images `(N, channels, H, W)` -> logits `(N, C)`, or maps `(N, C, H, W)`, which are brought back.
        scales: factors of the image's size; each is looked at mirrored left to right, too.
    """

    def __init__(self, network: nn.Module, *, scales: Sequence[float] = (1.0,)) -> None:
        super().__init__()
        self.network = network
        self.scales = tuple(scales)

    def forward(self, images: Tensor) -> Tensor:
        """Log-probabilities of the network's logits' shape, fp32."""
        views = [self._log_probabilities(images, scale, mirror) for scale in self.scales for mirror in (False, True)]
        # Added as logarithms: a probability near 1 is told by how small the others are.
        return torch.logsumexp(torch.stack(views), dim=0) - math.log(len(views))

    def _log_probabilities(self, images: Tensor, scale: float, mirror: bool) -> Tensor:
        view = images if scale == 1 else _resized(images, list(view_size(images.shape[2:], scale)))
        logits: Tensor = self.network(view.flip(-1) if mirror else view).float()
        answer = logits.log_softmax(dim=1)
        if answer.dim() < 4:
            return answer
        answer = answer.flip(-1) if mirror else answer
        if answer.shape[2:] == images.shape[2:]:
            return answer
        return _resized(answer.exp(), list(images.shape[2:])).clamp(min=_LEAST).log()


def view_size(size: Sequence[int], scale: float) -> tuple[int, int]:
    """Height and width of an image's view at a scale."""
    return round(size[0] * scale), round(size[1] * scale)


def _resized(maps: Tensor, size: list[int]) -> Tensor:
    resized: Tensor = F.interpolate(maps, size=size, mode="bilinear", align_corners=False, antialias=True)
    return resized
