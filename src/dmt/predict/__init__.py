"""Answers of trained networks about images that no label is known of."""

from dmt.predict.answers import Answer, Predictions
from dmt.predict.predictor import Predictor, Window, load

__all__ = ["Answer", "Predictions", "Predictor", "Window", "load"]
