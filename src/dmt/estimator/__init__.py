"""Estimators in scikit-learn's manner: `fit`, `predict`, `score` on arrays, tables and lists of files."""

from dmt.estimator.classifier import SemiSupervisedClassifier
from dmt.estimator.segmenter import SemiSupervisedSegmenter

__all__ = ["SemiSupervisedClassifier", "SemiSupervisedSegmenter"]
