"""The presets named after the paper hold its numbers; the tables are typed from paper and spec, not computed."""

import re
from types import SimpleNamespace
from typing import Any

import pytest

from dmt.config_files import load_config, preset_text
from dmt.methods import build_method
from dmt.methods.base import supervised_stage
from dmt.selection import overall_quota
from dmt.stages import stage_steps

TOP_FRACTIONS = [0.2, 0.4, 0.6, 0.8, 1.0]
NUM_CIFAR_IMAGES = 50_000

# preset: labels, supervised epochs, labeled images in a batch, the figure of Table 2 or 3
PRESETS = {
    "cifar10-4k-paper": ("dmt", 4000, 1060, 64, "94.21"),
    "cifar10-4k-curriculum-labeling-paper": ("curriculum_labeling", 4000, 1060, 64, "94.02"),
    "cifar10-4k-supervised-paper": ("supervised", 4000, 1060, None, "86.08"),
    "cifar10-1k-paper": ("dmt", 1000, 2120, 16, "91.51"),
    "cifar10-1k-curriculum-labeling-paper": ("curriculum_labeling", 1000, 2120, 16, "90.61"),
    "cifar10-1k-supervised-paper": ("supervised", 1000, 2120, None, "75.14"),
    "cifar10-oracle-paper": ("oracle", None, 300, None, "96.35"),
}
SEMI_SUPERVISED = [name for name, row in PRESETS.items() if row[3] is not None]


@pytest.mark.parametrize("name", PRESETS)
def test_common_numbers(name: str) -> None:
    method, num_labeled, supervised_epochs, _, _ = PRESETS[name]
    config = load_config(name)
    assert (config.task, config.method, config.data.name) == ("classification", method, "cifar-10")
    assert config.data.num_labeled == num_labeled
    assert config.data.image_size == [32, 32]
    assert config.networks.a.name == "wrn_28_2"
    assert config.networks.a.weights is None
    assert config.supervised.epochs == supervised_epochs
    assert config.optimizer.supervised_lr == 0.2
    assert (config.optimizer.momentum, config.optimizer.nesterov) == (0.9, False)
    assert (config.optimizer.weight_decay, config.optimizer.schedule) == (0.0005, "cosine")
    assert config.batch.size == 512
    assert config.mixup.alpha == 0.75
    assert config.ema is not None
    assert config.ema.decay == 0.999
    assert config.augment == "reference"


@pytest.mark.parametrize("name", SEMI_SUPERVISED)
def test_numbers_of_the_rounds(name: str) -> None:
    config = load_config(name)
    assert (config.scheme, config.start) == ("chain", "scratch")
    assert config.rounds.top_fractions == TOP_FRACTIONS
    assert config.rounds.selection == "overall"
    assert (config.loss.gamma_agree, config.loss.gamma_disagree, config.loss.ramp) == (4.0, 4.0, True)
    assert config.loss.weight_batchnorm == "update"
    assert config.mixup.keep_max is True
    assert config.optimizer.lr == 0.1
    assert config.duration.epochs == 750
    assert config.batch.labeled == PRESETS[name][3]


@pytest.mark.parametrize("name", PRESETS)
def test_validation_is_200_further_labels_but_for_the_oracle(name: str) -> None:
    validation = load_config(name).validation
    expected = ("none", None) if name == "cifar10-oracle-paper" else ("extra", 200)
    assert (validation.source, validation.size) == expected


@pytest.mark.parametrize("name", PRESETS)
def test_batch_ratio_of_table_1(name: str) -> None:
    batch = load_config(name).batch
    pseudo_to_labeled = (batch.size - batch.labeled) / batch.labeled
    if PRESETS[name][3] is not None:
        assert pseudo_to_labeled == (7 if "4k" in name else 31)


# Steps of rounds 1 to 5 and of supervised training, and the number of unlabeled images.
STEPS = {
    "4k": (45_800, [15_750, 30_750, 46_500, 61_500, 77_250], 8_480),
    "1k": (48_800, [15_000, 30_000, 45_000, 59_250, 74_250], 4_240),
}


def fake_parts(num_labeled: int, num_unlabeled: int) -> Any:
    """What counts steps: how many images there are, not which."""
    labeled = range(num_labeled)
    return SimpleNamespace(labeled=labeled, labeled_for=lambda subset: labeled, unlabeled=range(num_unlabeled))


@pytest.mark.parametrize("name", SEMI_SUPERVISED)
def test_steps_of_each_round(name: str) -> None:
    config = load_config(name)
    num_unlabeled, expected, supervised = STEPS["4k" if "4k" in name else "1k"]
    assert config.data.num_labeled is not None
    assert config.validation.size is not None
    assert NUM_CIFAR_IMAGES - config.data.num_labeled - config.validation.size == num_unlabeled
    parts = fake_parts(config.data.num_labeled, num_unlabeled)
    kept = [range(overall_quota(num_unlabeled, alpha)) for alpha in config.rounds.top_fractions]
    assert [stage_steps(config, parts, supervised_stage(), pseudo) for pseudo in kept] == expected
    assert stage_steps(config, parts, supervised_stage(), None) == supervised


def test_steps_of_the_oracle() -> None:
    oracle = load_config("cifar10-oracle-paper")
    assert stage_steps(oracle, fake_parts(NUM_CIFAR_IMAGES, 0), supervised_stage(), None) == 29_400


@pytest.mark.parametrize("name", PRESETS)
def test_plan(name: str) -> None:
    plan = build_method(load_config(name)).plan()
    assert len(plan) == (6 if name in SEMI_SUPERVISED else 1)
    for number, stage in enumerate(plan[1:], start=1):
        assert (stage.round, stage.trains, stage.start) == (number, ("a",), "scratch")
        assert stage.pseudo is not None
        assert (stage.pseudo.teacher_round, stage.pseudo.top_fraction) == (number - 1, TOP_FRACTIONS[number - 1])


@pytest.mark.parametrize("name", PRESETS)
def test_header_tells_source_command_figure_and_cost(name: str) -> None:
    header = "\n".join(line for line in preset_text(name).splitlines() if line.startswith("#"))
    assert re.search(r"^# Source:   paper, Table [123]", header, re.MULTILINE)
    assert f"# Command:  dmt train {name} data.root=FOLDER" in header
    assert f"# Expected: {PRESETS[name][4]} % test accuracy" in header
    assert "Not run here" in header.replace("\n#           ", " ")
    assert "Departs from the authors' code" in header


def test_naive_variant_is_one_override_away() -> None:
    config = load_config("cifar10-4k-paper", ["method=dmt_naive"])
    assert config.loss.naive_exponent == 5.0
    assert len(build_method(config).plan()) == 6
