"""The upper bound: supervised training with the labels of every image."""

from dmt.methods.base import UNUSED_WITHOUT_ROUNDS, Method, supervised_stage
from dmt.types import Stage


class Oracle(Method):
    """One supervised stage on all labels (paper, section 5.2)."""

    summary = "all labels, for data sets that have them: the upper bound"
    source = "paper, section 5.2 (Oracle)"
    unused = (
        *UNUSED_WITHOUT_ROUNDS,
        "data.num_labeled",
        "data.labeled",
        "data.unlabeled",
        "data.num_unlabeled",
        "data.split_seed",
        "validation.size",
        "validation.num_folds",
    )
    needs_all_labels = True

    def plan(self) -> tuple[Stage, ...]:
        """One supervised stage; the run hands it every image as a labeled one."""
        return (supervised_stage(),)
