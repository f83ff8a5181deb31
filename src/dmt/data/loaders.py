"""Batches as a function of the step number: no state to save, whatever the number of workers."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from dmt.data.parts import Part, UnlabeledPart
from dmt.data.pseudo_labels import PseudoLabels
from dmt.data.views import View
from dmt.errors import DMTError
from dmt.randomness import generator, shuffled_positions
from dmt.selection import MAX_CODE, decode_confidence
from dmt.signals import leave_signals_to_parent
from dmt.types import Batch

T = TypeVar("T")

_PER_IMAGE = ("images", "targets", "confidence", "is_labeled")
_Read: TypeAlias = Callable[[Sequence[int]], tuple[Tensor, Tensor, Tensor]]
"""Items of a set -> their images, labels and confidence codes."""


@dataclass(frozen=True, kw_only=True)
class StepBatches(Dataset[Batch]):
    """Item s is the batch of optimizer step s, with uint8 images.

    Both streams are endless shuffled passes over their set, so every step has the same composition: there is no short
    last batch, and a set smaller than its share of the batch repeats items (spec, section 4).

    Attributes:
        labeled: images with true labels.
        num_labeled: how many of them a step takes.
        unlabeled, pseudo: the pseudo-labeled set, or None in supervised training.
        num_pseudo: how many of it a step takes.
        labeled_view, pseudo_view: what is cut out of each image, one geometry for image, label and confidence; None
            where images are batched as they are stored.
        seed, stage: name the streams.
        rank, world_size: of several processes, this one takes every world_size-th item from its rank.
    """

    labeled: Part
    num_labeled: int
    unlabeled: UnlabeledPart | None = None
    pseudo: PseudoLabels | None = None
    num_pseudo: int = 0
    labeled_view: View | None = None
    pseudo_view: View | None = None
    seed: int
    stage: str
    rank: int = 0
    world_size: int = 1

    def __getitem__(self, step: int) -> Batch:
        parts = [self._labeled(step)]
        if self.unlabeled is not None and self.pseudo is not None:
            parts.insert(0, self._pseudo(step, self.unlabeled, self.pseudo))
        return Batch(**{name: torch.cat([getattr(part, name) for part in parts]) for name in _PER_IMAGE})

    def _labeled(self, step: int) -> Batch:
        def read(items: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
            labels = self.labeled.labels(items)
            return self.labeled.images(items), labels, torch.full(labels.shape, MAX_CODE, dtype=torch.int32)

        items = self._items("labeled", len(self.labeled), step, self.num_labeled)
        return self._batch("labeled", items, read, step, is_labeled=True)

    def _pseudo(self, step: int, unlabeled: UnlabeledPart, pseudo: PseudoLabels) -> Batch:
        def read(items: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
            return unlabeled.images(pseudo.positions[items].tolist()), *pseudo.read(items)

        items = self._items("pseudo", len(pseudo), step, self.num_pseudo)
        return self._batch("pseudo", items, read, step, is_labeled=False)

    def _items(self, stream: str, num_items: int, step: int, count: int) -> list[int]:
        name = f"{self.stage}/order/{stream}"
        items = shuffled_positions(self.seed, name, num_items=num_items, start=step * count, count=count)
        return list(items[self.rank :: self.world_size].tolist())

    def _batch(self, stream: str, items: Sequence[int], read: _Read, step: int, *, is_labeled: bool) -> Batch:
        view = self.labeled_view if is_labeled else self.pseudo_view
        images, targets, codes = read(items) if view is None else self._views(view, stream, items, read, step)
        return Batch(
            images=images,
            targets=targets,
            confidence=decode_confidence(codes),
            is_labeled=torch.full((len(items),), is_labeled),
        )

    def _views(
        self, view: View, stream: str, items: Sequence[int], read: _Read, step: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Views of images that may differ in size; an image's stream hangs on its place in the whole batch."""
        views = []
        for number, item in enumerate(items):
            place = self.rank + number * self.world_size
            image, label, code = (tensor[0] for tensor in read([item]))
            views.append(view(image, label, code, generator(self.seed, f"{self.stage}/view/{stream}", step, place)))
        images, labels, codes = (torch.stack(column) for column in zip(*views, strict=True))
        return images, labels, codes


@dataclass(frozen=True)
class _MistakesAsItems(Dataset[Any]):
    """A user's mistake as an item: one that is raised in a worker comes back wrapped into torch's traceback."""

    dataset: Dataset[Any]

    def __getitem__(self, index: int) -> Any:
        try:
            return self.dataset[index]
        except DMTError as error:
            return error


def load_in_order(dataset: Dataset[T], order: Iterable[int], *, workers: int) -> Iterator[T]:
    """The items of `order`, one by one; `workers` processes read ahead.

    Raises:
        DMTError: as the data set does.
    """
    loader = DataLoader(
        _MistakesAsItems(dataset),
        batch_size=None,
        sampler=list(order),
        num_workers=workers,
        # One of its own, since a loader draws a seed for its workers, else from torch's global one.
        generator=torch.Generator(),
        worker_init_fn=leave_signals_to_parent,
    )
    for item in loader:
        if isinstance(item, DMTError):
            raise item
        yield item
