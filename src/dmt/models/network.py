"""A backbone and its preprocessing in one module, so that weights and normalization never travel apart."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dmt.errors import ConfigError, first_line

ChannelOrder = Literal["rgb", "bgr"]

_SIDES_TRIED = range(8, 257, 8)


@dataclass(frozen=True)
class Preprocessing:
    """What a backbone expects of its input; the number of means is the number of channels it takes.

    Attributes:
        mean: per channel, in the backbone's own channel order, after scaling.
        std: likewise.
        channel_order: `bgr` for weights that come from Caffe.
        scale: what images in [0, 1] are multiplied by before normalization: 1, or 255 for Caffe's weights.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    channel_order: ChannelOrder = "rgb"
    scale: float = 1.0

    def __post_init__(self) -> None:
        """Accept lists, which is what JSON metadata holds.

        Raises:
            ConfigError: the values contradict each other.
        """
        object.__setattr__(self, "mean", tuple(map(float, self.mean)))
        object.__setattr__(self, "std", tuple(map(float, self.std)))
        if not self.mean or len(self.mean) != len(self.std):
            raise ConfigError(
                f"Preprocessing needs one mean and one std per channel; found {self.mean} and {self.std}."
            )
        if min(*self.std, self.scale) <= 0:
            raise ConfigError(f"Preprocessing needs std and scale above 0; found {self.std} and {self.scale}.")
        if self.channel_order not in ("rgb", "bgr"):
            raise ConfigError(f"channel_order is {self.channel_order!r}; allowed are 'rgb' and 'bgr'.")
        if self.channel_order == "bgr" and self.channels != 3:
            raise ConfigError(f"channel_order 'bgr' needs 3 channels; the means are for {self.channels}.")

    @property
    def channels(self) -> int:
        """How many channels the backbone takes."""
        return len(self.mean)


class Network(nn.Module):
    """A backbone that takes plain images: `(N, channels, H, W)`, float in [0, 1] -> logits `(N, C, *S)`.

    One gray channel is repeated where the backbone takes three. A backbone that gives a map `(N, C, h, w)` of any size
    makes this a network for masks: `*S` is then `(H, W)`, else nothing.

    Attributes:
        size_multiple: what both sides must be multiples of for the backbone; other images are padded below and right,
            and the logits cropped back. The padding is black before normalization, as in the views of training, so
            that the backbone meets one kind of border only.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        preprocessing: Preprocessing,
        *,
        num_classes: int,
        name: str,
        size_multiple: int = 1,
    ) -> None:
        super().__init__()
        assert size_multiple >= 1
        self.backbone = backbone
        self.preprocessing = preprocessing
        self.num_classes = num_classes
        self.name = name
        self.size_multiple = size_multiple
        # Buffers, to follow the network to its device; kept out of the state dict, which is the backbone's own.
        self.register_buffer("mean", _per_channel(preprocessing.mean), persistent=False)
        self.register_buffer("std", _per_channel(preprocessing.std), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Logits `(N, C, *S)` of images in [0, 1].

        Raises:
            ConfigError: the images have a number of channels that the backbone cannot take.
        """
        padded = _padded(images, self.size_multiple)
        logits: Tensor = self.backbone(self.preprocess(padded))
        return _cropped(_at_size_of(padded, logits), images)

    def preprocess(self, images: Tensor) -> Tensor:
        """What the backbone sees of images in [0, 1], both `(N, channels, H, W)`.

        Raises:
            ConfigError: the images have a number of channels that the backbone cannot take.
        """
        images = self._adapt_channels(images)
        if self.preprocessing.channel_order == "bgr":
            images = images.flip(1)
        if self.preprocessing.scale != 1:
            images = images * self.preprocessing.scale
        return (images - self.mean) / self.std

    def _adapt_channels(self, images: Tensor) -> Tensor:
        found, wanted = images.shape[1], self.preprocessing.channels
        if found == wanted:
            return images
        if (found, wanted) == (1, 3):
            return images.expand(-1, 3, -1, -1)
        raise ConfigError(
            f"Network {self.name!r} takes images of {wanted} channels, found {found}; "
            "only a single gray channel can be turned into three."
        )


def check_output(network: Network, images: Tensor, *, dense: bool = False, asked_by: str = "") -> None:
    """Try a tiny batch `(N, channels, H, W)` before any training, and leave the network as it was.

    Args:
        network: any.
        images: of the size that it is going to see.
        dense: whether a class of every pixel is wanted, `(N, C, H, W)`, or of every image, `(N, C)`.
        asked_by: the setting, as `key=value`, that images of this size come from; empty where it is their own.

    Raises:
        ConfigError: the network cannot take such images, or its output has another shape.
    """
    found = _output_shape(network, images, dense=dense, asked_by=asked_by)
    expected = (len(images), network.num_classes, *(images.shape[2:] if dense else ()))
    if found != expected:
        what = "images x classes x height x width" if dense else "images x classes"
        raise ConfigError(
            f"Network {network.name!r} gives an output of shape {found} for images of shape {tuple(images.shape)}; "
            f"expected {expected}: {what}. {_advice(found, network.num_classes, dense=dense)}"
        )


def _larger_side(network: Network, images: Tensor) -> int | None:
    """The smallest side, of those tried, from which the network takes images that are too small for it as they are."""
    for side in _SIDES_TRIED:
        if side > min(images.shape[-2:]):
            try:
                network(images.new_zeros(1, images.shape[1], side, side))
            except (RuntimeError, ValueError, AssertionError):
                continue
            return side
    return None


def _advice(found: tuple[int, ...] | str, num_classes: int, *, dense: bool) -> str:
    if isinstance(found, str):
        return "Let it return one tensor of logits."
    if dense and len(found) == 2:
        return (
            "It predicts one class an image: choose a network for masks, such as deeplab:timm:mobilenetv1_100, or "
            "task=classification."
        )
    if not dense and len(found) == 4:
        return "It predicts maps: end it with pooling and flattening, or choose task=segmentation."
    return f"Give it {num_classes} outputs, one a class."


def _padded(images: Tensor, multiple: int) -> Tensor:
    """Images with black below and to the right, up to the next multiples; those that fit are handed on."""
    below, right = (-side % multiple for side in images.shape[2:])
    return F.pad(images, [0, right, 0, below]) if below or right else images


def _cropped(logits: Tensor, images: Tensor) -> Tensor:
    """Maps without what lies below and to the right of the images; anything else as it is."""
    if not isinstance(logits, Tensor) or logits.dim() != 4 or logits.shape[2:] == images.shape[2:]:
        return logits
    return logits[..., : images.shape[2], : images.shape[3]]


def _at_size_of(images: Tensor, logits: Tensor) -> Tensor:
    """Maps upsampled to the images' size as in the paper (spec, section 1.2), in fp32; anything else as it is."""
    if not isinstance(logits, Tensor) or logits.dim() != 4:
        return logits
    logits = logits.float()
    if logits.shape[2:] == images.shape[2:]:
        return logits
    # A plane for each class: what follows reduces over classes, which is several times as fast in this order.
    planes = logits.contiguous(memory_format=torch.contiguous_format)
    return F.interpolate(planes, size=images.shape[2:], mode="bilinear", align_corners=True)


@torch.no_grad()
def _output_shape(network: Network, images: Tensor, *, dense: bool, asked_by: str) -> tuple[int, ...] | str:
    was_training = network.training
    network.eval()
    try:
        output = network(images)
    except ConfigError:
        raise
    except (RuntimeError, ValueError, AssertionError) as error:  # how libraries say that an image size does not fit
        size = "x".join(str(side) for side in images.shape[-2:])
        # A network for masks takes any size from some smallest one on, a classifier often just one.
        larger = _larger_side(network, images) if dense else None
        smallest = f"it needs {larger}x{larger} pixels or so; " if larger else ""
        why = f", as {asked_by} asks for," if asked_by else ""
        raise ConfigError(
            f"Network {network.name!r} cannot take images of {size} pixels{why} ({first_line(error)}); "
            f"{smallest}choose another network or {asked_by.partition('=')[0] or 'data.image_size'}."
        ) from error
    finally:
        network.train(was_training)
    return tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__


def _per_channel(values: tuple[float, ...]) -> Tensor:
    return torch.tensor(values, dtype=torch.float32).view(1, -1, 1, 1)
