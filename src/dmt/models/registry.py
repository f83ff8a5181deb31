"""Networks by name: what a listing shows and what `networks.<label>.name` may be."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from dmt.config import Scalar
from dmt.config_files import did_you_mean
from dmt.errors import ConfigError
from dmt.models.adapters import build_timm, build_torchvision, check_options, timm_names, torchvision_names
from dmt.models.network import Network, Preprocessing
from dmt.models.small import small_cnn
from dmt.models.weights import load_weights
from dmt.models.wide_resnet import WideResNet

PRETRAINED = "pretrained"
"""The value of `weights` that asks for the library's own download."""


@dataclass(frozen=True, kw_only=True)
class NetworkRequest:
    """What a builder needs: the name, the normalization of the data set, and the config key for messages."""

    name: str
    num_classes: int
    normalization: Preprocessing
    options: Mapping[str, Scalar]
    pretrained: bool
    key: str


@dataclass(frozen=True, kw_only=True)
class ModelFamily:
    """One form of name: a line for the listing, how to recognize it, how to build it."""

    summary: str
    pattern: str
    build: Callable[[NetworkRequest], Network]


def build_network(
    name: str,
    *,
    num_classes: int,
    channels: int,
    mean: Sequence[float],
    std: Sequence[float],
    weights: str | None = None,
    allow_missing: bool = False,
    options: Mapping[str, Scalar] | None = None,
    key: str = "networks.a",
) -> Network:
    """A new network by name; random weights come from torch's global generator, which the caller seeds.

    Args:
        name: one of the forms in `MODELS`.
        num_classes: C.
        channels: of the data set's images.
        mean: the data set's, per channel, for networks that bring no normalization of their own.
        std: likewise.
        weights: None for random, `pretrained` for the library's download, or a `.safetensors` file.
        allow_missing: accept a weights file that fits in part.
        options: further arguments of the timm or torchvision constructor.
        key: the config key of this network, to name in an error.

    Raises:
        ConfigError: unknown name or option, or channels that the network cannot take.
        CheckpointError: weights that cannot be had or do not fit.
    """
    assert channels == len(mean) == len(std)
    check_options(options or {}, key=key)
    request = NetworkRequest(
        name=name,
        num_classes=num_classes,
        normalization=Preprocessing(mean=tuple(mean), std=tuple(std)),
        options=options or {},
        pretrained=weights == PRETRAINED,
        key=key,
    )
    network = _family(name, key).build(request)
    if weights is not None and weights != PRETRAINED:
        load_weights(network, weights, allow_missing=allow_missing, key=key)
    return network


def _build_small_cnn(request: NetworkRequest) -> Network:
    in_channels = request.normalization.channels
    return _plain(request, small_cnn(num_classes=request.num_classes, in_channels=in_channels))


def _build_wide_resnet(request: NetworkRequest) -> Network:
    depth, width = (int(number) for number in re.findall(r"\d+", request.name))
    in_channels = request.normalization.channels
    return _plain(
        request, WideResNet(depth=depth, width=width, num_classes=request.num_classes, in_channels=in_channels)
    )


def _plain(request: NetworkRequest, backbone: nn.Module) -> Network:
    """A network of our own, normalized by the data set's mean and std."""
    if request.options:
        raise ConfigError(f"{request.key}.options: {request.name} takes none; found {', '.join(request.options)}.")
    if request.pretrained:
        raise ConfigError(
            f"{request.key}.weights: {request.name} has no pretrained weights; use null or a .safetensors file."
        )
    return Network(backbone, request.normalization, num_classes=request.num_classes, name=request.name)


def _build_from_timm(request: NetworkRequest) -> Network:
    return build_timm(
        request.name.removeprefix("timm:"),
        num_classes=request.num_classes,
        options=request.options,
        pretrained=request.pretrained,
        key=request.key,
    )


def _build_from_torchvision(request: NetworkRequest) -> Network:
    return build_torchvision(
        request.name.removeprefix("torchvision:"),
        num_classes=request.num_classes,
        options=request.options,
        pretrained=request.pretrained,
        key=request.key,
    )


MODELS: dict[str, ModelFamily] = {
    "small_cnn": ModelFamily(
        summary="a few 3x3 convolutions, for tiny images of 8 to 32 pixels",
        pattern=r"small_cnn",
        build=_build_small_cnn,
    ),
    "wrn_<depth>_<width>": ModelFamily(
        summary="wide residual network of depth 6 n + 4; wrn_28_2 is the paper's for CIFAR-10",
        pattern=r"wrn_\d+_\d+",
        build=_build_wide_resnet,
    ),
    "timm:<name>": ModelFamily(
        summary="any model of timm, for instance timm:resnet18", pattern=r"timm:.*", build=_build_from_timm
    ),
    "torchvision:<name>": ModelFamily(
        summary="any classification model of torchvision, for instance torchvision:squeezenet1_0",
        pattern=r"torchvision:.*",
        build=_build_from_torchvision,
    ),
}
"""The forms that a network's name can have."""


def _family(name: str, key: str) -> ModelFamily:
    for family in MODELS.values():
        if re.fullmatch(family.pattern, name):
            return family
    known = ["small_cnn", "wrn_28_2"]
    known += [f"timm:{model}" for model in timm_names()] + [f"torchvision:{model}" for model in torchvision_names()]
    bare = name.rpartition(":")[2]
    same = [full for full in known if full.partition(":")[2] == bare]
    hint = f" Did you mean {' or '.join(map(repr, same))}?" if same else did_you_mean(name, known)
    raise ConfigError(f"{key}.name: there is no network {name!r}.{hint} Allowed: {', '.join(MODELS)}.")
