"""Batches as a function of the step number: no state to save, whatever the number of workers."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from dmt.data.parts import Part, UnlabeledPart
from dmt.data.pseudo_labels import PseudoLabels
from dmt.randomness import shuffled_positions
from dmt.types import Batch


@dataclass(frozen=True, kw_only=True)
class StepBatches(Dataset[Batch]):
    """Item s is the batch of optimizer step s, with uint8 images as they are stored, before augmentation.

    Both streams are endless shuffled passes over their set, so every step has the same composition: there is no short
    last batch, and a set smaller than its share of the batch repeats items (spec, section 4).

    Attributes:
        labeled: images with true labels.
        num_labeled: how many of them a step takes.
        unlabeled, pseudo: the pseudo-labeled set, or None in supervised training.
        num_pseudo: how many of it a step takes.
        seed, stage: name the streams.
        rank, world_size: of several processes, this one takes every world_size-th item from its rank.
    """

    labeled: Part
    num_labeled: int
    unlabeled: UnlabeledPart | None = None
    pseudo: PseudoLabels | None = None
    num_pseudo: int = 0
    seed: int
    stage: str
    rank: int = 0
    world_size: int = 1

    def __getitem__(self, step: int) -> Batch:
        parts = [self._labeled(step)]
        if self.unlabeled is not None and self.pseudo is not None:
            parts.insert(0, self._pseudo(step, self.unlabeled, self.pseudo))
        return Batch(**{name: torch.cat([getattr(part, name) for part in parts]) for name in vars(parts[0])})

    def _labeled(self, step: int) -> Batch:
        positions = self._positions("labeled", len(self.labeled), step, self.num_labeled)
        targets = self.labeled.labels(positions.tolist())
        return Batch(
            images=self.labeled.images(positions.tolist()),
            targets=targets,
            confidence=torch.ones(targets.shape, dtype=torch.float64),
            is_labeled=torch.ones(len(targets), dtype=torch.bool),
        )

    def _pseudo(self, step: int, unlabeled: UnlabeledPart, pseudo: PseudoLabels) -> Batch:
        chosen = self._positions("pseudo", len(pseudo), step, self.num_pseudo)
        return Batch(
            images=unlabeled.images(pseudo.positions[chosen].tolist()),
            targets=pseudo.label[chosen],
            confidence=pseudo.confidence[chosen],
            is_labeled=torch.zeros(len(chosen), dtype=torch.bool),
        )

    def _positions(self, stream: str, num_items: int, step: int, count: int) -> Tensor:
        name = f"{self.stage}/order/{stream}"
        positions = shuffled_positions(self.seed, name, num_items=num_items, start=step * count, count=count)
        return torch.from_numpy(positions[self.rank :: self.world_size])


def load_steps(batches: StepBatches, steps: Iterable[int], *, workers: int) -> Iterator[Batch]:
    """The batches of `steps`, in order; `workers` processes read ahead."""
    # A generator of its own, since a loader draws a seed for its workers, else from torch's global one.
    return iter(
        DataLoader(batches, batch_size=None, sampler=list(steps), num_workers=workers, generator=torch.Generator())
    )
