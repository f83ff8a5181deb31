"""CBST as the paper compares with it: class-balanced self-training by direct ranking, every label at full weight."""

from dmt.methods.base import WEIGHTS_OF_PSEUDO_LABELS, Method, chain_plan
from dmt.types import Stage


class CBST(Method):
    """One network, fine-tuned every round on the top fraction of its own labels of each class (paper, section 5.4).

    It differs from `self_training` in the weights alone: all are 1, also where the network has changed its mind.
    CBST's own re-normalized ranking (section 4.2.2) is `rounds.selection=renormalized`.
    """

    summary = "class-balanced self-training: the network's own earlier labels, all at full weight"
    source = "Zou et al. 2018; paper, sections 4.2.2 and 5.4, Table 9"
    unused = ("scheme", "start", "networks.b", *WEIGHTS_OF_PSEUDO_LABELS, "rounds.dms_share")

    def plan(self) -> tuple[Stage, ...]:
        """The chain, fine-tuned."""
        return chain_plan(self.config, start="finetune")
