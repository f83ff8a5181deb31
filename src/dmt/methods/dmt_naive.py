"""DMT-Naive: the student's probability is the weight, whoever is right."""

import torch.nn.functional as F
from torch import Tensor

from dmt.losses import MIN_LOG_PROBABILITY
from dmt.methods.base import Method, plan_of_scheme
from dmt.types import SiteRule, Stage


class DMTNaive(Method):
    """DMT without the three cases: p_B ** naive_exponent for every pseudo label (paper, section 4.1.1, Remark)."""

    summary = "DMT without its three cases: every pseudo label weighs p_B ** 5"
    source = "paper, section 4.1.1 (Remark) and Table 9; exponent from the authors' code"
    unused = (
        "loss.gamma_agree",
        "loss.gamma_disagree",
        "loss.ramp",
        "loss.flip_exponent",
        "loss.confidence_threshold",
    )

    def plan(self) -> tuple[Stage, ...]:
        """The same stages as DMT."""
        return plan_of_scheme(self.config)

    def site_rule(self, progress: float) -> SiteRule:
        """The exponent is constant, as in the authors' code."""
        ignore_index, exponent = self.config.ignore_label, self.config.loss.naive_exponent

        def rule(logits: Tensor, label: Tensor, confidence: Tensor) -> tuple[Tensor, Tensor]:
            log_p = -F.cross_entropy(logits.float(), label, ignore_index=ignore_index, reduction="none")
            weights = (exponent * log_p.clamp(min=MIN_LOG_PROBABILITY)).exp() * (label != ignore_index)
            return label, weights

        return rule
