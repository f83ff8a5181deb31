"""A segmenter in scikit-learn's manner."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from dmt.data.images import resize_mask
from dmt.data.with_masks import WithMasks
from dmt.errors import DataError
from dmt.estimator.base import Estimator
from dmt.estimator.forms import ImageForm, learn_images
from dmt.estimator.given import is_list
from dmt.estimator.labels import check_mask, encode_masks
from dmt.estimator.settings import build_config
from dmt.metrics import confusion_matrix, mean_iou
from dmt.predict.answers import map_at_size
from dmt.selection import top_class
from dmt.types import IGNORE_INDEX

Masks = np.ndarray | list[np.ndarray]


class SemiSupervisedSegmenter(Estimator):
    """Learns a class for every pixel from a few images with masks and many without.

    X is an array `(N, H, W)` or `(N, H, W, channels)`, a list of such images of any sizes, a table with `image_shape`,
    or a list of paths; see `SemiSupervisedClassifier`. y holds a mask `(H, W)` of whole numbers for each image: None or
    255 everywhere where there is none, and a pixel of 255 is ignored.

    The parameters are those of `SemiSupervisedClassifier`, but `augment="default"` scales, crops and mirrors at random
    here; `no-flip` does not mirror, `color` also varies the colors, `none` only resizes. With images of
    several sizes, `image_size` or `config={"crop.size": [height, width]}` says how large the views are that are trained
    on. Two networks that teach each other (Algorithm 2, the paper's for segmentation) are asked for by `backbone_b`.

    Attributes:
        classes_: the values in the masks, sorted, without 255.
        transduction_: a list with a mask for every image of `fit`: the given one, or what the final network predicts.
        n_iter_, history_, result_, network_, run_dir_: as in `SemiSupervisedClassifier`.
    """

    def __init__(
        self,
        method: str = "dmt",
        *,
        backbone: str = "small_unet",
        backbone_b: str | None = None,
        weights: str | None = None,
        top_fractions: Sequence[float] = (0.4, 0.7, 1.0),
        steps: int = 100,
        supervised_steps: int = 300,
        batch_size: int = 8,
        labeled_per_batch: int = 2,
        learning_rate: float = 0.1,
        optimizer: str = "sgd",
        image_shape: Sequence[int] | None = None,
        image_size: Sequence[int] | None = None,
        augment: str = "default",
        precision: str = "fp32",
        random_state: Any = None,
        run_dir: str | Path | None = None,
        verbose: int = 0,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        self.method = method
        self.backbone = backbone
        self.backbone_b = backbone_b
        self.weights = weights
        self.top_fractions = top_fractions
        self.steps = steps
        self.supervised_steps = supervised_steps
        self.batch_size = batch_size
        self.labeled_per_batch = labeled_per_batch
        self.learning_rate = learning_rate
        self.optimizer = optimizer
        self.image_shape = image_shape
        self.image_size = image_size
        self.augment = augment
        self.precision = precision
        self.random_state = random_state
        self.run_dir = run_dir
        self.verbose = verbose
        self.config = config

    def fit(self, X: Any, y: Any) -> Self:
        """Train on images with and without masks.

        Args:
            X: `N` images.
            y: `N` masks, or None for an image without one.

        Raises:
            DMTError: for everything that the user can mend; most are ValueErrors, too.
        """
        X = self._checked(X, reset=True)
        form = learn_images(X, image_shape=self.image_shape, image_size=self.image_size, may_differ=True)
        sizes = form.original_sizes(X)
        classes, masks = encode_masks(y, sizes)
        sized = [None if mask is None else resize_mask(mask, form.image_size) for mask in masks]
        config = build_config(
            self, task="segmentation", backbone=self.backbone, augment=self.augment, image_size=form.image_size
        )
        images = WithMasks(form.read(X, "train"), sized)
        self._train(config, form, images, tuple(map(str, classes.tolist())))
        self.classes_ = classes
        given = [check_mask(mask, size, "y") for mask, size in zip(y, sizes, strict=True)]
        answers = self._answers(X, lambda logits: self._values(top_class(logits)))
        self.transduction_ = [answer if mask is None else mask for mask, answer in zip(given, answers, strict=True)]
        return self

    def predict(self, X: Any) -> Masks:
        """The most probable class of each pixel: masks `(H, W)`, each of its image's own size, in a list.

        Of an array of images, an array `(N, H, W)`.

        Raises:
            ValueError: X does not fit what was seen in `fit`.
        """
        check_is_fitted(self)
        X = self._checked(X, reset=False)
        return _together(self._answers(X, lambda logits: self._values(top_class(logits))), X)

    def predict_proba(self, X: Any) -> Masks:
        """The probability of each class at each pixel, `(C, H, W)` an image, in the order of `classes_`.

        Of an array of images, an array `(N, C, H, W)`.

        Raises:
            ValueError: X does not fit what was seen in `fit`.
        """
        check_is_fitted(self)
        X = self._checked(X, reset=False)
        return _together(self._answers(X, lambda logits: logits.softmax(dim=1).numpy()), X)

    def score(self, X: Any, y: Any) -> float:
        """Mean intersection over union of the classes that occur, from 0 to 1; ignored pixels count nothing.

        Raises:
            ValueError: no image has a mask, or a mask does not fit its image.
        """
        predicted = self.predict(X)
        if y is None or len(y) != len(predicted):
            raise DataError(f"X has {len(predicted)} images, but y has {0 if y is None else len(y)} masks.")
        pairs = [
            (mask, check_mask(truth, mask.shape, f"y[{index}]"))
            for index, (mask, truth) in enumerate(zip(predicted, y, strict=True))
        ]
        known = [(mask, truth) for mask, truth in pairs if truth is not None]
        if not known:
            raise DataError("No entry of y is a mask, so there is nothing to score by.")
        return _mean_iou(known)

    def _answers(self, X: Any, tell: Any) -> list[np.ndarray]:
        """What `tell` makes of a batch's logits, for each image at its own size."""
        assert isinstance(self.form_, ImageForm)
        images, sizes = self.form_.read(X, "given"), self.form_.original_sizes(X)
        found: list[np.ndarray] = [np.empty(0)] * len(images)
        for positions, logits in self._logits(images):
            for position, told in zip(positions, tell(logits), strict=True):
                found[position] = map_at_size(told, sizes[position])
        return found

    def _values(self, codes: Tensor) -> np.ndarray:
        values: np.ndarray = self.classes_[codes.numpy()]
        return values

    def _labels_to(self) -> list[np.ndarray]:
        """`transduction_` for a file."""
        return self.transduction_

    def _labels_from(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        return list(arrays)


def _together(answers: list[np.ndarray], X: Any) -> Masks:
    """One array where X is one."""
    return answers if is_list(X) else np.stack(answers)


def _mean_iou(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> float:
    predicted = np.concatenate([mask.ravel() for mask, _ in pairs])
    truth = np.concatenate([mask.ravel() for _, mask in pairs])
    kept = truth != IGNORE_INDEX
    classes, codes = np.unique(np.concatenate([predicted[kept], truth[kept]]), return_inverse=True)
    first, second = torch.from_numpy(codes).chunk(2)
    return float(mean_iou(confusion_matrix(first, second, num_classes=len(classes)))) / 100
