"""Curriculum Labeling: the same rounds, every pseudo label at weight 1."""

from dmt.methods.base import WEIGHTS_OF_PSEUDO_LABELS, Method, plan_of_scheme
from dmt.types import Stage


class CurriculumLabeling(Method):
    """DMT without its loss (paper, section 5.3.1; Cascante-Bonilla et al., in the form the paper compares with)."""

    summary = "DMT's rounds with every pseudo label at weight 1"
    source = "paper, Table 2 (CL); gamma_1 = gamma_2 = 0 and no veto"
    unused = WEIGHTS_OF_PSEUDO_LABELS

    def plan(self) -> tuple[Stage, ...]:
        """The same stages as DMT."""
        return plan_of_scheme(self.config)
