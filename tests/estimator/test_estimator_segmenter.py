"""The segmenter on images of one size and of several, and on files."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from tiny_estimators import bands, segmenter

import dmt

IMAGES, MASKS = bands(12)
GIVEN = [*MASKS[:6], None, np.full_like(MASKS[0], 255), *[None] * 4]
NEW, TRUTH = bands(4, seed=5)
LOOSE, LOOSE_MASKS = bands(8, sizes=((10, 12), (9, 14)))


def test_what_fitting_leaves_behind() -> None:
    fitted = segmenter().fit(np.stack(IMAGES), GIVEN)
    assert fitted.classes_.tolist() == [0, 1, 2]
    assert fitted.n_iter_ == 1
    assert fitted.result_["num_labeled"] == 6
    assert fitted.result_["num_unlabeled"] == 6
    predicted = fitted.predict(np.stack(NEW))
    assert isinstance(predicted, np.ndarray)
    assert predicted.shape == (4, 10, 12)
    assert fitted.score(np.stack(NEW), TRUTH) > 0.5
    probabilities = fitted.predict_proba(np.stack(NEW))
    assert probabilities.shape == (4, 3, 10, 12)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-5)
    assert np.array_equal(probabilities.argmax(axis=1), predicted)
    assert all(np.array_equal(mask, given) for mask, given in zip(fitted.transduction_, MASKS[:6], strict=False))
    assert np.array_equal(np.stack(fitted.transduction_[6:]), fitted.predict(np.stack(IMAGES))[6:])


def test_every_form_of_the_same_images_gives_the_same_to_the_bit(tmp_path: Path) -> None:
    paths = [tmp_path / f"{index}.png" for index in range(len(IMAGES))]
    for path, image in zip(paths, IMAGES, strict=True):
        Image.fromarray(image).save(path)
    expected = segmenter().fit(np.stack(IMAGES), GIVEN).predict_proba(np.stack(NEW))
    forms: list[tuple[Any, dict[str, Any]]] = [
        (IMAGES, {}),
        (paths, {}),
        (np.stack(IMAGES).reshape(len(IMAGES), -1), {"image_shape": (10, 12, 3)}),
    ]
    for train, changes in forms:
        fitted = segmenter(**changes).fit(train, GIVEN)
        assert np.array_equal(np.stack(fitted.predict_proba(NEW)), expected)


def test_classes_are_the_values_in_the_masks() -> None:
    values = np.array([10, 20, 200])
    renamed = [mask if mask is None else np.where(mask == 255, 255, values[mask.clip(max=2)]) for mask in GIVEN]
    fitted = segmenter(supervised_steps=5).fit(IMAGES, renamed)
    assert fitted.classes_.tolist() == values.tolist()
    assert set(np.unique(fitted.predict(NEW))) <= set(values.tolist())
    assert set(np.unique(fitted.transduction_)) <= {*values.tolist(), 255}


def test_images_of_several_sizes_are_answered_at_their_own() -> None:
    given = [*LOOSE_MASKS[:4], *[None] * 4]
    sizes = [mask.shape for mask in LOOSE_MASKS]
    cropped = segmenter(config={"crop.size": [8, 8], "crop.scale": [1.0, 1.0]}).fit(LOOSE, given)
    resized = segmenter(image_size=(20, 24)).fit(LOOSE, given)
    for fitted in (cropped, resized):
        assert [mask.shape for mask in fitted.predict(LOOSE)] == sizes
        assert [answer.shape for answer in fitted.predict_proba(LOOSE)] == [(3, *size) for size in sizes]
        assert fitted.score(LOOSE, LOOSE_MASKS) > 0.4
    with pytest.raises(ValueError, match=r"crop\.size is not set, and training images differ in size"):
        segmenter().fit(LOOSE, given)


def test_real_numbers_are_not_rounded() -> None:
    given, numbers = GIVEN, [image * 1e-4 - 3.0 for image in IMAGES]
    fitted = segmenter().fit(numbers, given)
    assert fitted.score([image * 1e-4 - 3.0 for image in NEW], TRUTH) > 0.5


def test_the_score_is_the_mean_iou_over_classes_that_occur() -> None:
    fitted = segmenter(supervised_steps=5).fit(IMAGES, GIVEN)
    predicted = fitted.predict(NEW)
    truth = [TRUTH[0], None, TRUTH[2], np.full_like(TRUTH[3], 255)]
    ious = []
    for k in range(3):
        pairs = [(predicted[i], truth[i]) for i in (0, 2)]
        both = sum(int(((mask == k) & (true == k)).sum()) for mask, true in pairs)
        either = sum(int((((mask == k) | (true == k)) & (true != 255)).sum()) for mask, true in pairs)
        ious += [both / either] if either else []
    assert fitted.score(NEW, truth) == pytest.approx(np.mean(ious))
    assert fitted.score(NEW, predicted) == 1.0


def test_clone_pickle_grid_search_and_seeds() -> None:
    fitted = segmenter(supervised_steps=5).fit(IMAGES, GIVEN)
    again = clone(fitted).fit(IMAGES, GIVEN)
    for other in (again, pickle.loads(pickle.dumps(fitted))):
        assert np.array_equal(other.predict_proba(NEW), fitted.predict_proba(NEW))
    search = GridSearchCV(segmenter(supervised_steps=5), {"learning_rate": [1e-3, 0.1]}, cv=2, error_score="raise")
    assert len(search.fit(IMAGES, MASKS).predict(NEW)) == 4


def test_two_networks_teach_each_other() -> None:
    fitted = segmenter(backbone_b="small_unet", supervised_steps=5).fit(IMAGES, GIVEN)
    assert fitted.result_["scheme"] == "mutual"


@pytest.mark.parametrize(
    ("images", "masks", "changes", "message"),
    [
        (IMAGES, None, {}, "requires y to be passed"),
        (IMAGES, GIVEN[:5], {}, "X has 12 images, but y has 5 masks"),
        (IMAGES, [None] * 12, {}, "The masks in y hold no class"),
        (IMAGES, [np.ones((10, 12), int), *[None] * 11], {}, r"The masks in y hold one class \(1\)"),
        (
            IMAGES,
            [MASKS[0][:9], *[None] * 11],
            {},
            r"y\[0\] is int64 \(9, 12\); a mask of the image's size .* \(10, 12\)",
        ),
        (IMAGES, [np.where(MASKS[0] == 1, -1, MASKS[0]), *[None] * 11], {}, r"y\[0\] holds the value -1"),
        (IMAGES, [MASKS[0] / 2, *[None] * 11], {}, "whole numbers"),
        (IMAGES, [*range(12)], {}, "a mask of the image's size is needed"),
        (np.stack(IMAGES).reshape(12, -1), GIVEN, {}, "image_shape says how rows become images"),
        (IMAGES, GIVEN, {"backbone": "small_cnn"}, "for masks use another network, such as small_unet"),
    ],
)
def test_mistakes_in_fit_are_told(images: Any, masks: Any, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        segmenter(**changes).fit(images, masks)


def test_mistakes_in_score_are_told() -> None:
    fitted = segmenter(steps=1, supervised_steps=1).fit(IMAGES, GIVEN)
    for truth, message in (
        (None, "but y has 0 masks"),
        ([None] * 4, "nothing to score by"),
        ([mask[:5] for mask in TRUTH], r"y\[0\] is int64 \(5, 12\)"),
    ):
        with pytest.raises(ValueError, match=message):
            fitted.score(NEW, truth)


def test_parameters_are_stored_as_they_are() -> None:
    parameters = dmt.SemiSupervisedSegmenter().get_params()
    assert parameters.keys() == dmt.SemiSupervisedClassifier().get_params().keys()
