"""What a run says in sentences: whether unlabeled data helped, what was picked, on which labels."""

from dataclasses import dataclass
from typing import Any

from dmt.report.files import RunFiles, StageFiles
from dmt.report.numbers import percent, signed
from dmt.report.terms import Terms
from dmt.scores import Scores

CHANCE = 2.0
"""A difference of at most this many standard errors is one that chance alone may give."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The last round held against the labels alone.

    Attributes:
        part: `test`, or `validation` where there is no test part.
        before, after: the figure that a result is judged by, percent.
        error: standard error of the difference over the part's images, points; None where it cannot be known.
        count: images of the part; None where it cannot be known.
    """

    part: str
    before: float
    after: float
    error: float | None
    count: int | None

    @property
    def difference(self) -> float:
        """In points, positive where the last round is better."""
        return self.after - self.before

    @property
    def verdict(self) -> str:
        """`better`, `unclear` or `not better`."""
        if self.difference <= 0:
            return "not better"
        return "better" if self.error is not None and self.difference > CHANCE * self.error else "unclear"


def reported_part(run: RunFiles) -> str:
    """`test`, or `validation` in a run without a test part."""
    return "test" if any(run.figure(stage, "test") is not None for stage in run.stages) else "validation"


def baseline(run: RunFiles) -> StageFiles:
    """The stage on all labels alone."""
    return next((stage for stage in run.stages if stage.is_supervised), run.stages[0])


def baseline_title(run: RunFiles) -> str:
    """What the baseline has learned from: a self-supervised start has seen the other images."""
    return "labels alone" if run.config.get("self_supervised") is None else "labels, begun self-supervised"


def last_stage(run: RunFiles) -> StageFiles:
    """The stage that stands for the last round."""
    last = run.result.get("last_round", {})
    wanted = (last.get("round"), last.get("network"))
    return next((s for s in run.stages if (s.row["round"], s.row["network"]) == wanted), run.stages[-1])


def final_stage(run: RunFiles) -> StageFiles:
    """The stage that was picked."""
    picked = run.result.get("picked", {}).get("what")
    return next((stage for stage in run.stages if stage.title == picked), last_stage(run))


def compare(run: RunFiles) -> Comparison | None:
    """The last round against the labels alone; None where there is one stage only, or no figure."""
    last, part = last_stage(run), reported_part(run)
    first = _strongest_start(run, last, part)
    before, after = run.figure(first, part), run.figure(last, part)
    if first is last or before is None or after is None:
        return None
    error = _standard_error(first.scores.get(part), last.scores.get(part))
    count = run.result.get("num_test") if part == "test" else run.result.get("num_validation")
    return Comparison(part=part, before=before, after=after, error=error, count=count or None)


def _strongest_start(run: RunFiles, last: StageFiles, part: str) -> StageFiles:
    """The baseline, or where that is better, what the last network began its rounds with, which is no gain."""
    network = last.row["network"]
    own = [stage for stage in run.stages if stage.row["round"] == 0 and stage.row["network"] == network]
    return max([baseline(run), *own], key=lambda stage: run.figure(stage, part) or 0.0)


def headline(run: RunFiles, comparison: Comparison | None) -> str:
    """Did unlabeled data help? In one sentence."""
    if comparison is None:
        return _headline_of_one_stage(run)
    start = f"{percent(comparison.before)} with the {baseline_title(run)}"
    figures = f"{start}, {percent(comparison.after)} after the last round"
    points = "point" if f"{abs(comparison.difference):.1f}" == "1.0" else "points"
    figures += f" ({signed(comparison.difference)} {points})"
    opening = {
        "better": "Unlabeled images helped",
        "unclear": "Unlabeled images may have helped",
        "not better": "Unlabeled images did not help",
    }[comparison.verdict]
    return f"{opening}: {figures}."


def caveat(comparison: Comparison, terms: Terms) -> str:
    """How far the headline can be trusted."""
    images = f"{comparison.count:,} {comparison.part} images" if comparison.count else f"the {comparison.part} images"
    sentences = [f"{terms.opening} on {images}."]
    if comparison.error is not None:
        sentences.append(f"The difference has a standard error of {comparison.error:.1f} points over these images.")
    if comparison.error is None:
        sentences.append("How much of the difference chance alone may give cannot be told.")
    elif comparison.verdict == "unclear":
        sentences.append("Chance alone may give a difference of this size.")
    if comparison.part == "validation":
        sentences.append("There is no test part; these labels also made the choice, which flatters what was chosen.")
    sentences.append("It is one run with one seed and one draw of labels; others will differ.")
    return " ".join(sentences)


def choice_labels(run: RunFiles) -> str:
    """Which labels the choice was made on."""
    validation: dict[str, Any] = run.config.get("validation") or {}
    count, labeled = run.result.get("num_validation", 0), run.result.get("num_labeled", 0)
    labels = run.terms.labels
    if validation.get("source") == "cross_validation":
        folds = validation.get("num_folds", 2)
        return (
            f"Chosen by {folds}-fold cross-validation over the {labeled:,} {labels}; the test labels decided nothing."
        )
    if not count:
        return "The test labels decided nothing."
    where = {
        "extra": f"on top of the {labeled:,} for training",
        "cut": "taken out of those that were given",
    }.get(str(validation.get("source")), "that came with the data as a part of their own")
    return f"Chosen on {count:,} {labels} {where}; the test labels decided nothing."


def _headline_of_one_stage(run: RunFiles) -> str:
    value = run.figure(last_stage(run), reported_part(run))
    what = "all" if run.result["method"] == "oracle" else "the"
    training = f"Trained on {what} {run.result['num_labeled']:,} {run.terms.labels}"
    if len(run.stages) > 1:
        training = f"{len(run.stages)} stages were trained"
    if value is None:
        return f"{training}; there were no labels to test on."
    return f"{training}: {percent(value)} {run.terms.title} on {reported_part(run)} images."


def _standard_error(first: Scores | None, second: Scores | None) -> float | None:
    """Of the difference of the headline's figure on the same images, points."""
    if first is None or second is None or len(first) != len(second) or len(first) < 2:
        return None
    return second.minus(first)[1]
