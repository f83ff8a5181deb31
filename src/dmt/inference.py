"""Running networks over whole sets, in order, shared among processes: what labeling and evaluation both stand on."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from dmt.engine import Engine
from dmt.types import Observer


class Images(Protocol):
    """A part of a data set, seen without labels."""

    def __len__(self) -> int:
        """How many images."""

    def images(self, positions: Sequence[int]) -> Tensor:
        """`(n, channels, H, W)` uint8."""


@dataclass(frozen=True)
class _Slices(Dataset[Tensor]):
    """Item i is the i-th batch of images, in their order."""

    part: Images
    size: int

    def __len__(self) -> int:
        return math.ceil(len(self.part) / self.size)

    def __getitem__(self, number: int) -> Tensor:
        return self.part.images(range(number * self.size, min((number + 1) * self.size, len(self.part))))


def infer(
    networks: Sequence[nn.Module],
    part: Images,
    convert: Callable[[list[Tensor]], tuple[Tensor, ...]],
    *,
    engine: Engine,
    batch_size: int,
    workers: int,
    title: str,
    observer: Observer,
) -> tuple[Tensor, ...]:
    """Predict every image without augmentation and keep what `convert` makes of the logits.

    Args:
        networks: in eval mode for the duration; each gets every image.
        part: the images; each process takes every world_size-th batch.
        convert: from the logits of each network, `(N, C, *S)`, to tensors of N rows.
        engine: where and in what precision.
        batch_size: images a batch.
        workers: processes that load images.
        title: the piece of work in words.
        observer: told of the progress.

    Returns:
        What `convert` returned, concatenated in the order of the images, on the CPU.
    """
    slices = _Slices(part, batch_size)
    mine = list(engine.share(len(slices)))
    loader = DataLoader(slices, batch_size=None, sampler=mine, num_workers=workers, generator=torch.Generator())
    observer.task_started(title, len(part))
    rows = []
    for number, images in zip(mine, loader, strict=True):
        converted = convert(_logits(networks, images, engine))
        rows.append((number, tuple(tensor.cpu() for tensor in converted)))
        observer.task_advanced(min((number + 1) * batch_size, len(part)))
    observer.task_finished()
    rows = sorted(engine.gather(rows), key=lambda row: row[0])
    return tuple(torch.cat(column) for column in zip(*(tensors for _, tensors in rows), strict=True))


@torch.inference_mode()
def _logits(networks: Sequence[nn.Module], images: Tensor, engine: Engine) -> list[Tensor]:
    """Logits in fp32, whatever the run trains in: bf16 logits would tie where confidences are ranked."""
    scaled = images.to(engine.device, non_blocking=True).float().div_(255).to(memory_format=torch.channels_last)
    modes = [network.training for network in networks]
    try:
        return [network.eval()(scaled) for network in networks]
    finally:
        for network, mode in zip(networks, modes, strict=True):
            network.train(mode)
