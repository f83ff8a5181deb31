"""How good a trained model is on a labeled set, and how sure that is."""

from dmt.evaluation.evaluation import Evaluation, Figure, evaluate_on
from dmt.evaluation.labeled import LabeledSet, labeled_set

__all__ = ["Evaluation", "Figure", "LabeledSet", "evaluate_on", "labeled_set"]
