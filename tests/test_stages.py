"""What a finished stage leaves beside its weights."""

import json
from pathlib import Path

import pytest

from dmt.data.loaders import StepBatches
from dmt.data.own import data_set_from_torch
from dmt.data.parts import Part, UnlabeledPart
from dmt.data.pseudo_labels import unlabeled_only
from dmt.models.weights import read_metadata
from dmt.run import run
from tiny_runs import tiny_config, tiny_parts


def test_weights_carry_their_preprocessing_and_class_names(tmp_path: Path) -> None:
    run(tiny_config(method="supervised", supervised={"steps": 2}), tiny_parts(), run_dir=tmp_path)
    for name in ("last", "ema"):
        described = json.loads(read_metadata(tmp_path / "supervised" / f"{name}.safetensors")["dmt"])
        assert described["network"] == "small_cnn"
        assert described["class_names"] == ["0", "1", "2"]
        assert described["image_size"] == [8, 8]
        assert len(described["preprocessing"]["mean"]) == 1


def test_falling_fractions_warn(tmp_path: Path) -> None:
    config = tiny_config(rounds={"top_fractions": [1.0, 0.5]}, duration={"steps": 2}, supervised={"steps": 2})
    with pytest.warns(UserWarning, match="top_fractions fall"):
        run(config, tiny_parts(), run_dir=tmp_path)


def test_processes_share_every_batch_without_overlap() -> None:
    data = data_set_from_torch(tiny_parts(), name="stripes", image_size=None)
    unlabeled = UnlabeledPart(data.train, tuple(range(9, 60)), has_truth=True)

    def batch(rank: int, world_size: int) -> list[bytes]:
        batches = StepBatches(
            labeled=Part(data.train, tuple(range(9))),
            num_labeled=4,
            unlabeled=unlabeled,
            pseudo=unlabeled_only(unlabeled),
            num_pseudo=6,
            seed=0,
            stage="x",
            rank=rank,
            world_size=world_size,
        )
        return [image.numpy().tobytes() for image in batches[3].images]

    assert sorted(batch(0, 2) + batch(1, 2)) == sorted(batch(0, 1))
    assert len(batch(0, 2)) == len(batch(1, 2)) == 5
