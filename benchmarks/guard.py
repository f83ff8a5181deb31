"""What the guard's picks are worth: rules replayed on random subsets of the validation images of finished runs.

    python benchmarks/guard.py runs --images 20 --draws 12

Takes the runs below the folders that are named which have at least 60 validation images and a test part, each once. A
subset stands for a user's few validation labels; the pick by it is judged by the test part, against the last round's
network. Runs whose last round is more than a point below the labels alone there are a row of their own (`harmed`).
Every rule ends with the best stage where it leaves the last round; they differ in when they leave it: for a lead of so
many standard errors, or where the labels alone are above it by both figures. The first is the one in force.
"""

import argparse
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from dmt.config_files import load_config
from dmt.errors import DMTError
from dmt.methods import build_method
from dmt.scores import PixelScores, Scores, load_scores
from dmt.types import Stage

MIN_IMAGES = 60
HARM = 1.0
"""Points below the labels alone, on the test part."""


@dataclass(frozen=True)
class Finished:
    """A run to replay: the plan's stages with their scores on both parts."""

    dataset: str
    validation: Mapping[Stage, Scores]
    test: Mapping[Stage, float]

    @property
    def plan(self) -> tuple[Stage, ...]:
        """All stages, in order."""
        return tuple(self.test)


@dataclass(frozen=True)
class Leads:
    """Leads over the last round on a subset, in standard errors of the paired difference."""

    of_best: float
    of_labels_alone: float
    is_worse_by_both: bool


RULES: dict[str, Callable[[Leads], bool]] = {
    "any stage by 1, or by both": lambda leads: leads.of_best > 1 or leads.is_worse_by_both,
    "any by 2, or by both": lambda leads: leads.of_best > 2 or leads.is_worse_by_both,
    "labels alone by 1, any by 2, or by both": lambda leads: (
        leads.of_labels_alone > 1 or leads.of_best > 2 or leads.is_worse_by_both
    ),
    "labels alone by 1, any by 2": lambda leads: leads.of_labels_alone > 1 or leads.of_best > 2,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table: how often each rule leaves the last round, and the points that it gains or loses by that."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--images", type=int, default=20, help="validation images of a subset")
    parser.add_argument("--draws", type=int, default=12, help="subsets of each run")
    options = parser.parse_args(arguments)
    stream = random.Random(0)  # noqa: S311 - subsets, no secrets
    runs = list(unique(finished(options.folders, max(MIN_IMAGES, options.images))))
    gains: dict[tuple[str, str], list[float | None]] = defaultdict(list)
    for run in runs:
        for _ in range(options.draws):
            for rule, gain in replay(run, subset(run, options.images, stream)).items():
                gains[run.dataset, rule].append(gain)
    print(f"{len(runs):,} runs, {options.images} validation images, {options.draws} subsets of each\n")
    print(f"| runs | {' | '.join(RULES)} |\n|{'---|' * (1 + len(RULES))}")
    for dataset in sorted({run.dataset for run in runs}):
        print(f"| {dataset} | {' | '.join(cell(gains[dataset, rule]) for rule in RULES)} |")


def finished(folders: Sequence[Path], at_least: int) -> Iterator[Finished]:
    """Runs with several stages, enough validation images, and scores that can be read."""
    for result in sorted(path for folder in folders for path in folder.rglob("result.json")):
        try:
            config = load_config(str(result.parent / "config.yaml"))
            scores = {
                stage: load_scores(result.parent / stage.folder / "scores.safetensors")
                for stage in build_method(config).plan()
            }
        except DMTError:  # of an older dmt, or thinned out
            continue
        if len(scores) < 2 or not all({"validation", "test"} <= parts.keys() for parts in scores.values()):
            continue
        validation = {stage: parts["validation"] for stage, parts in scores.items()}
        test = {stage: parts["test"].rank()[0] for stage, parts in scores.items()}
        if len(next(iter(validation.values()))) < at_least:
            continue
        start, last = (figures := list(test.values()))[0], figures[-1]
        yield Finished(f"{config.data.name}{', harmed' if last < start - HARM else ''}", validation, test)


def unique(runs: Iterator[Finished]) -> Iterator[Finished]:
    """Each run once: copies and comparisons that share a run have the very same figures."""
    seen = set()
    for run in runs:
        figures = tuple(run.test.values())
        if figures not in seen:
            seen.add(figures)
            yield run


def subset(run: Finished, count: int, stream: random.Random) -> dict[Stage, Scores]:
    """Scores on some of the validation images, the same ones for each stage."""
    size = len(next(iter(run.validation.values())))
    chosen = torch.tensor(stream.sample(range(size), count))
    return {stage: some_of(scores, chosen) for stage, scores in run.validation.items()}


def some_of(scores: Scores, chosen: torch.Tensor) -> Scores:
    """The chosen images' scores."""
    some = scores.in_order(chosen)
    return SomeMasks(**vars(some)) if isinstance(some, PixelScores) else some


class SomeMasks(PixelScores):
    """A subset's, ranked by its own sums: the matrix is of all images."""

    def rank(self) -> tuple[float, float]:
        """Mean IoU, then the pixel accuracy, where a wrong pixel is in the unions of two classes."""
        hits, unions = self.intersections.sum(dim=0).double(), self.unions.sum(dim=0).double()
        wrong = (unions.sum() - hits.sum()) / 2
        return float(100.0 * (hits / unions).nanmean()), float(100.0 * hits.sum() / (hits.sum() + wrong))


def replay(run: Finished, validation: Mapping[Stage, Scores]) -> dict[str, float | None]:
    """By rule: points of the test part that its pick is above the last round; None where it keeps that."""
    last_round = [stage for stage in run.plan if stage.round == run.plan[-1].round]
    ranks = {stage: scores.rank() for stage, scores in validation.items()}
    last, best, start = max(last_round, key=ranks.__getitem__), max(run.plan, key=ranks.__getitem__), run.plan[0]
    leads = Leads(
        of_best=lead(validation[best], validation[last]),
        of_labels_alone=lead(validation[start], validation[last]),
        is_worse_by_both=all(mine < theirs for mine, theirs in zip(ranks[last], ranks[start], strict=True)),
    )
    return {rule: run.test[best] - run.test[last] if leaves(leads) else None for rule, leaves in RULES.items()}


def lead(one: Scores, other: Scores) -> float:
    """Standard errors that one is above the other; a hair less, since a lead of just one is not more than one."""
    difference, error = one.minus(other)
    return difference / error * (1 - 1e-9) if error else float("inf") * difference if difference else 0.0


def cell(gains: Sequence[float | None]) -> str:
    """In how many subsets the last round is left, and what that is worth over all of them."""
    left = [gain for gain in gains if gain is not None]
    return f"{100 * len(left) / len(gains):.0f} %: {sum(left) / len(gains):+.2f}"


if __name__ == "__main__":
    main()
