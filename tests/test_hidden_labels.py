"""The true labels of unlabeled images never reach training (contracts, section 4)."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, TensorDataset

from dmt.config_files import load_config
from dmt.data.draw import split_masks
from dmt.data.images import ArrayImages, DataSet
from dmt.data.parts import Part, SealedLabels
from dmt.data.split_files import read_labeled_keys
from dmt.data.splits import Split, split_known
from dmt.run import run
from tiny_runs import (
    NUM_CLASSES,
    TINY_MASK_NETWORKS,
    TINY_NETWORKS,
    MaskedArrays,
    striped_images,
    striped_set,
    tiny_config,
    tiny_mask_config,
    tiny_masks,
    tiny_parts,
)

LABELED_INDICES = tuple(range(9))


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half the time of runs as short as these; what survives a power cut is not asked here."""
    monkeypatch.setattr("os.fsync", lambda _: None)


def catalog_like(*, scramble: int | None) -> DataSet:
    """A data set that knows every label; `scramble` replaces those of all images that are not in the labeled list."""
    images, labels = striped_images(45, seed=1)
    if scramble is not None:
        random = np.random.default_rng(scramble)
        hidden = list(range(len(LABELED_INDICES), 45))
        labels[hidden] = torch.from_numpy(random.integers(0, NUM_CLASSES, len(hidden)))
    test_images, test_labels = striped_images(12, seed=2)
    return DataSet(
        name="stripes",
        class_names=tuple("abc"),
        train=ArrayImages(images, labels, "train"),
        test=ArrayImages(test_images, test_labels, "test"),
        mean=(0.4,),
        std=(0.2,),
    )


def trained_bits(folder: Path) -> dict[str, bytes]:
    """Weights and pseudo labels; figures about the pseudo labels' truth differ, as they should."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for suffix in ("safetensors", "parquet", "png")
        for path in sorted(folder.rglob(f"*.{suffix}"))
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"rounds": {"top_fractions": [0.4, 0.7, 1.0]}},
        {"scheme": "mutual", "rounds": {"top_fractions": [0.5, 1.0], "selection": "overall"}},
        {"method": "online_self_training"},
        {"validation": {"source": "cross_validation"}, "rounds": {"top_fractions": [1.0]}},
    ],
    ids=["chain", "mutual", "online", "folds"],
)
def test_scrambled_hidden_labels_change_no_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    # The draw itself looks at labels, to be balanced: it is settled here, and everything after it must not.
    split = Split(labeled=LABELED_INDICES, unlabeled=tuple(range(len(LABELED_INDICES), 45)))
    monkeypatch.setattr("dmt.data.draw.draw_split", lambda *_, **__: split)
    config = tiny_config(duration={"steps": 12}, supervised={"steps": 12}) | changes
    accuracies, bits = [], []
    for number, scramble in enumerate((None, 5)):
        data = catalog_like(scramble=scramble)
        monkeypatch.setattr("dmt.loading.load_dataset", lambda *_, data=data, **__: data)
        result = run(config, run_dir=tmp_path / str(number))
        bits.append(trained_bits(tmp_path / str(number)))
        accuracies.append([one.get("pseudo_label_accuracy") for one in result["rounds"]])
    assert len(bits[0]) >= 6
    assert bits[0].keys() == bits[1].keys()
    assert [name for name in bits[0] if bits[0][name] != bits[1][name]] == []
    if changes.get("method") != "online_self_training":
        assert accuracies[0] != accuracies[1], "the labels were not scrambled, or the truth was not looked up"


def scrambled(data: DataSet, kept: Sequence[int]) -> DataSet:
    """Other masks in place of those of all training images but `kept`."""
    train = data.train
    assert isinstance(train, MaskedArrays)
    random = torch.Generator().manual_seed(5)
    masks = [
        mask if index in kept else torch.randint(NUM_CLASSES, mask.shape, generator=random)
        for index, mask in enumerate(train.masks)
    ]
    return replace(data, train=replace(train, masks=masks))


SHORT = {"duration": {"steps": 3}, "supervised": {"steps": 10}, "rounds": {"top_fractions": [1.0]}}
FOLDS = {"validation": {"source": "cross_validation"}, "loss": {"confidence_threshold": 0.4}}


@pytest.mark.parametrize(
    "changes",
    [
        {"rounds": {"top_fractions": [0.3, 0.8]}},
        {"rounds": {"top_fractions": [0.5], "selection": "class_prior", "dms_share": 0.6}},
        {"rounds": {"top_fractions": [0.5], "selection": "renormalized"}, "method": "cbst"},
        {"method": "online_self_training", "crop": {"size": [8, 8], "pseudo": "plain"}},
        {"rounds": {"top_fractions": [1.0], "selection": "threshold"}, "scheme": "chain"} | FOLDS,
    ],
    ids=["mutual", "samples", "renormalized", "online", "folds"],
)
def test_scrambled_hidden_masks_change_no_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    """Not even the draw looks at masks, so nothing of it has to be settled here."""
    config = tiny_mask_config(**SHORT | changes)
    data = tiny_masks(num_train=12)
    split = split_masks(load_config(config), data)
    bits, qualities = [], []
    for name, chosen in (("plain", data), ("scrambled", scrambled(data, [*split.labeled, *split.validation]))):
        monkeypatch.setattr("dmt.loading.load_dataset", lambda *_, chosen=chosen, **__: chosen)
        result = run(config, models=TINY_MASK_NETWORKS, run_dir=tmp_path / name)
        bits.append(trained_bits(tmp_path / name))
        qualities.append([one.get("pseudo_label_mean_iou") for one in result["rounds"]])
    assert len(bits[0]) >= 4
    assert bits[0].keys() == bits[1].keys()
    assert [name for name in bits[0] if bits[0][name] != bits[1][name]] == []
    if changes.get("method") != "online_self_training":
        assert any(name.endswith(".png") for name in bits[0])
        assert qualities[0] != qualities[1], "the masks were not scrambled, or the truth was not looked up"


def test_images_without_masks_are_never_asked_for_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then nobody can say how good pseudo labels are, and nothing else changes."""
    config = tiny_mask_config(**SHORT)
    plain = tiny_masks(num_train=12)
    labeled = split_masks(load_config(config), plain).labeled
    train = plain.train
    assert isinstance(train, MaskedArrays)
    hidden = frozenset(range(len(train))) - set(labeled)
    sealed = replace(plain, train=replace(train, hidden=hidden), labeled=labeled)
    results = []
    for name, chosen in (("plain", plain), ("sealed", sealed)):
        monkeypatch.setattr("dmt.loading.load_dataset", lambda *_, chosen=chosen, **__: chosen)
        results.append(run(config, models=TINY_MASK_NETWORKS, run_dir=tmp_path / name))
    assert trained_bits(tmp_path / "plain") == trained_bits(tmp_path / "sealed")
    assert "pseudo_label_accuracy" in results[0]["rounds"][-1]
    assert "pseudo_label_accuracy" not in results[1]["rounds"][-1]


@pytest.mark.parametrize("source", ["none", "cross_validation", "cut"])
def test_a_list_of_labeled_images_is_dealt_without_a_look_at_other_labels(tmp_path: Path, source: Any) -> None:
    listed = tmp_path / "labeled.txt"
    listed.write_text("".join(f"train/{index:05d}\n" for index in LABELED_INDICES))
    splits = []
    for scramble in (None, 5, 6):
        train = catalog_like(scramble=scramble).train
        labels = train.labels(range(45)).numpy()
        split = split_known(
            read_labeled_keys(listed, train, labels),
            labels,
            num_classes=NUM_CLASSES,
            num_unlabeled=20,
            validation_source=source,
            validation_size=3,
            generator=np.random.default_rng(0),
            class_names=tuple("abc"),
        )
        splits.append(split)
    assert splits[0] == splits[1] == splits[2]


class Countdown(Dataset[Any]):
    """Unlabeled images with labels that must not be read."""

    def __init__(self, images: torch.Tensor) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, Any]:
        return self.images[index], NotALabel()


class NotALabel:
    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"a label of an unlabeled image was asked for {name}")


def test_labels_in_an_own_unlabeled_part_are_never_read(tmp_path: Path) -> None:
    labeled = striped_set(9, seed=1)
    parts = {"labeled": labeled, "test": striped_set(6, seed=2)}
    images, labels = striped_images(24, seed=3)
    config = tiny_config(duration={"steps": 6}, supervised={"steps": 6})
    for name, unlabeled in (("with", TensorDataset(images, labels)), ("never", Countdown(images))):
        run(config, parts | {"unlabeled": unlabeled}, TINY_NETWORKS, run_dir=tmp_path / name)
    assert trained_bits(tmp_path / "with") == trained_bits(tmp_path / "never")


def test_the_seal_is_broken_by_evaluate_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    callers = []
    plain = SealedLabels.open

    def recorded(self: SealedLabels) -> Part:
        callers.append(Path(sys._getframe(1).f_code.co_filename).name)
        return plain(self)

    monkeypatch.setattr(SealedLabels, "open", recorded)
    config = tiny_config(duration={"steps": 3}, supervised={"steps": 3}, validation={"source": "cross_validation"})
    run(config, tiny_parts(), TINY_NETWORKS, run_dir=tmp_path / "run")
    assert callers
    assert set(callers) == {"evaluate.py"}


def test_the_seal_is_broken_by_evaluate_alone_for_masks_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    callers = []
    plain = SealedLabels.open

    def recorded(self: SealedLabels) -> Part:
        callers.append(Path(sys._getframe(1).f_code.co_filename).name)
        return plain(self)

    monkeypatch.setattr(SealedLabels, "open", recorded)
    monkeypatch.setattr("dmt.loading.load_dataset", lambda *_, **__: tiny_masks(num_train=12))
    run(tiny_mask_config(**SHORT), models=TINY_MASK_NETWORKS, run_dir=tmp_path / "run")
    assert callers == ["evaluate.py"] * 2


def test_the_test_part_decides_nothing(tmp_path: Path) -> None:
    """Other test labels give the same weights and the same pick."""
    parts = tiny_parts()
    images, labels = striped_images(18, seed=2)
    other = parts | {"test": TensorDataset(images, (labels + 1) % NUM_CLASSES)}
    config = tiny_config(duration={"steps": 20}, supervised={"steps": 20}, validation={"source": "cut", "size": 3})
    first, second = (
        run(config, chosen, TINY_NETWORKS, run_dir=tmp_path / name) for name, chosen in (("one", parts), ("two", other))
    )
    assert first["picked"] == second["picked"]
    weights = [
        {name: bits for name, bits in trained_bits(tmp_path / run_name).items() if "scores" not in name}
        for run_name in ("one", "two")
    ]
    assert weights[0] == weights[1]


def test_masks_of_the_test_part_decide_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other test masks give the same weights and the same pick."""
    plain = tiny_masks(num_train=12)
    assert isinstance(plain.test, MaskedArrays)
    others = replace(plain.test, masks=[(mask + 1) % NUM_CLASSES for mask in plain.test.masks])
    config = tiny_mask_config(**SHORT, validation={"source": "cut", "size": 1})
    results = []
    for name, chosen in (("one", plain), ("two", replace(plain, test=others))):
        monkeypatch.setattr("dmt.loading.load_dataset", lambda *_, chosen=chosen, **__: chosen)
        results.append(run(config, models=TINY_MASK_NETWORKS, run_dir=tmp_path / name))
    assert results[0]["picked"] == results[1]["picked"]
    assert results[0]["final"] != results[1]["final"]
    one, two = (
        {name: bits for name, bits in trained_bits(tmp_path / run_name).items() if "scores" not in name}
        for run_name in ("one", "two")
    )
    assert one == two
