"""Backbones from timm and torchvision, with the normalization that each library's own configuration names."""

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

from torch import Tensor, nn

from dmt.config import Scalar
from dmt.config_files import did_you_mean
from dmt.errors import CheckpointError, ConfigError
from dmt.models.network import Network, Preprocessing, first_line
from dmt.models.weights import set_state

T = TypeVar("T")

_IMAGENET = Preprocessing(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
_CHANNELS = 3
# Set elsewhere in the config, or able to fetch or open other files behind the user's back.
_RESERVED = frozenset(
    {"num_classes", "in_chans", "pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path"}
    | {"cache_dir", "features_only", "weights", "weights_backbone", "progress"}
)
_OLD_DENSENET_KEY = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12])\.")


def timm_names() -> list[str]:
    """The names that follow `timm:`."""
    import timm

    return list(timm.list_models())


def torchvision_names() -> list[str]:
    """The names that follow `torchvision:`."""
    from torchvision import models

    return list(models.list_models(module=models))


def build_timm(name: str, *, num_classes: int, options: Mapping[str, Scalar], pretrained: bool, key: str) -> Network:
    """A timm model, by its name there with or without a `.tag`.

    Raises:
        ConfigError: unknown name or option.
        CheckpointError: the pretrained weights cannot be had.
    """
    import timm
    from timm.data.config import resolve_model_data_config

    architecture, _, tag = name.partition(".")
    require_name(architecture, timm_names(), what="timm model", key=f"{key}.name")
    if tag:
        require_name(name, timm.list_pretrained(architecture), what="pretrained timm model", key=f"{key}.name")

    arguments: dict[str, Any] = {"num_classes": num_classes, "in_chans": _CHANNELS, **options}

    def create(*, pretrained: bool) -> nn.Module:
        model: nn.Module = timm.create_model(name, pretrained=pretrained, **arguments)
        return model

    # Random weights first: a wrong option then shows before any download, as what it is.
    backbone = _construct(lambda: create(pretrained=False), f"timm:{name}", options, key)
    if pretrained:
        backbone = _fetch(lambda: create(pretrained=True), f"timm:{name}", key)
    data = resolve_model_data_config(backbone)  # type: ignore[no-untyped-call]
    preprocessing = Preprocessing(mean=data["mean"], std=data["std"])
    return Network(backbone, preprocessing, num_classes=num_classes, name=f"timm:{name}")


def build_torchvision(
    name: str, *, num_classes: int, options: Mapping[str, Scalar], pretrained: bool, key: str
) -> Network:
    """A torchvision classification model, by its name there; pretrained means its library's default weights.

    Raises:
        ConfigError: unknown name or option.
        CheckpointError: the pretrained weights cannot be had.
    """
    from torchvision import models

    require_name(name, torchvision_names(), what="torchvision model", key=f"{key}.name")
    published = getattr(models.get_model_weights(name), "DEFAULT", None)

    def create() -> nn.Module:
        model: nn.Module = models.get_model(name, weights=None, num_classes=num_classes, **options)
        if isinstance(model, models.SqueezeNet):
            # Its ReLU on the logits leaves a fresh classifier dead after a few steps, at the loss of a uniform guess.
            model.classifier[2] = nn.Identity()
        return model

    backbone = _construct(create, f"torchvision:{name}", options, key)
    _drop_auxiliary_heads(backbone)
    preprocessing = _torchvision_preprocessing(published)
    network = Network(backbone, preprocessing, num_classes=num_classes, name=f"torchvision:{name}")
    if pretrained:
        # Not through the constructor: that would open the download with the full unpickler.
        state = _fetch(lambda: _torchvision_state(published), network.name, key)
        set_state(network, state, origin=f"The published file of {network.name}", allow_missing=True, key=key)
    return network


def require_name(name: str, known: Collection[str], *, what: str, key: str) -> None:
    """Refuse a name that is not in `known`, and say which one is near.

    Raises:
        ConfigError: the name is unknown.
    """
    if name not in known:
        raise ConfigError(f"{key}: there is no {what} {name!r}.{did_you_mean(name, known)}")


def check_options(options: Mapping[str, Any], *, key: str) -> None:
    """Accept plain scalars under names that nothing else sets.

    Raises:
        ConfigError: another kind of value, or a reserved name.
    """
    for name, value in options.items():
        if name in _RESERVED:
            raise ConfigError(f"{key}.options.{name} cannot be set here; use the other keys of {key}.")
        if not isinstance(value, Scalar):
            raise ConfigError(
                f"{key}.options.{name} is a {type(value).__name__}; allowed are text, numbers, true and false."
            )


def _construct(create: Callable[[], nn.Module], name: str, options: Mapping[str, Scalar], key: str) -> nn.Module:
    try:
        return create()
    except (TypeError, ValueError, KeyError, AssertionError, RuntimeError) as error:
        given = ", ".join(f"{option}={value}" for option, value in options.items()) or "none"
        raise ConfigError(
            f"{key}: {name} cannot be built ({first_line(error)}); {key}.options given: {given}."
        ) from error


def _fetch(get: Callable[[], T], name: str, key: str) -> T:
    try:
        return get()
    except (OSError, RuntimeError) as error:  # both libraries' errors for: no network, no such file, wrong hash
        raise CheckpointError(
            f"{key}.weights: the pretrained weights of {name} could not be fetched ({first_line(error)}). This machine "
            f"may be offline: give a .safetensors file as {key}.weights, or null for random weights."
        ) from error


def _torchvision_preprocessing(published: Any) -> Preprocessing:
    transforms = None if published is None else published.transforms()
    if transforms is None or not hasattr(transforms, "mean"):
        return _IMAGENET
    return Preprocessing(mean=transforms.mean, std=transforms.std)


def _torchvision_state(published: Any) -> dict[str, Tensor]:
    if published is None:
        raise FileNotFoundError("torchvision publishes none")
    state = published.get_state_dict(progress=False, check_hash=True, weights_only=True)
    # DenseNet's published files still use the key names of an older version.
    return {_OLD_DENSENET_KEY.sub(r"\1\2.", name): tensor for name, tensor in state.items()}


def _drop_auxiliary_heads(backbone: nn.Module) -> None:
    """Let GoogLeNet and Inception return plain logits in training as well."""
    if getattr(backbone, "aux_logits", False):
        backbone.aux_logits = False  # type: ignore[assignment]
        for head in {"aux1", "aux2", "AuxLogits"} & set(dict(backbone.named_children())):
            setattr(backbone, head, None)
