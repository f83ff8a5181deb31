"""Feature extractors from timm and torchvision classifiers, under their libraries' own key names."""

import math
import re
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dmt.errors import ConfigError
from dmt.models.adapters import (
    create_timm,
    drop_auxiliary_heads,
    require_timm_name,
    require_torchvision_name,
    timm_preprocessing,
    torchvision_preprocessing,
    torchvision_weights,
)
from dmt.models.network import Preprocessing
from dmt.models.request import NetworkRequest, construct

FINE_STRIDE = 4
"""Pixels of the image per cell of the fine features."""

_OUTPUT_STRIDE = 16
_PROBE_SIZE = 224
_DILATABLE = re.compile(r"resnet(50|101|152)|resnext\w+|wide_resnet\w+")
_DILATED_STAGES = {32: (False, False, False), 16: (False, False, True), 8: (False, True, True)}


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """A module that returns feature maps `(N, channels, h, w)` by index or name, and which two of them a head takes.

    Attributes:
        module: normalized images `(N, 3, H, W)` -> list or dictionary of feature maps.
        fine: index of the last map at `FINE_STRIDE`.
        fine_channels: of that map.
        coarse: index of the deepest map.
        coarse_channels: of that map.
        stride: pixels of the image per cell of the deepest map.
        preprocessing: what the library trained the classifier with.
        prefix: what the module's keys have before the library's own names.
    """

    module: nn.Module
    fine: int | str
    fine_channels: int
    coarse: int | str
    coarse_channels: int
    stride: int
    preprocessing: Preprocessing
    prefix: str = ""


def timm_encoder(request: NetworkRequest) -> Encoder:
    """The feature maps of a timm model, at output stride 16 where timm has it; `options.output_stride` overrides that.

    Raises:
        ConfigError: unknown name or option, or no features at stride 4.
        CheckpointError: the pretrained weights cannot be had.
    """
    require_timm_name(request)
    module: Any = _timm_extractor(request)
    strides = list(module.feature_info.reduction())
    if FINE_STRIDE not in strides:
        raise _no_fine_features(request)
    channels = list(module.feature_info.channels())
    fine = len(strides) - 1 - strides[::-1].index(FINE_STRIDE)
    return Encoder(
        module=module,
        fine=fine,
        fine_channels=channels[fine],
        coarse=-1,
        coarse_channels=channels[-1],
        stride=strides[-1],
        preprocessing=timm_preprocessing(module, request),
        prefix="model." if hasattr(module, "model") else "",
    )


def torchvision_encoder(request: NetworkRequest) -> Encoder:
    """The feature maps of a torchvision classifier; bottleneck ResNets at output stride 16 or `options.output_stride`.

    Raises:
        ConfigError: unknown name or option, or no features at stride 4.
    """
    from torchvision.models.feature_extraction import create_feature_extractor

    require_torchvision_name(request)
    model = _torchvision_model(request)
    maps = construct(lambda: _maps_of(model), request)
    fine = next((name for name in reversed(maps) if _stride(maps[name]) == FINE_STRIDE), None)
    if fine is None:
        raise _no_fine_features(request)
    coarse = next(reversed(maps))
    return Encoder(
        module=create_feature_extractor(model, {fine: "fine", coarse: "coarse"}),
        fine="fine",
        fine_channels=maps[fine][1],
        coarse="coarse",
        coarse_channels=maps[coarse][1],
        stride=_stride(maps[coarse]),
        preprocessing=torchvision_preprocessing(torchvision_weights(request.bare_name)),
    )


def _timm_extractor(request: NetworkRequest) -> nn.Module:
    """The best that timm has: its extractors differ in what they accept and in whether they rename keys."""
    getter, dilated = {"feature_cls": "getter"}, {"output_stride": _OUTPUT_STRIDE}
    # The getter keeps all names. MobileNetV3 and its kin need their own extractor for dilation; it keeps them as well.
    for arguments in (getter | dilated, dilated):
        try:
            return create_timm(request, {"features_only": True, **arguments, **request.options})
        except ConfigError:
            continue
    return create_timm(request, {"features_only": True, **getter, **request.options})


def _torchvision_model(request: NetworkRequest) -> nn.Module:
    from torchvision import models

    options: dict[str, Any] = dict(request.options)
    if _DILATABLE.fullmatch(request.bare_name):
        stride = options.pop("output_stride", _OUTPUT_STRIDE)
        if stride not in _DILATED_STAGES:
            raise ConfigError(f"{request.key}.options.output_stride is {stride}; allowed are 8, 16 and 32.")
        options["replace_stride_with_dilation"] = _DILATED_STAGES[stride]

    def create() -> nn.Module:
        model: nn.Module = models.get_model(request.bare_name, weights=None, **options)
        return model

    model = construct(create, request)
    drop_auxiliary_heads(model)
    return model


def _maps_of(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """Shapes of what the links of a classifier's chain give, in order, up to where it stops being a map."""
    probe = deepcopy(model).to("meta").eval()  # shapes without arithmetic
    shapes: dict[str, tuple[int, ...]] = {}
    for name, module in _chain(probe):
        module.register_forward_hook(lambda _module, _inputs, output, name=name: _note(shapes, name, output))
    with torch.no_grad():
        probe(torch.zeros(1, 3, _PROBE_SIZE, _PROBE_SIZE, device="meta"))
    return shapes


def _chain(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """The modules that a classifier runs one after the other: of its `features`, else its own, stages unfolded."""
    features = getattr(model, "features", None)
    if isinstance(features, nn.Sequential):
        return [(f"features.{name}", module) for name, module in features.named_children()]
    links: list[tuple[str, nn.Module]] = []
    for name, module in model.named_children():
        inner = module.named_children() if isinstance(module, nn.Sequential) else ()
        links += [(f"{name}.{step}", part) for step, part in inner] or [(name, module)]
    return links


def _note(shapes: dict[str, tuple[int, ...]], name: str, output: object) -> None:
    if isinstance(output, Tensor) and output.dim() == 4 and output.shape[2] == output.shape[3] > 1:
        shapes[name] = tuple(output.shape)


def _stride(shape: tuple[int, ...]) -> int:
    """The nearest power of 2: convolutions without padding lose a few cells at the border."""
    return int(2 ** round(math.log2(_PROBE_SIZE / shape[-1])))


def _no_fine_features(request: NetworkRequest) -> ConfigError:
    return ConfigError(
        f"{request.key}.name: {request.name} is not possible, since {request.bare_name} gives no feature map of "
        f"channels x height x width at stride {FINE_STRIDE}, which the head needs for thin objects. Choose a "
        "convolutional network, for instance deeplab:timm:mobilenetv1_100."
    )
