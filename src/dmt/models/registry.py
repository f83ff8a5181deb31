"""Networks by name: what a listing shows and what `networks.<label>.name` may be."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from dmt.config_files import did_you_mean
from dmt.config_sections import Scalar
from dmt.errors import ConfigError
from dmt.models import deeplab
from dmt.models.adapters import build_timm, build_torchvision, timm_names, torchvision_names
from dmt.models.deeplab_light import build_deeplab_timm, build_deeplab_torchvision
from dmt.models.network import Network, Preprocessing
from dmt.models.request import NetworkRequest, TaskName, check_options
from dmt.models.small import small_cnn
from dmt.models.small_mlp import small_mlp
from dmt.models.small_unet import SmallUNet
from dmt.models.smp import build_smp
from dmt.models.weights import load_weights, warn_of_preprocessing, warn_of_random
from dmt.models.wide_resnet import WideResNet

PRETRAINED = "pretrained"
"""The value of `weights` that asks for the library's own download."""

_FOR_MASKS = "deeplab:timm:mobilenetv1_100"
_FOR_IMAGES = "timm:resnet18"


@dataclass(frozen=True, kw_only=True)
class ModelFamily:
    """One form of name.

    Attributes:
        summary: a line for the listing.
        pattern: how to recognize it.
        task: `classification` = a class an image; `segmentation` = a class a pixel.
        counterpart: from a name of this form to the nearest one for the other task.
        build: makes the network.
    """

    summary: str
    pattern: str
    task: TaskName
    counterpart: Callable[[str], str]
    build: Callable[[NetworkRequest], Network]


def build_network(
    name: str,
    *,
    num_classes: int,
    channels: int,
    mean: Sequence[float],
    std: Sequence[float],
    task: TaskName = "classification",
    weights: str | None = None,
    allow_missing: bool = False,
    options: Mapping[str, Scalar] | None = None,
    head_branches: int | None = None,
    key: str = "networks.a",
) -> Network:
    """A new network by name; random weights come from torch's global generator, which the caller seeds.

    Args:
        name: one of the forms in `MODELS`.
        num_classes: C.
        channels: of the data set's images.
        mean: the data set's, per channel, for networks that bring no normalization of their own.
        std: likewise.
        task: what the network is for.
        weights: None for random, `pretrained` for the library's download, or a `.safetensors` file.
        allow_missing: accept a weights file that fits in part; a warning then says what stays random.
        options: further arguments of the library's constructor.
        head_branches: of a DeepLab-v2 head; None for all.
        key: the config key of this network, to name in an error.

    Raises:
        ConfigError: unknown name or option, a network for the other task, or channels that the network cannot take.
        CheckpointError: weights that cannot be had or do not fit.
    """
    assert channels == len(mean) == len(std)
    family = family_of(name, task=task, key=f"{key}.name")
    check_options(options or {}, key=key)
    if head_branches is not None and name != deeplab.NAME:
        raise ConfigError(
            f"{key}.head_branches is {head_branches}, but only {deeplab.NAME} has branches to choose from; leave it "
            f"out for {name}."
        )
    request = NetworkRequest(
        name=name,
        num_classes=num_classes,
        normalization=Preprocessing(mean=tuple(mean), std=tuple(std)),
        options=options or {},
        pretrained=weights == PRETRAINED,
        head_branches=head_branches,
        key=key,
    )
    network = family.build(request)
    if weights is not None and weights != PRETRAINED:
        report = load_weights(network, weights, allow_missing=allow_missing, key=key)
        warn_of_random(report, weights, key=key)
        if network.preprocessing != request.normalization:  # the data's own is anew for each data set
            warn_of_preprocessing(network.preprocessing, weights, key=key)
    return network


def family_of(name: str, *, task: TaskName, key: str = "networks.a.name") -> ModelFamily:
    """The form that a name has, which `key` gives; callers that want the check alone ignore it.

    Raises:
        ConfigError: the name is unknown, or stands for networks of the other task; the message has one to use instead.
    """
    family = next((family for family in MODELS.values() if re.fullmatch(family.pattern, name)), None)
    if family is None:
        raise _unknown(name, task, key)
    if family.task == task:
        return family
    if task == "segmentation":
        found, wanted = "one class an image", "masks"
    else:
        found, wanted = "a class for every pixel", "one class an image"
    raise ConfigError(
        f"{key}: {name} predicts {found}; for {wanted} use another network, such as {family.counterpart(name)}."
    )


def _unknown(name: str, task: TaskName, key: str) -> ConfigError:
    """The answer to a name of no known form: the same model under another form, else a name that is near."""
    libraries = [f"timm:{model}" for model in timm_names()] + [f"torchvision:{model}" for model in torchvision_names()]
    if task == "classification":
        known = ["small_cnn", "small_mlp", "wrn_28_2", *libraries]
    else:
        known = ["small_unet", deeplab.NAME, "smp:unet/resnet34", *(f"deeplab:{model}" for model in libraries)]
    bare = name.rpartition(":")[2]
    same = [full for full in known if full.rpartition(":")[2] == bare]
    hint = f" Did you mean {' or '.join(map(repr, same))}?" if same else did_you_mean(name, known)
    forms = ", ".join(form for form, family in MODELS.items() if family.task == task)
    return ConfigError(f"{key}: there is no network {name!r}.{hint} Allowed for {task}: {forms}.")


def _build_small_cnn(request: NetworkRequest) -> Network:
    in_channels = request.normalization.channels
    return _plain(request, small_cnn(num_classes=request.num_classes, in_channels=in_channels))


def _build_small_mlp(request: NetworkRequest) -> Network:
    return _plain(request, small_mlp(num_classes=request.num_classes, in_features=request.normalization.channels))


def _build_small_unet(request: NetworkRequest) -> Network:
    in_channels = request.normalization.channels
    return _plain(request, SmallUNet(num_classes=request.num_classes, in_channels=in_channels))


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


MODELS: dict[str, ModelFamily] = {
    "small_cnn": ModelFamily(
        summary="a few 3x3 convolutions, for tiny images of 8 to 32 pixels",
        pattern=r"small_cnn",
        task="classification",
        counterpart=lambda _: "small_unet",
        build=_build_small_cnn,
    ),
    "small_mlp": ModelFamily(
        summary="two hidden layers, for tables of numbers (estimators)",
        pattern=r"small_mlp",
        task="classification",
        counterpart=lambda _: "small_unet",
        build=_build_small_mlp,
    ),
    "wrn_<depth>_<width>": ModelFamily(
        summary="wide residual network of depth 6 n + 4; wrn_28_2 is the paper's for CIFAR-10",
        pattern=r"wrn_\d+_\d+",
        task="classification",
        counterpart=lambda _: _FOR_MASKS,
        build=_build_wide_resnet,
    ),
    "timm:<name>": ModelFamily(
        summary="any model of timm, for instance timm:resnet18",
        pattern=r"timm:.*",
        task="classification",
        counterpart=lambda name: f"deeplab:{name}",
        build=build_timm,
    ),
    "torchvision:<name>": ModelFamily(
        summary="any classification model of torchvision, for instance torchvision:squeezenet1_0",
        pattern=r"torchvision:.*",
        task="classification",
        counterpart=lambda name: f"deeplab:{name}",
        build=build_torchvision,
    ),
    "small_unet": ModelFamily(
        summary="masks: a small U-Net, for tiny images of 32 to 128 pixels",
        pattern=r"small_unet",
        task="segmentation",
        counterpart=lambda _: "small_cnn",
        build=_build_small_unet,
    ),
    deeplab.NAME: ModelFamily(
        summary="masks: DeepLab-v2 with ResNet-101, the paper's for PASCAL VOC and Cityscapes",
        pattern=deeplab.NAME,
        task="segmentation",
        counterpart=lambda _: "torchvision:resnet101",
        build=deeplab.build_deeplab_v2,
    ),
    "deeplab:timm:<name>": ModelFamily(
        summary="masks: a light DeepLab head on a model of timm, for instance deeplab:timm:mobilenetv1_100",
        pattern=r"deeplab:timm:.*",
        task="segmentation",
        counterpart=lambda name: name.removeprefix("deeplab:"),
        build=build_deeplab_timm,
    ),
    "deeplab:torchvision:<name>": ModelFamily(
        summary="masks: the same head on a model of torchvision, for instance deeplab:torchvision:resnet50",
        pattern=r"deeplab:torchvision:.*",
        task="segmentation",
        counterpart=lambda name: name.removeprefix("deeplab:"),
        build=build_deeplab_torchvision,
    ),
    "smp:<architecture>/<encoder>": ModelFamily(
        summary="masks: segmentation-models-pytorch (the extra `smp`), for instance smp:unet/resnet34",
        pattern=r"smp:.*",
        task="segmentation",
        counterpart=lambda _: _FOR_IMAGES,
        build=build_smp,
    ),
}
"""The forms that a network's name can have."""
