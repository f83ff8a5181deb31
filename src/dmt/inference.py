"""Running networks over whole sets, shared among processes: what labeling and evaluation both stand on."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from dmt.data.images import to_unit
from dmt.data.loaders import load_in_order
from dmt.engine import Engine
from dmt.errors import ConfigError
from dmt.signals import stop, stop_requested
from dmt.types import Observer


class Images(Protocol):
    """A part of a data set, seen without labels."""

    def __len__(self) -> int:
        """How many images."""

    def images(self, positions: Sequence[int]) -> Tensor:
        """`(n, channels, H, W)`, uint8 levels or float32."""

    def size(self, position: int) -> tuple[int, int]:
        """Height and width of an image."""


@dataclass(frozen=True)
class _ImageBatches(Dataset[Tensor]):
    """Item i is the i-th batch of images."""

    part: Images
    batches: Sequence[Sequence[int]]

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, number: int) -> Tensor:
        return self.part.images(self.batches[number])


def infer(
    networks: Sequence[nn.Module],
    part: Images,
    *,
    engine: Engine,
    batch_size: int,
    workers: int,
    title: str,
    observer: Observer,
) -> Iterator[tuple[list[int], list[Tensor]]]:
    """Predict every image without augmentation, a batch at a time; nothing is kept.

    Args:
        networks: in eval mode for the duration of each batch; each gets every image.
        part: the images; each process takes every world_size-th batch.
        engine: where.
        batch_size: images a batch.
        workers: processes that load images.
        title: the piece of work in words.
        observer: told of the progress.

    Yields:
        Positions of a batch's images, and each network's fp32 logits `(n, C, *S)` on the device.

    Raises:
        ConfigError: a batch of no images.
        StoppedError: a signal came in.
    """
    if batch_size < 1:
        raise ConfigError(f"batch_size: found {batch_size}; it may be a whole number from 1.")
    batches = batches_of_one_size(part, batch_size)
    mine = list(engine.share(len(batches)))
    loader = load_in_order(_ImageBatches(part, batches), mine, workers=workers)
    observer.task_started(title, len(part))
    done = 0
    for number, images in zip(mine, loader, strict=True):
        # Of several processes none may leave alone; they stop in the training that follows.
        if engine.any_stops(stop_requested(), at_meeting=False):
            raise stop(f"{title}: {done:,} of {len(part):,}, which are done again")
        yield list(batches[number]), _logits(networks, images, engine)
        done += len(images) * engine.world_size
        observer.task_advanced(min(done, len(part)))
    observer.task_finished()


def batches_of_one_size(part: Images, batch_size: int) -> list[list[int]]:
    """All positions in batches whose images have one size: what a network says of an image hangs on no other one.

    Padding to the largest image of a batch would let the batch's other images change the borders' predictions.
    """
    of_size: dict[tuple[int, int], list[int]] = defaultdict(list)
    for position in range(len(part)):
        of_size[part.size(position)].append(position)
    return [same[start : start + batch_size] for same in of_size.values() for start in range(0, len(same), batch_size)]


@torch.inference_mode()
def _logits(networks: Sequence[nn.Module], images: Tensor, engine: Engine) -> list[Tensor]:
    """Logits in fp32, whatever the run trains in: bf16 logits would tie where confidences are ranked."""
    scaled = to_unit(images.to(engine.device, non_blocking=True)).to(memory_format=torch.channels_last)
    modes = [network.training for network in networks]
    try:
        return [network.eval()(scaled) for network in networks]
    finally:
        for network, mode in zip(networks, modes, strict=True):
            network.train(mode)
