"""Wide residual networks with pre-activation (Zagoruyko & Komodakis, 2016), as in the paper's CIFAR-10 experiments."""

import torch
from torch import Tensor, nn

from dmt.errors import ConfigError

_STEM_CHANNELS = 16
_GROUP_CHANNELS = (16, 32, 64)
_GROUP_STRIDES = (1, 2, 2)


class WideResNet(nn.Module):
    """WRN-`depth`-`width`: `(N, in_channels, H, W)` of any size -> logits `(N, C)` (spec, section 1.17).

    WRN-28-2 with 10 classes has 1,467,610 parameters.

    Raises:
        ConfigError: `depth` is not 6 n + 4 for an n of at least 1, or `width` is below 1.
    """

    def __init__(self, *, depth: int, width: int, num_classes: int, in_channels: int) -> None:
        super().__init__()
        blocks = _blocks_per_group(depth, width)
        self.stem = _conv3x3(in_channels, _STEM_CHANNELS)
        groups: list[nn.Module] = []
        channels = _STEM_CHANNELS
        for base, stride in zip(_GROUP_CHANNELS, _GROUP_STRIDES, strict=True):
            groups.append(_group(channels, base * width, stride=stride, blocks=blocks))
            channels = base * width
        self.groups = nn.Sequential(*groups)
        self.norm = nn.BatchNorm2d(channels)
        self.classifier = nn.Linear(channels, num_classes)
        self._initialize()

    def forward(self, images: Tensor) -> Tensor:
        """Logits `(N, C)` of normalized images `(N, in_channels, H, W)`."""
        features = torch.relu(self.norm(self.groups(self.stem(images))))
        logits: Tensor = self.classifier(features.mean(dim=(2, 3)))
        return logits

    def _initialize(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.classifier.bias)


class _Block(nn.Module):
    """BN-ReLU-conv3x3-BN-ReLU-conv3x3 plus a shortcut."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.conv1 = _conv3x3(in_channels, out_channels, stride=stride)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.conv2 = _conv3x3(out_channels, out_channels)
        self.projection: nn.Module | None = None
        if in_channels != out_channels:
            self.projection = nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        activated = torch.relu(self.norm1(inputs))
        shortcut = inputs if self.projection is None else self.projection(activated)
        hidden = torch.relu(self.norm2(self.conv1(activated)))
        return shortcut + self.conv2(hidden)  # type: ignore[no-any-return]


def _group(in_channels: int, out_channels: int, *, stride: int, blocks: int) -> nn.Sequential:
    first = _Block(in_channels, out_channels, stride=stride)
    return nn.Sequential(first, *(_Block(out_channels, out_channels, stride=1) for _ in range(blocks - 1)))


def _conv3x3(in_channels: int, out_channels: int, *, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)


def _blocks_per_group(depth: int, width: int) -> int:
    blocks, rest = divmod(depth - 4, 6)
    if rest or blocks < 1:
        raise ConfigError(f"A wide ResNet's depth is 10, 16, 22, 28, ... (6 n + 4); found {depth}. Try wrn_28_2.")
    if width < 1:
        raise ConfigError(f"A wide ResNet's width factor is at least 1; found {width}. Try wrn_28_2.")
    return blocks
