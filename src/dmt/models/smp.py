"""Segmentation networks from segmentation-models-pytorch, an optional extra."""

import inspect
from types import ModuleType
from typing import Any

from torch import nn

from dmt.config_files import did_you_mean
from dmt.errors import ConfigError
from dmt.models.adapters import IMAGENET, timm_names
from dmt.models.network import Network
from dmt.models.request import PICTURE_CHANNELS, NetworkRequest, construct, fetch, require_name

EXTRA = "smp"
_TIMM_ENCODER = "tu-"
# The stride of the deepest encoders: most architectures join features only where every halving is an even one.
_SIZE_MULTIPLE = 32


def build_smp(request: NetworkRequest) -> Network:
    """`smp:<architecture>/<encoder>`; pretrained means the library's ImageNet weights for the encoder.

    Raises:
        ConfigError: the library is not installed, unknown name or option.
        CheckpointError: the pretrained weights cannot be had.
    """
    smp = _library(request)
    architecture, encoder = _parts(request, smp)
    _check_options(request, smp.MODEL_ARCHITECTURES_MAPPING[architecture], encoder)

    def create(encoder_weights: str | bool | None) -> nn.Module:
        model: nn.Module = smp.create_model(
            architecture,
            encoder_name=encoder,
            encoder_weights=encoder_weights,
            in_channels=request.bands,
            classes=request.num_classes,
            **request.options,
        )
        return model

    # Random weights first: a wrong option then shows before any download, as what it is.
    backbone = construct(lambda: create(None), request)
    if request.pretrained:
        # An encoder of timm names its weights by itself.
        wanted = True if encoder.startswith(_TIMM_ENCODER) else "imagenet"
        backbone = fetch(lambda: create(wanted), request)
    return Network(
        backbone,
        IMAGENET if request.bands == PICTURE_CHANNELS else request.normalization,
        num_classes=request.num_classes,
        name=request.name,
        size_multiple=_SIZE_MULTIPLE,
    )


def _check_options(request: NetworkRequest, architecture: type[nn.Module], encoder: str) -> None:
    """Refuse what the library would drop without a word: only an encoder of timm looks at further arguments."""
    known = inspect.signature(architecture).parameters
    for option in request.options:
        if option not in known and not encoder.startswith(_TIMM_ENCODER):
            raise ConfigError(
                f"{request.key}.options.{option}: {request.name} has no such option.{did_you_mean(option, known)}"
            )


def _library(request: NetworkRequest) -> Any:
    try:
        import segmentation_models_pytorch
    except ImportError as error:
        raise ConfigError(
            f"{request.key}.name: {request.name} needs segmentation-models-pytorch, which is not installed: "
            f"pip install 'dmt-ssl[{EXTRA}]', or choose another network from `dmt list models`."
        ) from error
    return segmentation_models_pytorch


def _parts(request: NetworkRequest, smp: ModuleType) -> tuple[str, str]:
    """Architecture and encoder, both known to the library."""
    key = f"{request.key}.name"
    architecture, _, encoder = request.bare_name.partition("/")
    if not architecture or not encoder:
        raise ConfigError(
            f"{key} is {request.name!r}; allowed is smp:<architecture>/<encoder>, for instance smp:unet/resnet34."
        )
    require_name(architecture, list(smp.MODEL_ARCHITECTURES_MAPPING), what="architecture of smp", key=key)
    encoders = list(smp.encoders.get_encoder_names())
    encoders += [f"{_TIMM_ENCODER}{name}" for name in timm_names()]
    untagged = encoder.partition(".")[0] if encoder.startswith(_TIMM_ENCODER) else encoder
    require_name(untagged, encoders, what="encoder of smp", key=key)
    return architecture, encoder
