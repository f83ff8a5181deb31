"""A classifier of images and tables in scikit-learn's manner."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import ClassifierMixin
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from dmt.data.image_list import ListedImages
from dmt.data.images import ArrayImages
from dmt.errors import ConfigError, DataError
from dmt.estimator.base import Estimator
from dmt.estimator.forms import Form, TableForm, learn_images, learn_table
from dmt.estimator.given import kind_of
from dmt.estimator.labels import check_labels, encode_labels, is_known
from dmt.estimator.settings import build_config

_FOR_IMAGES, _FOR_TABLES = "small_cnn", "small_mlp"
_DEFAULT_AUGMENT = "default"


class SemiSupervisedClassifier(ClassifierMixin, Estimator):  # type: ignore[misc]
    """Learns from a few labeled and many unlabeled images, or rows of a table.

    X is an array `(N, H, W)` or `(N, H, W, channels)`, a table `(N, features)`, or a list of paths of image files.
    Arrays of uint8 hold levels from 0 to 255; of other numbers, the lowest and the highest in training become black and
    white, and nothing is rounded or cut off. Without `image_shape` a table's rows are features, each standardized by
    its mean and standard deviation, for the network `small_mlp`.

    In y, -1 stands for "no label"; in text also an empty one, among objects also None and NaN. What is called a round,
    a step and so on is explained in docs/method.md; parameters that have no word here are in docs/config.md, and any of
    them may be set through `config`.

    Args:
        method: a name from `dmt list methods`.
        backbone: a name from `dmt list models`; tables take `small_mlp` in place of the default.
        backbone_b: a second network; the two then teach each other (Algorithm 2) instead of a chain (Algorithm 1).
        weights: of the backbone: None for random ones, `pretrained`, or a `.safetensors` file.
        top_fractions: the share of the pseudo labels, surest first, that each round trains on.
        steps: optimizer steps of a round.
        supervised_steps: optimizer steps on the labels alone, before the rounds.
        batch_size: samples of a step.
        labeled_per_batch: how many of them are labeled, in the rounds.
        learning_rate: at the beginning of each round.
        optimizer: `sgd` or `adamw`.
        image_shape: `(height, width)` or `(height, width, channels)`. Rows of a table are reshaped to it; files are
            brought to that size, and have three channels unless it says otherwise.
        image_size: `(height, width)` to resize images to; without it they have one size.
        augment: a name from docs/config.md; `default` changes images a little, but mirrors none, and tables never.
        precision: `fp32`, `bf16`, `fp16` or `auto`.
        random_state: a whole number repeats a fit to the bit.
        run_dir: a folder that keeps each fit's run folder, by which a fit that was stopped goes on where `random_state`
            is a whole number; None keeps none.
        verbose: above 0, a line on stderr for each stage.
        config: further keys of the config with their values, for instance `{"loss.gamma_agree": 3.0}`.

    Attributes:
        classes_: the labels, sorted.
        transduction_: the label of every sample of `fit`: the given one, or what the final network predicts.
        n_iter_: rounds that were trained on pseudo labels.
        history_: of each stage, its round, how many pseudo labels it was trained on, and so on.
        result_: all that the run reports.
        network_: the final network, a torch module.
        n_features_in_, feature_names_in_: of a table, as everywhere in scikit-learn.
        run_dir_: the run folder, where one is kept.
    """

    def __init__(
        self,
        method: str = "dmt",
        *,
        backbone: str = _FOR_IMAGES,
        backbone_b: str | None = None,
        weights: str | None = None,
        top_fractions: Sequence[float] = (0.2, 0.4, 0.6, 0.8, 1.0),
        steps: int = 100,
        supervised_steps: int = 300,
        batch_size: int = 64,
        labeled_per_batch: int = 16,
        learning_rate: float = 0.1,
        optimizer: str = "sgd",
        image_shape: Sequence[int] | None = None,
        image_size: Sequence[int] | None = None,
        augment: str = _DEFAULT_AUGMENT,
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
        """Train on labeled and unlabeled samples.

        Args:
            X: `N` samples.
            y: `(N,)` labels of any kind; -1 = none.

        Raises:
            DMTError: for everything that the user can mend; most are ValueErrors, too.
        """
        labels = check_labels(y)
        X = self._checked(X, reset=True)
        check_consistent_length(X, labels)
        classes, codes = encode_labels(labels)
        form = self._learned(X)
        config = build_config(
            self,
            task="classification",
            backbone=self._backbone_for(form),
            augment=self._augment_for(form),
            image_size=None if isinstance(form, TableForm) else form.image_size,
        )
        images = form.read(X, "train")
        assert isinstance(images, ArrayImages | ListedImages)
        self._train(config, form, replace(images, truth=torch.from_numpy(codes)), tuple(map(str, classes.tolist())))
        self.classes_ = classes
        answers = self._probabilities(X).argmax(axis=1)
        self.transduction_ = classes[np.where(codes >= 0, codes, answers)]
        return self

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of each sample, `(N,)`.

        Raises:
            ValueError: X does not fit what was seen in `fit`.
        """
        check_is_fitted(self)
        predicted: np.ndarray = self.classes_[self.predict_proba(X).argmax(axis=1)]
        return predicted

    def predict_proba(self, X: Any) -> np.ndarray:
        """`(N, C)`, the probability of each class, in the order of `classes_`.

        Raises:
            ValueError: X does not fit what was seen in `fit`.
        """
        check_is_fitted(self)
        return self._probabilities(self._checked(X, reset=False))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Share of the labeled samples that are predicted right, from 0 to 1; others count nothing.

        Raises:
            ValueError: no sample has a label or a weight, X does not fit what was seen in `fit`, or y is of text where
                that was of numbers, or the other way round.
        """
        labels = check_labels(y)
        known = is_known(labels)
        if not known.any():
            raise DataError("No entry of y is a label, so there is nothing to score by.")
        check_consistent_length(X, labels, sample_weight)
        if sample_weight is not None and not np.any(np.asarray(sample_weight)[known]):
            raise DataError("The sample_weight of every label is 0, so there is nothing to score by.")
        check_is_fitted(self)
        are_texts = [
            {isinstance(one, str) for one in some} for some in (self.classes_.tolist(), labels[known].tolist())
        ]
        if are_texts[0].isdisjoint(are_texts[1]):
            raise DataError(
                "y is of text where the labels in `fit` were numbers, or the other way round; use one kind."
            )
        right = [one == other for one, other in zip(self.predict(X)[known], labels[known], strict=True)]
        weights = None if sample_weight is None else np.asarray(sample_weight)[known]
        return float(np.average(right, weights=weights))

    def _learned(self, X: Any) -> Form:
        if kind_of(X) == "rows" and self.image_shape is None:
            return learn_table(X)
        return learn_images(X, image_shape=self.image_shape, image_size=self.image_size, may_differ=False)

    def _backbone_for(self, form: Form) -> str:
        if not isinstance(form, TableForm) or self.backbone == _FOR_TABLES:
            return self.backbone
        if self.backbone != _FOR_IMAGES or self.backbone_b not in (None, _FOR_TABLES):
            raise ConfigError(
                f"backbone is {self.backbone!r} and backbone_b {self.backbone_b!r}, but X is a table of features, "
                f"which takes {_FOR_TABLES}. Or say by image_shape which images its rows are."
            )
        return _FOR_TABLES

    def _augment_for(self, form: Form) -> str:
        if isinstance(form, TableForm):
            further = self.config if isinstance(self.config, Mapping) else {}
            given = further.get("augment", self.augment)
            if given not in (_DEFAULT_AUGMENT, "none"):
                raise ConfigError(
                    f"augment is {given!r}, but X is a table of features, which cannot be augmented as images "
                    "are. Leave it out, or say by image_shape which images its rows are."
                )
            return "none"
        return "digits" if self.augment == _DEFAULT_AUGMENT else self.augment

    def _probabilities(self, X: Any) -> np.ndarray:
        images = self.form_.read(X, "given")
        probabilities = np.empty((len(images), len(self.classes_)))
        for positions, logits in self._logits(images):
            probabilities[positions] = logits.double().softmax(dim=1).numpy()
        return probabilities

    def _labels_to(self) -> list[np.ndarray]:
        """`transduction_` for a file."""
        return [np.searchsorted(self.classes_, self.transduction_)]

    def _labels_from(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        labels: np.ndarray = self.classes_[arrays[0]]
        return labels
