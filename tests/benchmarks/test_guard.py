"""The replay of the guard: its first rule is the one that runs are picked by; a subset is of the same images."""

import random
from collections.abc import Callable
from types import ModuleType

import pytest
import torch

from dmt.choose import choose
from dmt.scores import ImageScores, PixelScores, Scores
from dmt.types import Stage
from scripts import load_script

Kind = Callable[[int, torch.Generator], Scores]

PLAN = tuple(
    Stage(round=number, trains=(network,), start="scratch" if number == 0 else "finetune")
    for number in range(3)
    for network in "ab"
)


@pytest.fixture(scope="module")
def guard() -> ModuleType:
    return load_script("benchmarks/guard.py")


def images(count: int, generator: torch.Generator) -> ImageScores:
    probabilities = torch.rand(count, 3, generator=generator, dtype=torch.float64).softmax(dim=1)
    return ImageScores(probabilities=probabilities, targets=torch.arange(count) % 3)


def masks(count: int, generator: torch.Generator) -> PixelScores:
    return PixelScores.of(
        torch.randint(1, 30, (count, 3, 3), generator=generator) + 20 * torch.eye(3, dtype=torch.int64)
    )


@pytest.mark.parametrize("kind", [images, masks])
def test_the_first_rule_picks_as_runs_do(guard: ModuleType, kind: Kind) -> None:
    generator, picks = torch.Generator().manual_seed(0), set()
    for draw in range(60):
        validation = {stage: kind(4 + draw % 9, generator) for stage in PLAN}
        test = {stage: 50.0 + place for place, stage in enumerate(PLAN)}
        choice = choose(PLAN, validation)
        gain = guard.replay(guard.Finished("digits", validation, test), validation)["any stage by 1, or by both"]
        assert gain == (None if choice.stage == choice.last else test[choice.stage] - test[choice.last])
        picks.add(choice.stage == choice.last)
    assert picks == {True, False}


@pytest.mark.parametrize("kind", [images, masks])
def test_a_subset_of_all_images_is_the_whole(guard: ModuleType, kind: Kind) -> None:
    generator = torch.Generator().manual_seed(1)
    run = guard.Finished("digits", {stage: kind(12, generator) for stage in PLAN}, dict.fromkeys(PLAN, 50.0))
    whole = guard.subset(run, 12, random.Random(0))
    for stage, scores in run.validation.items():
        assert whole[stage].rank() == pytest.approx(scores.rank())
    one, other = PLAN[0], PLAN[-1]
    assert whole[one].minus(whole[other]) == pytest.approx(run.validation[one].minus(run.validation[other]))
    few = guard.subset(run, 5, random.Random(0))
    assert {len(scores) for scores in few.values()} == {5}


def test_a_cell_counts_where_the_last_round_is_left(guard: ModuleType) -> None:
    assert guard.cell([None, -2.0, None, 1.0]) == "50 %: -0.25"
    assert guard.cell([None, None]) == "0 %: +0.00"
