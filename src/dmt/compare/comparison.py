"""Figures of many runs, paired by seed."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, combinations
from pathlib import Path
from typing import Any, Literal, TypeAlias

from scipy.stats import t as student_t

from dmt.compare.validation import num_judges
from dmt.tasks import TASKS
from dmt.types import stage_title

Judges: TypeAlias = Literal["test", "validation"]
"""Whose figures are compared: the reported part's, or those of the validation labels."""

CONFIDENCE = 0.95
"""Of the intervals."""

PARTS = {"supervised": "supervised", "last_round": "last_round", "together": "ensemble", "picked": "final"}
"""Figures of a run, and the parts of result.json that hold them."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line: a figure of each seed, percent.

    Attributes:
        name: what the line shows.
        figures: by seed.
        over_baseline: how much each is above the labels alone, by seed; empty for the labels alone. Where its network
            began its rounds above them, above that: what one network is better than another is no gain.
        gap_share: the mean of that by the oracle's, percent; None where no oracle is compared, or it is no better.
        seconds: of each run; empty where that would count a run twice.
    """

    name: str
    figures: Sequence[float]
    over_baseline: Sequence[float] = ()
    gap_share: float | None = None
    seconds: Sequence[float] = ()

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return statistics.mean(self.figures)

    @property
    def spread(self) -> float:
        """Standard deviation over the seeds; nan of one seed."""
        return statistics.stdev(self.figures) if len(self.figures) > 1 else float("nan")


@dataclass(frozen=True)
class Difference:
    """Paired differences, by seed."""

    values: Sequence[float]

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return statistics.mean(self.values)

    @property
    def half_width(self) -> float:
        """Of the mean's interval by Student's t; nan of one seed."""
        count = len(self.values)
        if count < 2:
            return float("nan")
        quantile = float(student_t.ppf(0.5 + CONFIDENCE / 2, count - 1))
        return float(quantile * statistics.stdev(self.values) / count**0.5)

    @property
    def wins(self) -> int:
        """Seeds with a difference above 0."""
        return sum(value > 0 for value in self.values)


@dataclass(frozen=True)
class Comparison:
    """Results of candidates by seed.

    Attributes:
        names: of the candidates, in the order of the tables.
        seeds: of the runs.
        results: contents of result.json, by name and seed.
        folders: of the runs, likewise.
        judges: the labels whose figures the results hold: `test`, or `validation` (see `by_validation`).
        diverged: candidates that were left out, and so are not among the names, each with the error of its run that met
            NaN or infinite values.
    """

    names: Sequence[str]
    seeds: Sequence[int]
    results: Mapping[tuple[str, int], Mapping[str, Any]]
    folders: Mapping[tuple[str, int], Path]
    judges: Judges = "test"
    diverged: Mapping[str, str] = field(default_factory=dict)

    @property
    def headline(self) -> str:
        """The figure that results are judged by."""
        return TASKS[self._first["task"]].scores.headline

    @property
    def title(self) -> str:
        """What is compared, in a line."""
        first = self._first
        count = first["num_test"] if self.judges == "test" else num_judges(first)
        what = f"{TASKS[first['task']].scores.title} of {count:,} {self.judges} images"
        return f"{first['dataset']}, {self._labels()} labels: {what}, last round, before any pick"

    def _labels(self) -> str:
        """How many labels, those for choices included; the oracle's are no few."""
        few = [result for result in self.results.values() if result["method"] != "oracle"] or [self._first]
        counts = sorted({result["num_labeled"] + result["num_validation"] for result in few})
        return " or ".join(f"{count:,}" for count in counts)

    def rows(self) -> list[Row]:
        """The labels alone, then each candidate: its last round, its networks together, and what it picked."""
        return [*self._baselines(), *chain.from_iterable(map(self._rows_of, self.names))]

    def differences(self) -> list[tuple[str, str, Difference]]:
        """Between the last rounds of every two candidates, the later one first."""
        pairs = combinations(self.names, 2)
        return [(later, earlier, self._difference(later, earlier)) for earlier, later in pairs]

    def records(self) -> Iterator[dict[str, Any]]:
        """A record for each run, as tables of data have them; the folder's name tells the settings by their hash."""
        for (name, seed), result in self.results.items():
            about = {
                key: result[key] for key in ("dataset", "method", "num_labeled", "num_validation", "num_unlabeled")
            }
            figures = {title: result.get(part, {}).get(self.headline) for title, part in PARTS.items()}
            yield {
                "candidate": name,
                "seed": seed,
                **about,
                "judges": self.judges,
                "figure": self.headline,
                **figures,
                "picked_stage": result["picked"]["what"],
                "seconds": result["seconds"],
                "run": self.folders[name, seed].name,
            }

    @property
    def _first(self) -> Mapping[str, Any]:
        return next(iter(self.results.values()))

    def _figures(self, name: str, part: str) -> list[float]:
        return [self.results[name, seed][part][self.headline] for seed in self.seeds]

    def _method(self, name: str) -> str:
        method: str = self.results[name, self.seeds[0]]["method"]
        return method

    def _has_rounds(self, name: str) -> bool:
        return len(self.results[name, self.seeds[0]]["rounds"]) > 1

    def _baseline_of(self, name: str) -> str:
        """The candidate whose own labels-alone network another is set beside: itself, where it has one of its own."""
        if self._has_rounds(name):
            return name
        alone = (other for other in self.names if self._method(other) == "supervised")
        return next(chain(filter(self._has_rounds, self.names), alone), name)

    def _baselines(self) -> Iterator[Row]:
        """The labels alone, once for all candidates that share it, unless it is a candidate itself."""
        alone = [name for name in self.names if self._method(name) == "supervised"]
        shown, titles = [self._networks(name) for name in alone], set(self.names)
        for name in filter(self._has_rounds, self.names):
            if self._networks(name) not in shown:
                title = f"supervised ({name})" if "supervised" in titles else "supervised"
                yield Row(name=title, figures=self._figures(name, "supervised"))
                shown.append(self._networks(name))
                titles.add("supervised")

    def _networks(self, name: str) -> list[Any]:
        """What tells the networks of the labels alone apart: all that is known of them, class by class."""
        return [self.results[name, seed]["supervised"] for seed in self.seeds]

    def _rows_of(self, name: str) -> Iterator[Row]:
        runs = [self.results[name, seed] for seed in self.seeds]
        yield self._row(name, "last_round", title=name, seconds=[run["seconds"] for run in runs])
        if all("ensemble" in run for run in runs):
            yield self._row(name, "ensemble", title=f"{name}, a and b together")
        if any("validation" in row for run in runs for row in run["rounds"]):
            yield self._row(name, "final", title=f"{name}, as picked")

    def _row(self, name: str, part: str, *, title: str, seconds: Sequence[float] = ()) -> Row:
        beside = self._baseline_of(name)
        figures, baseline = self._figures(name, part), self._figures(beside, "supervised")
        if beside == name:
            baseline = [_start(self.results[name, seed], part, self.headline) for seed in self.seeds]
        gains = [figure - base for figure, base in zip(figures, baseline, strict=True)]
        is_baseline = self._method(name) == "supervised" and not any(gains)
        if is_baseline or (beside == name and not self._has_rounds(name)):  # nothing to be held against
            return Row(name=title, figures=figures, seconds=seconds)
        gap = self._gap(baseline)
        share = 100.0 * statistics.mean(gains) / gap if gap > 0 else None
        return Row(name=title, figures=figures, over_baseline=gains, gap_share=share, seconds=seconds)

    def _gap(self, baseline: Sequence[float]) -> float:
        """How far the oracle's mean is above that of the labels alone; nan without an oracle."""
        oracle = next((name for name in self.names if self._method(name) == "oracle"), None)
        if oracle is None:
            return float("nan")
        return statistics.mean(self._figures(oracle, "last_round")) - statistics.mean(baseline)

    def _difference(self, later: str, earlier: str) -> Difference:
        pairs = zip(self._figures(later, "last_round"), self._figures(earlier, "last_round"), strict=True)
        return Difference([one - other for one, other in pairs])


def _start(result: Mapping[str, Any], part: str, headline: str) -> float:
    """What a figure of a run is held against: the labels alone, or the best start of the networks that it is of."""
    networks = _networks_of(result, part)
    starts = [row for row in result["rounds"] if row["round"] == 0 and row["network"] in networks]
    return max(float(row[headline]) for row in [result["supervised"], *starts])


def _networks_of(result: Mapping[str, Any], part: str) -> set[str]:
    """Labels of the networks that a part of a result is of."""
    last = result["last_round"]
    if part == "last_round":
        return {last["network"]}
    if part == "ensemble":
        return {row["network"] for row in result["rounds"] if row["round"] == last["round"]}
    return {row["network"] for row in result["rounds"] if stage_title(row) == result["picked"]["what"]}
