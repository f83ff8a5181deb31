"""DST: the dynamic loss with one's own earlier self as the teacher."""

from dmt.methods.base import Method, chain_plan, dynamic_rule
from dmt.types import SiteRule, Stage


class SelfTraining(Method):
    """One network, fine-tuned every round on its own labels of the round before (paper, section 5.4, DST).

    It differs from `dmt` with `scheme: chain` in the start alone: a student that keeps its teacher's weights has its
    own earlier self, and no second opinion, to disagree with.
    """

    summary = "DST: the dynamic loss with the network's own earlier self as the teacher"
    source = "paper, section 5.4 and Table 9 (DST)"
    unused = (
        "scheme",
        "start",
        "networks.b",
        "rounds.dms_share",
        "loss.naive_exponent",
        "loss.flip_exponent",
        "loss.confidence_threshold",
    )

    def plan(self) -> tuple[Stage, ...]:
        """The chain, fine-tuned."""
        return chain_plan(self.config, start="finetune")

    def site_rule(self, progress: float) -> SiteRule:
        """Eq. 3 with ramped gamma."""
        return dynamic_rule(self.config, progress)
