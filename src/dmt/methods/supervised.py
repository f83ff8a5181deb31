"""Training on the labels alone: round 0 of every other method, and the baseline they are held to."""

from dmt.methods.base import UNUSED_WITHOUT_ROUNDS, Method, supervised_stage
from dmt.types import Stage


class Supervised(Method):
    """One stage, no pseudo labels (paper, section 5.2.2)."""

    summary = "labels alone, for the paper's number of epochs"
    source = "paper, section 5.2.2 (Baseline)"
    unused = UNUSED_WITHOUT_ROUNDS

    def plan(self) -> tuple[Stage, ...]:
        """One supervised stage."""
        return (supervised_stage(),)
