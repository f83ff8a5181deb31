"""How long a stage trains: the tables of the specification (1.12)."""

import math
from dataclasses import dataclass, replace
from typing import Any

import pytest

from dmt.config_files import load_config
from dmt.data.parts import Parts
from dmt.stages import stage_steps
from dmt.types import Stage


@dataclass(frozen=True)
class Counted:
    """Something of a length."""

    count: int

    def __len__(self) -> int:
        return self.count


def parts_of(labeled: int, unlabeled: int, **subsets: int) -> Parts:
    return Parts(
        num_classes=21,
        labeled=Counted(labeled),  # type: ignore[arg-type]
        subsets={name: Counted(count) for name, count in subsets.items()},  # type: ignore[misc]
        unlabeled=Counted(unlabeled),  # type: ignore[arg-type]
        validation=None,
        test=None,
    )


@pytest.mark.parametrize(
    ("num_labeled", "oracle_epochs", "steps"),
    [(10582, 30, 39_690), (1322, 30, 14_090), (530, 30, 8_981), (100, 30, 4_012), (2975, 60, 22_320), (100, 60, 4_254)],
)
def test_the_baselines_length_is_the_papers_rule(num_labeled: int, oracle_epochs: float, steps: int) -> None:
    """Spec 1.12: sqrt(|D| / |S_l|) x the oracle's epochs, each of ceil(|S_l| / 8) steps."""
    num_images = 10582 if oracle_epochs == 30 else 2975
    config = load_config(
        {"task": "segmentation", "data": {"name": "voc"}, "supervised": {"oracle_epochs": oracle_epochs}}
    )
    parts = parts_of(num_labeled, num_images - num_labeled)
    stage = Stage(round=0, trains=("a",), start="scratch")
    epochs = math.sqrt(num_images / num_labeled) * oracle_epochs
    assert stage_steps(config, parts, stage, None) == steps == round(epochs * math.ceil(num_labeled / 8))


def test_images_of_a_validation_part_are_no_training_images() -> None:
    """|D| is the training set: what was set aside of it counts, what the data bring beside it does not."""
    steps = {}
    for source in ("none", "given", "cut"):
        changes = {"supervised": {"oracle_epochs": 30}, "validation": {"source": source}}
        config = load_config({"task": "segmentation", "data": {"name": "voc"}} | changes)
        parts = replace(parts_of(100, 900), validation=None if source == "none" else Counted(5000))  # type: ignore[arg-type]
        steps[source] = stage_steps(config, parts, Stage(round=0, trains=("a",), start="scratch"), None)
    assert steps["given"] == steps["none"] == round(30 * math.sqrt(10) * 13)
    assert steps["cut"] == round(30 * math.sqrt(60) * 13)


def test_a_sample_makes_as_many_passes_over_fewer_images() -> None:
    """VOC 1/106: 308.6 epochs of 13 steps, and of 10 on a sample of 80 (spec 1.12)."""
    rule = {"supervised": {"oracle_epochs": 30}, "rounds": {"dms_share": 0.8}}
    config = load_config({"task": "segmentation", "data": {"name": "voc"}} | rule)
    parts = parts_of(100, 10_482, dms_a=80, dms_b=80)
    epochs = 30 * math.sqrt(105.82)
    stages = [
        Stage(round=0, trains=(n,), start="scratch", labeled_subset=s) for n, s in (("a", "dms_a"), ("b", "dms_b"))
    ]
    assert [stage_steps(config, parts, stage, None) for stage in stages] == [round(10 * epochs)] * 2
    whole = Stage(round=0, trains=("a",), start="scratch")
    assert stage_steps(config, parts, whole, None) == round(13 * epochs)
    fixed = load_config({"task": "segmentation", "data": {"name": "voc"}, "supervised": {"steps": 77}})
    assert stage_steps(fixed, parts, stages[0], None) == 77


@pytest.mark.parametrize(
    ("num_unlabeled", "epochs", "batch", "steps"),
    [(9260, 5, (8, 1), 6_615), (10052, 4, (8, 1), 5_744), (10482, 4, (8, 1), 5_992), (2604, 10, (8, 2), 4_340)],
)
def test_an_epoch_of_a_round_is_a_pass_over_the_unlabeled_images(
    num_unlabeled: int, epochs: int, batch: tuple[int, int], steps: int
) -> None:
    """The table of spec 1.12; in segmentation no image is left out, whatever the top fraction."""
    changes = {"duration": {"epochs": epochs}, "batch": {"size": batch[0], "labeled": batch[1]}}
    config = load_config({"task": "segmentation", "data": {"name": "voc"}} | changes)
    stage = Stage(round=1, trains=("a",), start="finetune")
    pseudo: Any = Counted(num_unlabeled)
    assert stage_steps(config, parts_of(100, num_unlabeled), stage, pseudo) == steps
