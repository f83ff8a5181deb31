"""Batches of views in segmentation: images of any sizes, cut out with their labels and confidences."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from dmt.data.loaders import StepBatches, load_in_order
from dmt.data.parts import Part, UnlabeledPart
from dmt.data.pseudo_labels import PseudoSummary, WithoutLabels
from dmt.data.views import PlainView, RandomView, View
from dmt.selection import MAX_CODE
from dmt.types import IGNORE_INDEX, Batch
from tiny_runs import MaskedArrays


@dataclass(frozen=True)
class StoredMasks:
    """Pseudo labels as they are stored, one entry an image."""

    positions: Tensor
    label: Sequence[Tensor]
    code: Sequence[Tensor]

    @property
    def summary(self) -> PseudoSummary:
        return PseudoSummary(predicted=(), kept=(), thresholds=())

    def __len__(self) -> int:
        return len(self.positions)

    def read(self, items: Sequence[int]) -> tuple[Tensor, Tensor]:
        return torch.stack([self.label[item] for item in items]), torch.stack([self.code[item] for item in items])


PER_IMAGE = ("images", "targets", "confidence", "is_labeled")


def same(first: Batch, second: Batch) -> bool:
    return all(torch.equal(getattr(first, name), getattr(second, name)) for name in PER_IMAGE)


IMAGE_SIZES = ((7, 9), (12, 5), (6, 6), (15, 16), (7, 9))
LABELED_MASKS = (0, 3, 5, 8, 9)
UNLABELED_MASKS = (1, 2, 4, 6, 7, 10, 11)


def mapped_set(count: int = 12) -> MaskedArrays:
    """Pixel (r, c) of image i has level (40 i + 16 r + c) % 251 in all channels, and label level % 7."""
    levels = []
    for index in range(count):
        height, width = IMAGE_SIZES[index % len(IMAGE_SIZES)]
        levels.append((40 * index + 16 * torch.arange(height)[:, None] + torch.arange(width)) % 251)
    pixels = [level.to(torch.uint8).expand(2, *level.shape).contiguous() for level in levels]
    return MaskedArrays(pixels, [level % 7 for level in levels], "train")


MASKED = mapped_set()
# The pseudo label of a pixel is its level mod 5 and 10 above, its code 100 times its level.
STORED_MASKS = StoredMasks(
    positions=torch.arange(len(UNLABELED_MASKS)),
    label=[MASKED.pixels[index][0].long() % 5 + 10 for index in UNLABELED_MASKS],
    code=[MASKED.pixels[index][0].int() * 100 for index in UNLABELED_MASKS],
)
SHIFT = RandomView(crop_size=(8, 8), scale=(1.0, 1.0))


def mask_batches(**changes: Any) -> StepBatches:
    settings: dict[str, Any] = {
        "labeled": Part(MASKED, LABELED_MASKS),
        "num_labeled": 4,
        "unlabeled": UnlabeledPart(MASKED, UNLABELED_MASKS, has_truth=True),
        "pseudo": STORED_MASKS,
        "num_pseudo": 6,
        "labeled_view": SHIFT,
        "pseudo_view": SHIFT,
        "seed": 0,
        "stage": "rounds/1/a",
    }
    return StepBatches(**settings | changes)


def rows_of(batch: Batch) -> list[tuple[bytes, ...]]:
    """Each image of a batch with all that belongs to it, as bytes."""
    return [tuple(getattr(batch, name)[i].numpy().tobytes() for name in PER_IMAGE) for i in range(len(batch.images))]


@pytest.mark.parametrize("step", range(6))
def test_image_label_and_confidence_of_a_view_go_through_one_geometry(step: int) -> None:
    """Without scaling a level survives, and tells at every pixel what its label and confidence must be."""
    batch = mask_batches()[step]
    assert batch.images.shape == (10, 2, 8, 8)
    assert (batch.images.dtype, batch.targets.dtype, batch.confidence.dtype) == (
        torch.uint8,
        torch.int64,
        torch.float64,
    )
    num_padded = 0
    for i in range(10):
        for place in np.ndindex(8, 8):
            level, target = int(batch.images[i, 0][place]), int(batch.targets[i][place])
            confidence = float(batch.confidence[i][place])
            if target == IGNORE_INDEX:
                assert (level, confidence) == (0, 0.0)
                num_padded += 1
            elif batch.is_labeled[i]:
                assert (target, confidence) == (level % 7, 1.0)
            else:
                assert target == level % 5 + 10
                assert confidence == pytest.approx(1 - 2 ** (-100 * level / 1024), rel=1e-12)
    assert 0 < num_padded < 10 * 64 / 2, "some images are smaller than the view, and none is all padding"


class Seen:
    """A view that keeps what it was given, and answers with one number of its stream."""

    def __init__(self) -> None:
        self.calls: list[tuple[Tensor, Tensor, Tensor]] = []

    def __call__(
        self, image: Tensor, label: Tensor, code: Tensor, generator: np.random.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        self.calls.append((image, label, code))
        number = int(generator.integers(2**31))
        return (
            torch.full((1, 1, 1), number % 251, dtype=torch.uint8),
            torch.full((1, 1), number),
            torch.full((1, 1), len(self.calls) - 1, dtype=torch.int32),
        )


def test_a_view_gets_whole_images_with_their_own_maps() -> None:
    labeled_view, pseudo_view = Seen(), Seen()
    batch = mask_batches(labeled_view=labeled_view, pseudo_view=pseudo_view)[2]
    assert (len(labeled_view.calls), len(pseudo_view.calls)) == (4, 6)
    for image, label, code in labeled_view.calls:
        index = next(i for i in LABELED_MASKS if torch.equal(MASKED.pixels[i], image))
        assert torch.equal(label, MASKED.masks[index])
        assert (code == MAX_CODE).all()
        assert code.shape == label.shape
    for image, label, code in pseudo_view.calls:
        row = next(j for j, i in enumerate(UNLABELED_MASKS) if torch.equal(MASKED.pixels[i], image))
        assert torch.equal(label, STORED_MASKS.label[row])
        assert torch.equal(code, STORED_MASKS.code[row])
    expected = [1 - 2 ** (-code / 1024) for code in (*range(6), *range(4))]
    assert batch.confidence.flatten().tolist() == pytest.approx(expected, rel=1e-12)


def test_every_image_of_every_step_has_a_stream_of_its_own() -> None:
    numbers = [
        number
        for seed in (0, 1)
        for stage in ("rounds/1/a", "rounds/1/b")
        for step in range(5)
        for number in mask_batches(labeled_view=Seen(), pseudo_view=Seen(), seed=seed, stage=stage)[step]
        .targets.flatten()
        .tolist()
    ]
    assert len(set(numbers)) == len(numbers) == 2 * 2 * 5 * 10


def test_labeled_and_pseudo_labeled_images_may_have_different_views() -> None:
    mixed = mask_batches(pseudo_view=PlainView(crop_size=(8, 8)))[1]
    same_views, is_labeled = mask_batches()[1], mixed.is_labeled
    assert torch.equal(mixed.images[is_labeled], same_views.images[is_labeled])
    assert torch.equal(mixed.targets[is_labeled], same_views.targets[is_labeled])
    assert not (mixed.targets[~is_labeled] == IGNORE_INDEX).any()
    assert (same_views.targets[~is_labeled] == IGNORE_INDEX).any()


@pytest.mark.parametrize("view", [SHIFT, RandomView(crop_size=(5, 11)), PlainView(crop_size=(6, 4))])
@pytest.mark.parametrize("world_size", [2])
def test_processes_together_make_the_batch_of_one(view: View, world_size: int) -> None:
    """Bit for bit: an image's view hangs on its place in the whole batch, not on its process."""
    settings: dict[str, Any] = {"labeled_view": view, "pseudo_view": view}
    for step in (0, 3):
        whole = rows_of(mask_batches(**settings)[step])
        shares = [mask_batches(**settings, rank=rank, world_size=world_size)[step] for rank in range(world_size)]
        assert [int(share.is_labeled.sum()) for share in shares] == [2, 2]
        together = [row for share in shares for row in rows_of(share)]
        assert sorted(together) == sorted(whole)
        assert len(set(whole)) > 5, "the views should differ"


def test_a_share_of_a_batch_is_every_other_image() -> None:
    whole = mask_batches()[4]
    for rank in (0, 1):
        share = mask_batches(rank=rank, world_size=2)[4]
        places = [*range(rank, 6, 2), *range(6 + rank, 10, 2)]
        for name in PER_IMAGE:
            assert torch.equal(getattr(share, name), getattr(whole, name)[places])


def test_a_repeated_image_gets_another_view_at_each_place() -> None:
    one = Part(MASKED, (3,))
    batch = mask_batches(labeled=one, pseudo=None, num_labeled=12)[0]
    assert len({image.numpy().tobytes() for image in batch.images}) > 6


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_views_do_not_depend_on_the_number_of_workers(workers: int) -> None:
    loaded = list(load_in_order(mask_batches(), range(2, 6), workers=workers))
    assert all(same(batch, mask_batches()[step]) for step, batch in zip(range(2, 6), loaded, strict=True))


def test_images_without_labels_are_cut_out_like_others() -> None:
    part = UnlabeledPart(MASKED, UNLABELED_MASKS, has_truth=True)
    without = WithoutLabels(part, IGNORE_INDEX, dense=True)
    for step in range(4):
        batch, labeled = mask_batches(pseudo=without)[step], mask_batches()[step].is_labeled
        assert torch.equal(batch.images, mask_batches()[step].images)
        assert (batch.targets[~labeled] == IGNORE_INDEX).all()
        padded = batch.confidence[~labeled] == 0
        assert not batch.images[~labeled].sum(dim=1)[padded].any(), "0 is the confidence of padding, which is black"
        assert padded.any()
        assert (batch.confidence[~labeled] == 1).any()
        assert torch.equal(batch.targets[labeled], mask_batches()[step].targets[labeled])


def test_true_masks_of_unlabeled_images_are_not_read() -> None:
    sealed = replace(MASKED, hidden=frozenset(UNLABELED_MASKS))
    unlabeled = UnlabeledPart(sealed, UNLABELED_MASKS, has_truth=False)
    batch = mask_batches(labeled=Part(sealed, LABELED_MASKS), unlabeled=unlabeled)[0]
    assert same(batch, mask_batches()[0])
