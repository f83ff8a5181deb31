"""Which network a run ends with: decided by validation labels alone, never by the reported part."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from dmt.scores import Scores
from dmt.types import Stage

MAX_UNEQUAL_POINTS = 5.0
"""Further behind than this, a run warns that the weaker network may hold the stronger one back."""


@dataclass(frozen=True)
class Choice:
    """The picked stage, the reason in a sentence, and the stage that stands for the last round."""

    stage: Stage
    why: str
    last: Stage


def choose(plan: tuple[Stage, ...], validation: Mapping[Stage, Scores]) -> Choice:
    """Pick the last round unless validation speaks against it.

    A few validation labels cannot rank rounds that differ by a point, so the last round stands unless another stage's
    validation figure (accuracy, or mean IoU) is above it by more than one standard error of the paired difference, or
    it is worse than the labels alone by both figures: that one, and the temperature-scaled log-loss, or the pixel
    accuracy. The log-loss needs its temperature, or sharpened networks would win by it. Then the best stage is picked,
    equal figures decided by the second one. Where the last round has several networks, the better one stands for it.

    Args:
        plan: all stages, in order.
        validation: each stage's scores on the same validation images; empty where no labels were set aside.
    """
    last_round = [stage for stage in plan if stage.round == plan[-1].round]
    if not validation or len(plan) == 1:
        why = "no validation labels: the last round is final" if len(plan) > 1 else "the only stage"
        return Choice(last_round[0], why, last_round[0])

    def rank(stage: Stage) -> tuple[float, float]:
        return validation[stage].rank()

    last, best = max(last_round, key=rank), max(plan, key=rank)
    scores, baseline = validation[last], validation[plan[0]]
    where = f"on {len(scores)} validation images"
    gain, error = validation[best].minus(scores)
    if _exceeds(gain, error):
        why = (
            f"{where} the {scores.title} of {best.title} is {gain:.1f} points above that of {last.title}, "
            f"more than the standard error of {error:.1f}"
        )
        return Choice(best, why, last)
    has_evidence = math.isfinite(error)  # one image is none
    if has_evidence and all(
        mine < of_baseline for mine, of_baseline in zip(scores.rank(), baseline.rank(), strict=True)
    ):
        why = f"{where} {last.title} is below {plan[0].title} by {scores.title} and by {scores.second_title}"
        return Choice(best, why, last)
    why = f"{scores.title} {rank(last)[0]:.1f} % {where}; no other stage is better by over one standard error"
    return Choice(last, why, last)


def unequal_pair(plan: tuple[Stage, ...], validation: Mapping[Stage, Scores], *, sampled: bool = False) -> str | None:
    """A sentence where two networks that teach each other start far apart, by validation; else None.

    The paper's networks are of like strength; where no second one is, it takes the better weights twice, with
    difference-maximized sampling (section 4.1.2), which `sampled` says is done.
    """
    starts = {stage.network: stage for stage in plan if stage.round == 0 and stage in validation}
    if len(starts) < 2:
        return None
    weak, strong = sorted(starts, key=lambda network: validation[starts[network]].rank())
    gap, error = validation[starts[strong]].minus(validation[starts[weak]])
    if not _exceeds(gap, max(MAX_UNEQUAL_POINTS, error)):
        return None
    title = validation[starts[strong]].title
    advice = (
        f"Give both the name and weights of {strong}, and set rounds.dms_share=0.8; or, where both are built alike, "
        "train longer on the labels (supervised)."
    )
    if sampled:
        advice = "Samples of more labels each (rounds.dms_share) may bring them together."
    return (
        f"The networks are unequal: after round 0, {strong} is {gap:.1f} points of validation {title} above {weak}, "
        f"which is to teach it. {advice}"
    )


def _exceeds(difference: float, bound: float) -> bool:
    """Whether it is above, by more than rounding: where one image decides, a gain is its own standard error."""
    return difference > bound and not math.isclose(difference, bound, rel_tol=1e-9)
