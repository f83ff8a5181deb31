"""DMT-Flip: where the student is surer, it trains on its own label instead of on none."""

import torch
from torch import Tensor

from dmt.methods.base import Method, coded_confidence, dynamic_rule, plan_of_scheme
from dmt.selection import top_class
from dmt.types import SiteRule, Stage


class DMTFlip(Method):
    """DMT whose positive disagreements become the student's own class at weight (1 - c_A) ** e (paper, section 5.4).

    The paper has e = 2; the authors' script ran with 5. `loss.flip_exponent` is 2 unless set.
    """

    summary = "DMT that flips a label to the student's where the student is surer"
    source = "paper, section 5.4 and Table 9"
    unused = ("loss.naive_exponent", "loss.confidence_threshold")

    def plan(self) -> tuple[Stage, ...]:
        """The same stages as DMT."""
        return plan_of_scheme(self.config)

    def site_rule(self, progress: float) -> SiteRule:
        """Eq. 3 with its third case replaced."""
        dynamic = dynamic_rule(self.config, progress)
        ignore_index, exponent = self.config.ignore_label, self.config.loss.flip_exponent

        def rule(logits: Tensor, label: Tensor, confidence: Tensor) -> tuple[Tensor, Tensor]:
            target, weight = dynamic(logits, label, confidence)
            own = top_class(logits)
            surer = (own != label) & (coded_confidence(logits) > confidence) & (label != ignore_index)
            flipped = ((1.0 - confidence) ** exponent).float()
            return torch.where(surer, own, target), torch.where(surer, flipped, weight)

        return rule
