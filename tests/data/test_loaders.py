from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from dmt.data.images import ArrayImages
from dmt.data.loaders import StepBatches, load_in_order
from dmt.data.parts import Part, UnlabeledPart
from dmt.data.pseudo_labels import PseudoLabels, PseudoSummary, WithoutLabels
from dmt.selection import decode_confidence
from dmt.types import Batch


def image_set(count: int) -> ArrayImages:
    """Image i is filled with the level i, and its class is i mod 3."""
    levels = torch.arange(count, dtype=torch.uint8).reshape(-1, 1, 1, 1).expand(-1, 2, 3, 4).contiguous()
    return ArrayImages(levels, torch.arange(count) % 3, "train")


NO_SUMMARY = PseudoSummary(predicted=(), kept=(), thresholds=())


@dataclass(frozen=True)
class Stored:
    """Pseudo labels as they are stored, one entry an image."""

    positions: Tensor
    label: Tensor
    code: Tensor
    summary: PseudoSummary = NO_SUMMARY

    def __len__(self) -> int:
        return len(self.positions)

    def read(self, items: Sequence[int]) -> tuple[Tensor, Tensor]:
        return self.label[items], self.code[items]


SOURCE = image_set(40)
LABELED = tuple(range(0, 40, 4))
UNLABELED_INDICES = tuple(index for index in range(40) if index % 4)
PSEUDO = Stored(
    positions=torch.tensor([1, 5, 6, 20, 29]),
    label=torch.tensor([2, 1, 0, 2, 1]),
    code=torch.tensor([3402, 2378, 1779, 1354, 1024], dtype=torch.int32),
)


def batches(
    *, num_labeled: int = 3, num_pseudo: int = 4, seed: int = 0, pseudo: PseudoLabels | None = PSEUDO
) -> StepBatches:
    return StepBatches(
        labeled=Part(SOURCE, LABELED),
        num_labeled=num_labeled,
        unlabeled=UnlabeledPart(SOURCE, UNLABELED_INDICES, has_truth=True),
        pseudo=pseudo,
        num_pseudo=num_pseudo,
        seed=seed,
        stage="rounds/1/a",
    )


def indices(batch: Batch, *, labeled: bool) -> list[int]:
    """Which images of the source a batch holds."""
    return batch.images[batch.is_labeled == labeled][:, 0, 0, 0].tolist()


def same(first: Batch, second: Batch) -> bool:
    names = ("images", "targets", "confidence", "is_labeled")
    return all(torch.equal(getattr(first, name), getattr(second, name)) for name in names)


def test_a_batch_holds_what_it_says() -> None:
    batch = batches()[7]
    assert batch.images.dtype == torch.uint8
    assert batch.images.shape == (7, 2, 3, 4)
    assert batch.is_labeled.sum() == 3
    for i in range(7):
        index = int(batch.images[i, 0, 0, 0])
        if batch.is_labeled[i]:
            assert index in LABELED
            assert (batch.targets[i], batch.confidence[i]) == (index % 3, 1.0)
        else:
            row = PSEUDO.positions.tolist().index(UNLABELED_INDICES.index(index))
            assert (batch.targets[i], batch.confidence[i]) == (PSEUDO.label[row], decode_confidence(PSEUDO.code[row]))
            assert float(batch.confidence[i]) == pytest.approx([0.9, 0.8, 0.7, 0.6, 0.5][row], abs=1e-4)


def test_confidences_keep_the_resolution_of_the_store() -> None:
    assert batches()[0].confidence.dtype == torch.float64


@pytest.mark.parametrize(("num_labeled", "num_pseudo"), [(3, 4), (10, 5), (25, 12)])
def test_every_pass_holds_every_image_once_whatever_the_batch(num_labeled: int, num_pseudo: int) -> None:
    steps = [batches(num_labeled=num_labeled, num_pseudo=num_pseudo)[step] for step in range(30)]
    for labeled, members, count in ((True, LABELED, num_labeled), (False, [2, 7, 9, 27, 39], num_pseudo)):
        expected = (
            sorted(members)
            if labeled
            else sorted(UNLABELED_INDICES[position] for position in PSEUDO.positions.tolist())
        )
        stream = [index for batch in steps for index in indices(batch, labeled=labeled)]
        assert len(stream) == 30 * count
        for begin in range(0, len(stream) - len(expected) + 1, len(expected)):
            assert sorted(stream[begin : begin + len(expected)]) == expected


def test_a_batch_is_a_function_of_seed_stage_and_step() -> None:
    assert same(batches()[11], batches()[11])
    assert not same(batches()[11], batches()[12])
    assert not same(batches()[11], batches(seed=1)[11])


def test_the_pseudo_stream_does_not_disturb_the_labeled_one() -> None:
    other = Stored(PSEUDO.positions[:2], PSEUDO.label[:2], PSEUDO.code[:2])
    for step in range(5):
        assert indices(batches()[step], labeled=True) == indices(batches(pseudo=other)[step], labeled=True)


def test_supervised_batches_hold_labels_only() -> None:
    batch = batches(pseudo=None)[0]
    assert batch.is_labeled.all()
    assert len(batch.images) == 3


def test_images_without_labels_are_marked() -> None:
    part = UnlabeledPart(SOURCE, UNLABELED_INDICES, has_truth=True)
    everything = WithoutLabels(part, -1, dense=False)
    assert everything.positions.tolist() == list(range(30))
    batch = batches(pseudo=everything)[0]
    assert batch.targets[~batch.is_labeled].tolist() == [-1] * 4
    assert batch.confidence[~batch.is_labeled].tolist() == [1.0] * 4, "0 is the confidence of padding"


@pytest.mark.parametrize("workers", [0, 2])
def test_steps_come_in_order_from_any_start_and_any_number_of_workers(workers: int) -> None:
    loaded = list(load_in_order(batches(), range(5, 14), workers=workers))
    assert len(loaded) == 9
    assert all(same(batch, batches()[step]) for step, batch in zip(range(5, 14), loaded, strict=True))


def test_no_steps_are_no_batches() -> None:
    assert list(load_in_order(batches(), range(3, 3), workers=0)) == []
