"""Classifiers from timm and torchvision, with the normalization that each library's own configuration names."""

import re
from typing import Any

from torch import Tensor, nn

from dmt.models.network import Network, Preprocessing
from dmt.models.request import PICTURE_CHANNELS, NetworkRequest, construct, fetch, require_name
from dmt.models.weights import set_state

IMAGENET = Preprocessing(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))

_OLD_DENSENET_KEY = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12])\.")


def timm_names() -> list[str]:
    """The names that follow `timm:`."""
    import timm

    return list(timm.list_models())


def torchvision_names() -> list[str]:
    """The names that follow `torchvision:`."""
    from torchvision import models

    return list(models.list_models(module=models))


def build_timm(request: NetworkRequest) -> Network:
    """A timm model, by its name there with or without a `.tag`.

    Raises:
        ConfigError: unknown name or option.
        CheckpointError: the pretrained weights cannot be had.
    """
    require_timm_name(request)
    backbone = create_timm(request, {"num_classes": request.num_classes, **request.options})
    published: Any = getattr(backbone, "pretrained_cfg", {})
    if not (request.pretrained and request.num_classes == published.get("num_classes")):
        narrow_head(backbone, request.num_classes)
    preprocessing = timm_preprocessing(backbone, request)
    return Network(backbone, preprocessing, num_classes=request.num_classes, name=request.name)


def build_torchvision(request: NetworkRequest) -> Network:
    """A torchvision classification model, by its name there; pretrained means its library's default weights.

    Raises:
        ConfigError: unknown name or option.
        CheckpointError: the pretrained weights cannot be had.
    """
    from torchvision import models

    require_torchvision_name(request)

    def create() -> nn.Module:
        model: nn.Module = models.get_model(
            request.bare_name, weights=None, num_classes=request.num_classes, **request.options
        )
        if isinstance(model, models.SqueezeNet):
            # Its ReLU on the logits leaves a fresh classifier dead after a few steps, at the loss of a uniform guess.
            model.classifier[2] = nn.Identity()
        return model

    backbone = construct(create, request)
    drop_auxiliary_heads(backbone)
    narrow_head(backbone, request.num_classes)
    published = torchvision_weights(request.bare_name)
    preprocessing = torchvision_preprocessing(published)
    network = Network(backbone, preprocessing, num_classes=request.num_classes, name=request.name)
    if request.pretrained:
        fill_from_torchvision(network, published, request)
    return network


def require_timm_name(request: NetworkRequest) -> None:
    """Refuse what timm does not have.

    Raises:
        ConfigError: unknown architecture or tag.
    """
    import timm

    architecture, _, tag = request.bare_name.partition(".")
    key = f"{request.key}.name"
    require_name(architecture, timm_names(), what="timm model", key=key)
    if tag:
        require_name(request.bare_name, timm.list_pretrained(architecture), what="pretrained timm model", key=key)


def create_timm(request: NetworkRequest, arguments: dict[str, Any]) -> nn.Module:
    """`timm.create_model` with these arguments, pretrained where the request says so.

    Raises:
        ConfigError: timm refuses the arguments.
        CheckpointError: the pretrained weights cannot be had.
    """
    import timm

    def create(*, pretrained: bool) -> nn.Module:
        # Of other bands than RGB, timm adapts the first layer's pretrained weights.
        model: nn.Module = timm.create_model(
            request.bare_name, pretrained=pretrained, in_chans=request.bands, **arguments
        )
        return model

    # Random weights first: a wrong option then shows before any download, as what it is.
    model = construct(lambda: create(pretrained=False), request)
    return fetch(lambda: create(pretrained=True), request) if request.pretrained else model


def timm_preprocessing(model: nn.Module, request: NetworkRequest) -> Preprocessing:
    """What a timm model's own configuration names; of other bands than RGB, what the data set's are like."""
    from timm.data.config import resolve_model_data_config

    if request.bands != PICTURE_CHANNELS:
        return request.normalization
    data = resolve_model_data_config(model)  # type: ignore[no-untyped-call]
    return Preprocessing(mean=data["mean"], std=data["std"])


def require_torchvision_name(request: NetworkRequest) -> None:
    """Refuse what torchvision does not have.

    Raises:
        ConfigError: unknown architecture.
    """
    require_name(request.bare_name, torchvision_names(), what="torchvision model", key=f"{request.key}.name")


def torchvision_weights(name: str) -> Any:
    """The entry of torchvision's default published weights; None where it publishes none."""
    from torchvision import models

    return getattr(models.get_model_weights(name), "DEFAULT", None)


def torchvision_preprocessing(published: Any) -> Preprocessing:
    """What published weights were trained with; ImageNet's usual values where nothing is published."""
    transforms = None if published is None else published.transforms()
    if transforms is None or not hasattr(transforms, "mean"):
        return IMAGENET
    return Preprocessing(mean=transforms.mean, std=transforms.std)


def fill_from_torchvision(network: Network, published: Any, request: NetworkRequest) -> None:
    """Load published weights into all of a network that they fit; a head for other classes stays as it is.

    Raises:
        CheckpointError: they cannot be had.
    """
    # Not through the model's constructor: that would open the download with the full unpickler.
    state = fetch(lambda: _published_state(published), request)
    set_state(network, state, origin=f"The published file of {network.name}", allow_missing=True, key=request.key)


def drop_auxiliary_heads(backbone: nn.Module) -> None:
    """Let GoogLeNet and Inception return plain logits in training as well."""
    if getattr(backbone, "aux_logits", False):
        backbone.aux_logits = False  # type: ignore[assignment]
        for head in {"aux1", "aux2", "AuxLogits"} & set(dict(backbone.named_children())):
            setattr(backbone, head, None)


def narrow_head(backbone: nn.Module, num_classes: int) -> None:
    """Draw a random last layer as PyTorch does where its library's draw is so wide that logits exceed features.

    Both libraries draw some (EfficientNets, MobileNets, MNASNets, DLA) by the number of classes, whatever the number of
    features, and Inception's with a deviation of 0.1. That was made for a thousand classes: with ten, the first loss
    is up to 15 instead of 2.3, and its gradients spoil pretrained weights.
    """
    # On the meta device, where networks are built to see whether they can be, there is nothing to measure.
    layers = [
        layer
        for layer in backbone.modules()
        if isinstance(layer, nn.Linear | nn.Conv2d) and len(layer.weight) == num_classes and not layer.weight.is_meta
    ]
    if layers and layers[-1].weight.std() > layers[-1].weight[0].numel() ** -0.5:
        layers[-1].reset_parameters()


def _published_state(published: Any) -> dict[str, Tensor]:
    if published is None:
        raise FileNotFoundError("torchvision publishes none")
    state = published.get_state_dict(progress=False, check_hash=True, weights_only=True)
    # DenseNet's published files still use the key names of an older version.
    return {_OLD_DENSENET_KEY.sub(r"\1\2.", name): tensor for name, tensor in state.items()}
