"""A small U-Net (Ronneberger et al., 2015) for masks of tiny images, about 32 to 128 pixels a side."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTHS = (24, 48, 96)
"""Channels at strides 2, 4, 8."""


class SmallUNet(nn.Module):
    """Down by max pooling, up by joining each level with the finer one; `(N, channels, H, W)` -> `(N, C, H/2, W/2)`.

    Any size does: a side of one pixel is not pooled, and what pooling cuts off comes back with the finer level. Nothing
    is computed at full size, where a channel costs four times as much.
    """

    def __init__(self, *, num_classes: int, in_channels: int) -> None:
        super().__init__()
        self.down = nn.ModuleList(_block(before, after) for before, after in pairwise((in_channels, *WIDTHS)))
        self.up = nn.ModuleList(_block(coarse + fine, fine) for fine, coarse in pairwise(WIDTHS))
        self.down[0][0].stride = (2, 2)  # type: ignore[index]
        self.classifier = nn.Conv2d(WIDTHS[0], num_classes, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Logits of normalized images, at half their size, rounded up."""
        levels = [self.down[0](images)]
        for block in self.down[1:]:
            levels.append(block(_pooled(levels[-1])))
        features = levels.pop()
        for block in reversed(self.up):
            finer = levels.pop()
            wide = F.interpolate(features, size=finer.shape[2:], mode="bilinear", align_corners=False)
            features = block(torch.cat([wide, finer], dim=1))
        logits: Tensor = self.classifier(features)
        return logits


def _pooled(features: Tensor) -> Tensor:
    height, width = (min(side, 2) for side in features.shape[2:])
    return F.max_pool2d(features, (height, width))


def _block(in_channels: int, out_channels: int) -> nn.Sequential:
    """Two 3x3 convolutions."""
    layers: list[nn.Module] = []
    for before, after in ((in_channels, out_channels), (out_channels, out_channels)):
        layers += [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)
