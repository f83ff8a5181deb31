"""What the classifier says of inputs and parameters that cannot be."""

from typing import Any

import numpy as np
import pytest
from tiny_estimators import classifier, hidden, stripes

from dmt.errors import ConfigError, DataError

X, Y = stripes()
TEXTS = np.array(["0", "1", "2"])[Y]
FLAT = X.reshape(len(X), -1)


@pytest.mark.parametrize(
    ("images", "labels", "changes", "message"),
    [
        (X, np.full(60, -1), {}, "No entry of y is a label"),
        (X, np.where(Y == 1, 1, -1), {}, r"All labels in y are of one class \(1\)"),
        (X, Y[:50], {}, "inconsistent numbers of samples"),
        (X, None, {}, "requires y to be passed"),
        (X, Y + 0.5, {}, "Unknown label type"),
        (X, np.array([1, "a"] * 30, dtype=object), {}, "labels in y are objects of the types int, str"),
        (X[:0], Y[:0], {}, "X holds no image"),
        ("photos", Y, {}, "X is the path 'photos'; a list of paths is needed"),
        (X[:, :, :, None, None], Y, {}, r"has the shape \(60, 8, 8, 1, 1\); images are \(N, H, W\)"),
        (np.zeros((60, 3, 8, 8), np.uint8), Y, {}, r"channels first; .* numpy.moveaxis\(X, 1, -1\)"),
        (np.where(X > 200, np.nan, X * 1.0), Y, {}, "X contains NaN"),
        (X.astype(complex), Y, {}, "X holds complex128"),
        (FLAT, Y, {"image_shape": (8, 9)}, r"X has 64 features, but image_shape is \(8, 9\), which takes 72"),
        (FLAT, Y, {"image_shape": 8}, r"image_shape is 8; \(HEIGHT, WIDTH\) or"),
        (X, Y, {"image_size": (8.5, 8)}, r"image_size is \(8.5, 8\); \(HEIGHT, WIDTH\) is needed"),
        (FLAT, Y, {"backbone": "wrn_10_1"}, "X is a table of features, which takes small_mlp"),
        (FLAT, Y, {"augment": "photo"}, "X is a table of features, which cannot be augmented"),
        (FLAT, Y, {"config": {"augment": "digits"}}, "augment is 'digits', but X is a table of features"),
        (X, Y, {"backbone": "smal_cnn"}, "Did you mean 'small_cnn'"),
        (X, Y, {"backbone": "small_mlp"}, "cannot take images of 8x8 pixels"),
        (X, Y, {"method": "dtm"}, "Did you mean 'dmt'"),
        (X, Y, {"steps": -1}, "duration.steps: found -1"),
        (X, Y, {"labeled_per_batch": 16}, "labeled must be below size"),
        (X, Y, {"config": {"loss.gama": 1}}, "loss.gama: unknown key"),
        (X, Y, {"config": {"data.name": "digits"}}, "config sets data.name, which the estimator settles itself"),
        (X, Y, {"config": "loss.gamma_agree=1"}, "config is a str; a mapping"),
        (X, Y, {"config": {"loss.gamma_agree": object()}}, "neither text, number"),
        (["a.png", 5, *["b.png"] * 58], Y, {}, r"X\[1\] is a int. Give paths alone"),
        (["nowhere.png"] * 60, Y, {}, "There is no file nowhere.png"),
    ],
)
@pytest.mark.filterwarnings("ignore:There is no unlabeled image")
def test_mistakes_in_fit_are_told(images: Any, labels: Any, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        classifier(**changes).fit(images, labels)


def test_mistakes_in_predict_are_told() -> None:
    given = hidden(Y)
    short = {"steps": 1, "supervised_steps": 1}
    levels = classifier(**short).fit(X, given)
    numbers = classifier(**short).fit(X / 255, given)
    rows = classifier(**short).fit(FLAT, given)
    for fitted, images, message in (
        (levels, X / 255, "X is float64, but the training images are uint8"),
        (levels, X[:, :7], r"images of 7 x 8 .* training images are 8 x 8. Give image_size"),
        (levels, np.stack([X] * 3, axis=-1), "X has 3 channels; the training images have 1"),
        (levels, FLAT, "X is a table, but this estimator takes images"),
        (numbers, ["a.png"], "fitted on real numbers"),
        (rows, X, "fitted on a table of features"),
        (rows, FLAT[:, :9], "X has 9 features, but SemiSupervisedClassifier is expecting 64"),
    ):
        with pytest.raises(ValueError, match=message):
            fitted.predict(images)
    with pytest.raises(DataError, match="nothing to score by"):
        levels.score(X, np.full(60, -1))


def test_users_mistakes_are_of_the_programs_family() -> None:
    with pytest.raises(ConfigError, match=r"optimizer\.name"):
        classifier(optimizer="adam").fit(X, hidden(Y))


@pytest.fixture(scope="module")
def fitted() -> Any:
    return classifier().fit(X, hidden(Y))


@pytest.mark.parametrize(
    ("labels", "weights", "words"),
    [
        (Y[:50], None, "inconsistent numbers of samples"),
        (Y, np.ones(50), "inconsistent numbers of samples"),
        (Y, np.zeros(60), "The sample_weight of every label is 0"),
        (TEXTS, None, "y is of text where the labels in `fit` were numbers"),
    ],
)
def test_what_cannot_be_scored_by_is_a_value_error(fitted: Any, labels: Any, weights: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        fitted.score(X, labels, sample_weight=weights)
