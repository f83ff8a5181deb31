"""DeepLab-v2 with ResNet-101, the paper's segmentation network (Chen et al., 2018; spec, section 1.17)."""

from collections import OrderedDict

from torch import Tensor, nn
from torchvision import models

from dmt.config_files import did_you_mean
from dmt.errors import ConfigError
from dmt.models.adapters import IMAGENET, fill_from_torchvision
from dmt.models.network import Network, Preprocessing
from dmt.models.request import NetworkRequest

NAME = "deeplab_v2_resnet101"

HEAD_DILATIONS = (6, 12, 18, 24)

PREPROCESSINGS = {
    "imagenet": IMAGENET,
    "caffe": Preprocessing(mean=(104.008, 116.669, 122.675), std=(1.0, 1.0, 1.0), channel_order="bgr", scale=255.0),
}
"""Values of the option `preprocessing`: for weights from torchvision, and for the COCO weights that come from Caffe."""

_BACKBONE_CHANNELS = 2048
_BACKBONE_PARTS = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")


def build_deeplab_v2(request: NetworkRequest) -> Network:
    """DeepLab-v2 by its config; pretrained means torchvision's ImageNet weights for all but the head.

    Raises:
        ConfigError: an unknown option, or a value that contradicts another.
        CheckpointError: the pretrained weights cannot be had.
    """
    backbone = deeplab_v2_resnet101(num_classes=request.num_classes, head_branches=_head_branches(request))
    network = Network(backbone, _preprocessing(request), num_classes=request.num_classes, name=request.name)
    if request.pretrained:
        # The first edition, as in the paper; the second was trained by another recipe, after it.
        fill_from_torchvision(network, models.ResNet101_Weights.IMAGENET1K_V1, request)
    return network


def deeplab_v2_resnet101(*, num_classes: int, head_branches: int = len(HEAD_DILATIONS)) -> nn.Sequential:
    """Normalized images `(N, 3, H, W)` -> logits at an eighth of their size, `(N, C, ceil(H / 8), ceil(W / 8))`.

    A sequence, so that keys are those of torchvision's ResNet, and `layer5.conv2d_list.<branch>` for the head, as in
    the COCO weights that the paper starts from (Hung et al., 2018).
    """
    # No strides after the second stage: the stage's first block keeps the dilation before it (torchvision's rule).
    resnet = models.resnet101(weights=None, num_classes=1, replace_stride_with_dilation=[False, True, True])
    parts = OrderedDict((name, getattr(resnet, name)) for name in _BACKBONE_PARTS)
    parts["layer5"] = SummedBranches(_BACKBONE_CHANNELS, num_classes, dilations=HEAD_DILATIONS[:head_branches])
    return nn.Sequential(parts)


class SummedBranches(nn.Module):
    """Parallel dilated 3x3 convolutions, summed: `(N, channels, h, w)` -> logits `(N, C, h, w)`."""

    def __init__(self, channels: int, num_classes: int, *, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.conv2d_list = nn.ModuleList(
            nn.Conv2d(channels, num_classes, 3, padding=dilation, dilation=dilation) for dilation in dilations
        )

    def forward(self, features: Tensor) -> Tensor:
        """Logits `(N, C, h, w)` of features `(N, channels, h, w)`."""
        first, *others = self.conv2d_list
        logits: Tensor = first(features)
        for branch in others:
            logits = logits + branch(features)
        return logits


def _head_branches(request: NetworkRequest) -> int:
    most = len(HEAD_DILATIONS)
    found = most if request.head_branches is None else request.head_branches
    if not 1 <= found <= most:
        raise ConfigError(
            f"{request.key}.head_branches is {found}; {NAME} has 1 to {most} branches ({most} as published; 2 is what "
            "the authors' code amounts to)."
        )
    return found


def _preprocessing(request: NetworkRequest) -> Preprocessing:
    for option in request.options:
        if option != "preprocessing":
            raise ConfigError(f"{request.key}.options.{option}: {NAME} takes the option preprocessing only.")
    choice = str(request.options.get("preprocessing", "imagenet"))
    if choice not in PREPROCESSINGS:
        raise ConfigError(
            f"{request.key}.options.preprocessing is {choice!r}; allowed are {', '.join(PREPROCESSINGS)}."
            f"{did_you_mean(choice, PREPROCESSINGS)}"
        )
    if request.pretrained and choice != "imagenet":
        raise ConfigError(
            f"{request.key}.options.preprocessing is {choice!r}, but the pretrained weights expect 'imagenet'; leave "
            f"it out, or give the weights that go with it as a .safetensors file in {request.key}.weights."
        )
    return PREPROCESSINGS[choice]
