"""Unlabeled images that seem to belong to no class: unsure answers, and another one from another teacher."""

from collections.abc import Sequence

from torch import Tensor

from dmt.selection import decode_confidence
from dmt.types import Prediction, Stage

TOLD_FROM = 0.05
"""The share of the unlabeled images from which on a run tells of them."""


def strangers(now: Prediction, before: Prediction, *, below: float) -> Tensor:
    """Which images two teachers label differently, both of them less sure than `below`; `(n,)` bool.

    Args:
        now: labels and confidence codes, `(n,)` each.
        before: the answers of another teacher, or of an earlier round, for the same images.
        below: a confidence in (0, 1].
    """
    unsure = (decode_confidence(now.code) < below) & (decode_confidence(before.code) < below)
    return unsure & (now.label != before.label)


def earlier_labeling(plan: Sequence[Stage], stage: Stage) -> Stage | None:
    """The last stage before this one that a teacher labeled for; None for the first."""
    before = [one for one in plan[: plan.index(stage)] if one.pseudo is not None]
    return before[-1] if before else None


def report(title: str, count: int, total: int, *, below: float, left_out: bool) -> str | None:
    """A sentence where there are many strangers; else None.

    Args:
        title: the stage in words.
        count: of the strangers.
        total: of the unlabeled images.
        below: as in `strangers`.
        left_out: whether they are left out.
    """
    if count < TOLD_FROM * total:
        return None
    fate = "are left out" if left_out else "may belong to no class (rounds.strangers=leave_out trains without them)"
    return (
        f"{title}: {count:,} of {total:,} unlabeled images, which two teachers label differently and less than "
        f"{below:.0%} sure, {fate}."
    )
