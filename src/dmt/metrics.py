"""Figures of merit, in percent, from confusion matrices and probabilities."""

import numpy as np
import torch
from scipy.optimize import OptimizeResult, minimize_scalar
from torch import Tensor
from torch.nn.functional import one_hot


def confusion_matrix(prediction: Tensor, target: Tensor, *, num_classes: int) -> Tensor:
    """`(C, C)` int64 counts, rows true classes, columns predicted ones; targets outside [0, C) are left out."""
    valid = (target >= 0) & (target < num_classes)
    pairs = target[valid] * num_classes + prediction[valid]
    return torch.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def accuracy(confusion: Tensor) -> float:
    """Percent of sites predicted right; NaN when there are none."""
    confusion = confusion.double()
    return float(100.0 * confusion.trace() / confusion.sum())


def per_class_accuracy(confusion: Tensor) -> Tensor:
    """`(*, C, C)` counts -> `(*, C)` percent of every true class predicted right; NaN for a class without sites."""
    confusion = confusion.double()
    return 100.0 * confusion.diagonal(dim1=-2, dim2=-1) / confusion.sum(dim=-1)


def intersection_over_union(confusion: Tensor) -> Tensor:
    """`(*, C, C)` counts -> `(*, C)` percent: TP / (TP + FP + FN); NaN for a class in neither truth nor prediction.

    A class that occurs and is never predicted, or is predicted and never occurs, has 0.
    """
    confusion = confusion.double()
    true_positives = confusion.diagonal(dim1=-2, dim2=-1)
    return 100.0 * true_positives / (confusion.sum(dim=-1) + confusion.sum(dim=-2) - true_positives)


def mean_iou(confusion: Tensor) -> Tensor:
    """`(*, C, C)` counts -> `(*)` percent: the mean over the classes that occur in truth or prediction."""
    return intersection_over_union(confusion).nanmean(dim=-1)


def fine_grained_accuracy(probabilities: Tensor, target: Tensor) -> float:
    """Percent: a right decision counts as the probability given to it, a wrong one as 0 (paper, section 5.2.3).

    Not for comparing models trained with mixup with models trained without: they are calibrated differently.
    """
    confidence, prediction = probabilities.double().max(dim=1)
    return float(100.0 * (confidence * (prediction == target)).mean())


def calibration_bins(confidence: np.ndarray, *, num_bins: int) -> np.ndarray:
    """The bin of each confidence in [0, 1], of any shape: bin b holds [b, b + 1) / num_bins, the last one 1 as well."""
    bins: np.ndarray = np.minimum((confidence.astype(np.float64) * num_bins).astype(np.int64), num_bins - 1)
    return bins


def calibration_error(confidence: np.ndarray, right: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Expected calibration error, percent: how far confidence and accuracy are apart.

    Sum over bins of |sum of confidences - number right| / all sites: gaps, weighed by the bins' shares of the sites.

    Args:
        confidence: `(*, bins)` sum of the confidences in each bin.
        right: `(*, bins)` number of right decisions in it.
        counts: `(*, bins)` number of sites in it.

    Returns:
        `(*)`; NaN where there is no site.
    """
    with np.errstate(invalid="ignore"):
        error: np.ndarray = 100.0 * np.abs(confidence - right).sum(axis=-1) / counts.sum(axis=-1)
    return error


def scaled_log_loss(probabilities: Tensor, target: Tensor) -> float:
    """Mean negative log-likelihood, in nats, at the one temperature that suits the model best.

    Scaling first takes calibration out of the comparison: a model is not better for being sharper.
    """
    return float(_scaled(probabilities, one_hot(target, probabilities.shape[1])).fun)


def best_temperature(probabilities: Tensor, target: Tensor) -> float:
    """What logits are to be divided by to suit labels best, between 0.05 and 20; above 1 for a model that is too sure.

    The temperature of the least log-loss (Guo et al., On Calibration of Modern Neural Networks, 2017). A few labels
    that are all right would call for boundless confidence: as in Platt's scaling, n labels count as if one of each
    class had been seen besides, wherever they are.

    Args:
        probabilities: `(n, C)`.
        target: `(n,)` true classes.
    """
    count, num_classes = probabilities.shape
    smoothed = (count * one_hot(target, num_classes) + 1) / (count + num_classes)
    return float(np.exp(_scaled(probabilities, smoothed).x))


def _scaled(probabilities: Tensor, targets: Tensor) -> OptimizeResult:
    """The least log-loss over temperatures, and the logarithm of its own; targets are `(n, C)` probabilities."""
    log_probabilities = probabilities.double().clamp(min=1e-12).log()

    def log_loss(log_temperature: float) -> float:
        scaled = torch.log_softmax(log_probabilities / np.exp(log_temperature), dim=1)
        return float(-(targets * scaled).sum(dim=1).mean())

    return minimize_scalar(log_loss, bounds=(-3.0, 3.0), method="bounded")
