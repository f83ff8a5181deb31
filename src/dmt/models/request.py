"""What a builder of networks is asked for, and the sentences for requests that cannot be met."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeVar

from dmt.config_files import did_you_mean
from dmt.config_sections import Scalar
from dmt.errors import CheckpointError, ConfigError, first_line
from dmt.models.network import Preprocessing

T = TypeVar("T")
TaskName: TypeAlias = Literal["classification", "segmentation"]

# Set elsewhere in the config, able to fetch or open other files behind the user's back, or no longer giving logits.
_RESERVED = frozenset(
    {"num_classes", "classes", "in_chans", "in_channels", "pretrained", "pretrained_cfg", "pretrained_cfg_overlay"}
    | {"checkpoint_path", "cache_dir", "weights", "weights_backbone", "encoder_name", "encoder_weights", "progress"}
    | {"features_only", "feature_cls", "out_indices", "activation"}
)


PICTURE_CHANNELS = 3
"""What networks of the libraries take of pictures; gray is repeated."""


@dataclass(frozen=True, kw_only=True)
class NetworkRequest:
    """A network as the config describes it.

    Attributes:
        name: in full, for instance `deeplab:timm:resnet18`.
        num_classes: C.
        normalization: the data set's, for networks that bring none of their own.
        options: further arguments of the library's constructor.
        pretrained: whether the library's own weights are wanted.
        head_branches: the parallel convolutions of a DeepLab-v2 head; None = all.
        key: the config key of this network, to name in an error.
    """

    name: str
    num_classes: int
    normalization: Preprocessing
    options: Mapping[str, Scalar]
    pretrained: bool
    head_branches: int | None
    key: str

    @property
    def bands(self) -> int:
        """Channels of a network that can be built for any number: 3, which also stands for gray, or the data's own."""
        channels = self.normalization.channels
        return PICTURE_CHANNELS if channels in (1, PICTURE_CHANNELS) else channels

    @property
    def bare_name(self) -> str:
        """The name in its library: what follows the last colon."""
        return self.name.rpartition(":")[2]


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


def require_name(name: str, known: Collection[str], *, what: str, key: str) -> None:
    """Refuse a name that is not in `known`, and say which one is near.

    Raises:
        ConfigError: the name is unknown.
    """
    if name not in known:
        raise ConfigError(f"{key}: there is no {what} {name!r}.{did_you_mean(name, known)}")


def construct(create: Callable[[], T], request: NetworkRequest) -> T:
    """What a library makes of the request's options.

    Raises:
        ConfigError: the library refuses them.
    """
    try:
        return create()
    except (TypeError, ValueError, KeyError, AssertionError, RuntimeError) as error:
        given = ", ".join(f"{option}={value}" for option, value in request.options.items()) or "none"
        raise ConfigError(
            f"{request.key}: {request.name} cannot be built ({first_line(error)}); {request.key}.options given: "
            f"{given}."
        ) from error


def fetch(get: Callable[[], T], request: NetworkRequest) -> T:
    """What a library downloads for the request.

    Raises:
        CheckpointError: it cannot be had.
    """
    try:
        return get()
    except (
        OSError,
        RuntimeError,
        KeyError,
    ) as error:  # the libraries' errors for: no network, no such file, wrong hash
        raise CheckpointError(
            f"{request.key}.weights: the pretrained weights of {request.name} could not be fetched "
            f"({first_line(error)}). This machine may be offline: give a .safetensors file as {request.key}.weights, "
            "or null for random weights."
        ) from error
