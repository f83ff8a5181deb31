"""A small convolutional network for tiny images, about 8 to 32 pixels a side."""

from itertools import pairwise

from torch import nn

WIDTHS: tuple[tuple[int, ...], ...] = ((32,), (64,), (128,))
"""Output channels of each 3x3 convolution; between two groups the image is halved by max pooling."""


def small_cnn(*, num_classes: int, in_channels: int) -> nn.Sequential:
    """Conv-BN-ReLU layers of `WIDTHS`, a global average pool and a linear classifier.

    `(N, in_channels, H, W)`, H and W at least 4 -> logits `(N, C)`.
    """
    layers: list[nn.Module] = []
    channels = in_channels
    for index, group in enumerate(WIDTHS):
        if index:
            layers.append(nn.MaxPool2d(2))
        for before, after in pairwise((channels, *group)):
            layers += [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
        channels = group[-1]
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, num_classes))
    for module in network:
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    return network
