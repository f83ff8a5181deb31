"""Dynamic Mutual Training: two models check each other's pseudo labels."""

from dmt.methods.base import Method, dynamic_rule, plan_of_scheme
from dmt.types import SiteRule, Stage


class DMT(Method):
    """The paper's method: Algorithm 1 (`scheme: chain`) or Algorithm 2 (`scheme: mutual`) with the dynamic loss."""

    summary = "the paper's method: pseudo labels count less, the more two models disagree"
    source = "paper, sections 4.1 and 4.2"
    unused = ("loss.naive_exponent", "loss.flip_exponent", "loss.confidence_threshold")

    def plan(self) -> tuple[Stage, ...]:
        """Round 0, then rounds of labeling and training."""
        return plan_of_scheme(self.config)

    def site_rule(self, progress: float) -> SiteRule:
        """Eq. 3 with ramped gamma."""
        return dynamic_rule(self.config, progress)
