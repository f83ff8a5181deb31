"""Labeling: what a teacher says of each site, kept in either kind of store."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dmt.data.parts import UnlabeledPart
from dmt.data.pseudo_labels import Provenance, PseudoStore
from dmt.data.pseudo_masks import MaskStore
from dmt.data.pseudo_table import LabelStore
from dmt.engine import Engine
from dmt.errors import CheckpointError, NonFiniteError
from dmt.label import Predict, label, most_probable, renormalized_by, weights_hash
from dmt.progress import Silent
from dmt.types import PseudoSpec
from slow_logits import code_of, random_logits, sites_of, softmax
from tiny_runs import MaskedArrays, masked_images, striped_images, tiny_mask_network, tiny_network

PROVENANCE = Provenance(teacher="round 1, network b", teacher_hash="abc", config_hash="def")
SPEC = PseudoSpec(teacher="a", teacher_round=0, top_fraction=1.0, selection="per_class")


@pytest.mark.parametrize("num_classes", [2, 3, 21])
@pytest.mark.parametrize("shape", [(7,), (2, 5, 6)])
def test_the_most_probable_class_and_its_code(shape: tuple[int, ...], num_classes: int) -> None:
    logits = random_logits(shape, num_classes)
    prediction = most_probable(logits)
    assert prediction.label.shape == prediction.code.shape == shape
    found = zip(prediction.label.flatten().tolist(), prediction.code.flatten().tolist(), strict=True)
    for site, (chosen, code) in zip(sites_of(logits), found, strict=True):
        p = softmax(site)
        assert chosen == p.index(max(p))
        assert abs(code - code_of(max(p))) <= 0.65


@pytest.mark.parametrize("predict", [most_probable, renormalized_by([0.3, 0.2, 0.1])])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_sites_that_are_not_finite_get_no_label(predict: Predict, value: float) -> None:
    logits = random_logits((2, 3, 4), 3)
    logits[1, 2, 0, 3] = value
    prediction = predict(logits)
    assert prediction.label[1, 0, 3] == -1
    assert prediction.code[1, 0, 3] == 0
    assert int((most_probable(logits).label == -1).sum()) == 1


def masks() -> MaskedArrays:
    return masked_images(9, seed=0)


def stores(folder: Path, source: MaskedArrays) -> MaskStore:
    keys = [source.key(index) for index in range(len(source))]
    return MaskStore(folder, keys, PROVENANCE, num_classes=3, palette=None)


def run_label(
    teacher: nn.Module, part: UnlabeledPart, store: PseudoStore, *, engine: Engine | None = None, **settings: Any
) -> None:
    arguments: dict[str, Any] = {
        "batch_size": 4,
        "workers": 0,
        "title": "labels",
        "observer": Silent(),
        **settings,
    }
    label(teacher, part, store, engine=engine or Engine("fp32"), **arguments)


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_masks_of_all_sizes_are_labeled(tmp_path: Path, batch_size: int) -> None:
    source, teacher = masks(), tiny_mask_network().eval()
    part = UnlabeledPart(source, tuple(range(9)), has_truth=False)
    store = stores(tmp_path, source)
    run_label(teacher, part, store, batch_size=batch_size)
    assert store.is_whole()
    chosen = store.select(SPEC, class_shares=())
    for position in range(9):
        with torch.no_grad():
            expected = most_probable(teacher(source.pixels[position][None].float() / 255))
        found, code = chosen.read([position])
        assert found.shape == (1, *source.size(position))
        # Sums in another order may move a class whose logits tie in all but the last bits.
        assert (found != expected.label).sum() <= 1
        assert (code - expected.code).abs().max() <= 1


@pytest.mark.parametrize("predict", [None, renormalized_by([0.35, None, 0.2])])
def test_images_are_labeled_as_told(tmp_path: Path, predict: Predict | None) -> None:
    images, labels = striped_images(11, seed=0)
    source, teacher = MaskedArrays(list(images), [torch.zeros(8, 8)] * 11, "train"), tiny_network().eval()
    del labels
    store = LabelStore(tmp_path, [str(number) for number in range(11)], PROVENANCE, num_classes=3)
    run_label(teacher, UnlabeledPart(source, tuple(range(11)), has_truth=False), store, predict=predict)
    with torch.no_grad():
        expected = (predict or most_probable)(teacher(images.float() / 255))
    assert torch.equal(store.read().label, expected.label)
    assert (store.read().code - expected.code).abs().max() <= 1


def test_a_whole_store_is_not_filled_again(tmp_path: Path) -> None:
    source, teacher = masks(), tiny_mask_network()
    part = UnlabeledPart(source, tuple(range(9)), has_truth=False)
    run_label(teacher, part, stores(tmp_path, source))

    class Absent(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            raise AssertionError("the teacher was asked again")

    run_label(Absent(), part, stores(tmp_path, source))
    other = MaskStore(
        tmp_path, [source.key(i) for i in range(9)], Provenance(**vars(PROVENANCE) | {"teacher": "another"}),
        num_classes=3, palette=None,
    )  # fmt: skip
    with pytest.raises(CheckpointError, match="made with teacher"):
        run_label(Absent(), part, other)


class Shared(Engine):
    """One of two processes that work one after the other: the last one has everybody's lists."""

    lists: list[Any]

    def __init__(self, rank: int, lists: dict[int, list[Any]]) -> None:
        super().__init__("fp32")
        self.rank, self.world_size, self._lists, self._calls = rank, 2, lists, 0

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def gather(self, values: Sequence[Any]) -> list[Any]:
        self._calls += 1
        self._lists.setdefault(self._calls, []).extend(values)
        return list(self._lists[self._calls])


def test_two_processes_fill_a_store_as_one_does(tmp_path: Path) -> None:
    images, _ = striped_images(13, seed=0)
    source, teacher = MaskedArrays(list(images), [torch.zeros(8, 8)] * 13, "train"), tiny_network().eval()
    part, keys = UnlabeledPart(source, tuple(range(13)), has_truth=False), [str(number) for number in range(13)]
    lists: dict[int, list[Any]] = {}
    for rank in (1, 0):
        store = LabelStore(tmp_path / "two", keys, PROVENANCE, num_classes=3)
        run_label(teacher, part, store, engine=Shared(rank, lists), batch_size=3)
    alone = LabelStore(tmp_path / "one", keys, PROVENANCE, num_classes=3)
    run_label(teacher, part, alone, batch_size=3)
    assert (tmp_path / "two" / "labels.parquet").read_bytes() == (tmp_path / "one" / "labels.parquet").read_bytes()


class BrokenAt(nn.Module):
    """NaN at some pixels of every image."""

    def __init__(self, num_broken: int) -> None:
        super().__init__()
        self.num_broken = num_broken

    def forward(self, images: Tensor) -> Tensor:
        logits = torch.zeros(len(images), 3, *images.shape[2:])
        logits[:, 1] = 2.0
        logits.flatten(2)[:, 2, : self.num_broken] = math.nan
        return logits


def test_a_few_broken_pixels_are_ignored_and_many_refused(tmp_path: Path) -> None:
    source = masked_images(4, seed=0, sizes=((10, 20),))
    part = UnlabeledPart(source, tuple(range(4)), has_truth=False)
    store = stores(tmp_path / "few", source)
    run_label(BrokenAt(2), part, store)  # one in a hundred
    labels, _ = store.select(SPEC, class_shares=()).read([0, 1, 2, 3])
    assert int((labels == 255).sum()) == 8
    assert int((labels == 1).sum()) == 4 * 198
    with pytest.raises(NonFiniteError, match=r"12 of 800 places .* precision=fp32"):
        run_label(BrokenAt(3), part, stores(tmp_path / "many", source))
    assert not stores(tmp_path / "many", source).is_whole()


def test_a_renormalized_label_that_is_not_kept_is_not_broken(tmp_path: Path) -> None:
    source = masks()
    part = UnlabeledPart(source, tuple(range(9)), has_truth=False)
    store = stores(tmp_path, source)
    run_label(BrokenAt(0), part, store, predict=renormalized_by([None, None, 0.999]))
    chosen = store.select(SPEC, class_shares=())
    assert sum(chosen.summary.kept) == 0
    assert (chosen.read([0])[0] == 255).all()


def test_weights_are_named_by_their_content(tmp_path: Path) -> None:
    for name, content in (("one", b"weights"), ("same", b"weights"), ("other", b"weight")):
        (tmp_path / name).write_bytes(content)
    one, same, other = (weights_hash(tmp_path / name) for name in ("one", "same", "other"))
    assert one == same != other
    assert len(one) == 16
