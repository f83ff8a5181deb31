"""Which network a run ends with: decided by validation labels alone, never by the reported part."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from dmt.evaluate import Scores
from dmt.metrics import scaled_log_loss
from dmt.types import Stage


@dataclass(frozen=True)
class Choice:
    """The picked stage, the reason in a sentence, and the stage that stands for the last round."""

    stage: Stage
    why: str
    last: Stage


def choose(plan: tuple[Stage, ...], validation: Mapping[Stage, Scores]) -> Choice:
    """Pick the last round unless validation speaks clearly against it.

    A few validation labels cannot rank rounds that differ by a point, so the last round stands unless another stage's
    validation accuracy is above it by more than one standard error of the paired difference; then the best stage is
    picked, equal accuracies decided by the temperature-scaled log-loss. Where the last round has several networks, the
    better one by the same two figures stands for it.

    Args:
        plan: all stages, in order.
        validation: each stage's scores on the same validation images; empty where no labels were set aside.
    """
    last_round = [stage for stage in plan if stage.round == plan[-1].round]
    if not validation or len(plan) == 1:
        why = "no validation labels: the last round is final" if len(plan) > 1 else "the only stage"
        return Choice(last_round[0], why, last_round[0])

    def rank(stage: Stage) -> tuple[float, float]:
        scores = validation[stage]
        return float(scores.correct.double().mean()), -scaled_log_loss(scores.probabilities, scores.targets)

    last, best = max(last_round, key=rank), max(plan, key=rank)
    count = len(validation[last].targets)
    gain, error = paired_difference(validation[best], validation[last])
    if gain > error:
        return Choice(
            best,
            f"on {count} validation images {best.title} is right {100 * gain:.1f} points more often than {last.title}, "
            f"more than the standard error of {100 * error:.1f}",
            last,
        )
    accuracy = 100 * rank(last)[0]
    why = f"right on {accuracy:.1f} % of {count} validation images; no other stage is better by over one standard error"
    return Choice(last, why, last)


def paired_difference(first: Scores, second: Scores) -> tuple[float, float]:
    """Difference of accuracy on the same images, and its standard error."""
    difference = first.correct.double() - second.correct.double()
    error = float(difference.std()) / math.sqrt(len(difference)) if len(difference) > 1 else math.inf
    return float(difference.mean()), error
