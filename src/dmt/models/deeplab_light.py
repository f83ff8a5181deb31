"""A light DeepLab head on the features of any classifier, for few CPU cores and for thin objects.

After DeepLab-v3+ (Chen et al., 2018): dilated separable convolutions on the deepest features, joined with features at
stride 4, which is where the logits are made.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dmt.models.adapters import fill_from_torchvision, torchvision_weights
from dmt.models.encoders import Encoder, timm_encoder, torchvision_encoder
from dmt.models.network import Network
from dmt.models.request import NetworkRequest

# At the deepest stride; at stride 4, where a channel costs 16 times as much, fewer: 80 of context beside 48 fine ones.
_WIDTH = 128
_JOINED_WIDTH = 80
_FINE_WIDTH = 48
# How far the branches reach from a pixel, in pixels, so that they see the same context at any output stride.
_REACHES = (48, 96, 192)


def build_deeplab_timm(request: NetworkRequest) -> Network:
    """The light head on a timm model; pretrained means timm's weights for all but the head.

    Raises:
        ConfigError: unknown name or option, or no features at stride 4.
        CheckpointError: the pretrained weights cannot be had.
    """
    return _network(request, timm_encoder(request))


def build_deeplab_torchvision(request: NetworkRequest) -> Network:
    """The light head on a torchvision classifier; pretrained means torchvision's weights for all but the head.

    Raises:
        ConfigError: unknown name or option, or no features at stride 4.
        CheckpointError: the pretrained weights cannot be had.
    """
    network = _network(request, torchvision_encoder(request))
    if request.pretrained:
        fill_from_torchvision(network, torchvision_weights(request.bare_name), request)
    return network


class LightDeepLab(nn.Module):
    """Normalized images `(N, 3, H, W)` -> logits `(N, C, h, w)` at about a quarter of their size.

    In weight files the encoder's keys are its library's own and the head's begin with `decoder.` (`library_prefix` is
    what `weights.state_of` leaves out). The modules themselves keep apart: mixing a head into a library's module would
    rest on how that module runs its children.
    """

    def __init__(self, encoder: Encoder, *, num_classes: int) -> None:
        super().__init__()
        self.encoder = encoder.module
        self.decoder = Decoder(encoder, num_classes=num_classes)
        self.library_prefix = f"encoder.{encoder.prefix}"
        self._fine, self._coarse = encoder.fine, encoder.coarse

    def forward(self, images: Tensor) -> Tensor:
        """Logits `(N, C, h, w)` of normalized images `(N, 3, H, W)`."""
        features = self.encoder(images)
        return cast(Tensor, self.decoder(features[self._fine], features[self._coarse]))


class Decoder(nn.Module):
    """Fine features `(N, F, h, w)` and coarse ones `(N, G, h', w')` -> logits `(N, C, h, w)`."""

    def __init__(self, encoder: Encoder, *, num_classes: int) -> None:
        super().__init__()
        self.reduce = _pointwise(encoder.coarse_channels, _WIDTH)
        dilations = [max(1, round(reach / encoder.stride)) for reach in _REACHES]
        self.branches = nn.ModuleList(_separable(_WIDTH, _WIDTH, dilation=dilation) for dilation in dilations)
        # A mean has one site an image, too few for batch statistics: a single labeled image must do.
        self.context = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(_WIDTH, _WIDTH, 1), nn.ReLU(inplace=True))
        self.join = _pointwise((len(dilations) + 2) * _WIDTH, _JOINED_WIDTH)
        self.fine = _pointwise(encoder.fine_channels, _FINE_WIDTH)
        self.fuse = _separable(_JOINED_WIDTH + _FINE_WIDTH, _JOINED_WIDTH)
        self.classifier = nn.Conv2d(_JOINED_WIDTH, num_classes, 1)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """Logits at the size of the fine features."""
        reduced = self.reduce(coarse)
        context = self.context(reduced).expand_as(reduced)
        wide = self.join(torch.cat([reduced, *(branch(reduced) for branch in self.branches), context], dim=1))
        wide = F.interpolate(wide, size=fine.shape[2:], mode="bilinear", align_corners=True)
        fused = self.fuse(torch.cat([wide, self.fine(fine)], dim=1))
        return cast(Tensor, self.classifier(fused))


def _network(request: NetworkRequest, encoder: Encoder) -> Network:
    backbone = LightDeepLab(encoder, num_classes=request.num_classes)
    return Network(backbone, encoder.preprocessing, num_classes=request.num_classes, name=request.name)


def _pointwise(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, bias=False), *_activation(out_channels))


def _separable(in_channels: int, out_channels: int, *, dilation: int = 1) -> nn.Sequential:
    """A 3x3 convolution of each channel, then a 1x1 convolution over them."""
    return nn.Sequential(
        nn.Conv2d(in_channels, in_channels, 3, padding=dilation, dilation=dilation, groups=in_channels, bias=False),
        nn.Conv2d(in_channels, out_channels, 1, bias=False),
        *_activation(out_channels),
    )


def _activation(channels: int) -> tuple[nn.Module, nn.Module]:
    return nn.BatchNorm2d(channels), nn.ReLU(inplace=True)
