"""Saving an estimator and loading it again."""

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tiny_estimators import bands, classifier, hidden, segmenter, stripes

import dmt
from dmt.errors import CheckpointError, ExportError, RunFolderError

X, Y = stripes()
SHORT = {"steps": 2, "supervised_steps": 4}
IMAGES, MASKS = bands(6)


def fitted_on_images(**changes: Any) -> tuple[Any, Any]:
    names = np.array(["cat", "dog", "owl"])[Y].astype(object)
    return classifier(**SHORT | {"config": {"loss.gamma_agree": 3.0}} | changes).fit(X, hidden(names, nothing=None)), X


def fitted_on_numbers() -> tuple[Any, Any]:
    return classifier(**SHORT).fit(X / 7, hidden(Y)), X / 7


def fitted_on_a_table() -> tuple[Any, Any]:
    table = pd.DataFrame(X.reshape(len(X), -1)[:, :4] / 3, columns=["north", "east", "south", "west"])
    return classifier(**SHORT, random_state=np.random.RandomState(0)).fit(table, hidden(Y)), table


def fitted_on_masks() -> tuple[Any, Any]:
    return segmenter(**SHORT).fit(IMAGES, [*MASKS[:3], None, None, None]), IMAGES


@pytest.mark.parametrize("fit", [fitted_on_images, fitted_on_numbers, fitted_on_a_table, fitted_on_masks])
def test_what_was_saved_answers_the_same_to_the_bit(fit: Callable[[], tuple[Any, Any]], tmp_path: Path) -> None:
    fitted, images = fit()
    fitted.save(tmp_path / "mine")
    loaded = type(fitted).load(tmp_path / "mine")
    assert np.array_equal(loaded.predict_proba(images), fitted.predict_proba(images))
    assert np.array_equal(loaded.predict(images), fitted.predict(images))
    assert loaded.classes_.dtype == fitted.classes_.dtype
    for name in ("classes_", "transduction_", "n_iter_", "history_"):
        assert np.array_equal(getattr(loaded, name), getattr(fitted, name)), name
    for name in ("n_features_in_", "feature_names_in_"):
        assert np.array_equal(getattr(loaded, name, None), getattr(fitted, name, None)), name
    ours, theirs = loaded.get_params(), fitted.get_params()
    assert {**ours, "random_state": None} == {**theirs, "random_state": None}


def test_a_folder_of_an_estimator_may_be_written_again_and_no_other(tmp_path: Path) -> None:
    fitted, _ = fitted_on_images()
    fitted.save(tmp_path / "mine")
    fitted.save(tmp_path / "mine")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "dear.txt").write_text("keep me")
    with pytest.raises(ExportError, match="holds files that are no export's"):
        fitted.save(tmp_path / "photos")


@pytest.mark.parametrize("done", range(5))
@pytest.mark.parametrize("is_moving", [False, True])
def test_a_save_that_was_stopped_starts_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, done: int, is_moving: bool
) -> None:
    """After so many files were written, or moved to their places: an earlier one is whole, or says that it is none."""
    (earlier, images), (fitted, _) = fitted_on_images(), fitted_on_images(random_state=1)
    folder, left, replace = tmp_path / "mine", done, Path.replace
    earlier.save(folder)

    def counted(path: Path, target: Path) -> Path:
        nonlocal left
        if (target.parent == folder) == is_moving:
            if not left:
                raise OSError(errno.ENOSPC, "No space left on device")
            left -= 1
        return replace(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", counted)
        with pytest.raises(OSError, match="No space"):
            fitted.save(folder)
    if is_moving and done:
        with pytest.raises(CheckpointError):
            type(earlier).load(folder)
    else:
        assert np.array_equal(type(earlier).load(folder).predict_proba(images), earlier.predict_proba(images))
    fitted.save(folder)
    assert np.array_equal(type(fitted).load(folder).predict_proba(images), fitted.predict_proba(images))
    assert len(list(folder.iterdir())) == 5


@pytest.mark.parametrize("name", ["model.json", "estimator.json"])
def test_a_folder_of_another_library_is_left_alone(tmp_path: Path, name: str) -> None:
    fitted, _ = fitted_on_images()
    (tmp_path / name).write_text('{"class_name": "Sequential"}')
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(ExportError, match="holds files that are no export's"):
        fitted.save(tmp_path)
    assert (tmp_path / "README.md").read_text() == "mine"
    assert (tmp_path / name).exists()


def test_nothing_is_pickled(tmp_path: Path) -> None:
    fitted, _ = fitted_on_images()
    fitted.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "README.md",
        "estimator.json",
        "model.json",
        "model.safetensors",
        "transduction.safetensors",
    ]
    assert json.loads((tmp_path / "estimator.json").read_text())["classes"]["values"] == ["cat", "dog", "owl"]


@pytest.mark.parametrize("fit", [fitted_on_images, fitted_on_masks])
def test_what_was_fitted_on_levels_is_a_bundle(fit: Callable[[], tuple[Any, Any]], tmp_path: Path) -> None:
    fitted, images = fit()
    fitted.save(tmp_path / "mine")
    loaded = dmt.load(tmp_path / "mine")
    assert loaded.class_names == tuple(map(str, fitted.classes_))
    assert np.array_equal(fitted.classes_[loaded.predict(images).labels], np.stack(fitted.predict(images)))


def test_a_bundle_of_resized_masks_resizes(tmp_path: Path) -> None:
    fitted = segmenter(**SHORT, image_size=(20, 24)).fit(IMAGES, [*MASKS[:3], None, None, None])
    fitted.save(tmp_path)
    assert np.array_equal(dmt.load(tmp_path).predict(IMAGES).labels, np.stack(fitted.predict(IMAGES)))


@pytest.mark.parametrize("fit", [fitted_on_numbers, fitted_on_a_table])
def test_what_was_fitted_on_real_numbers_is_none(fit: Callable[[], tuple[Any, Any]], tmp_path: Path) -> None:
    """Files hold none: a bundle would press them into levels."""
    fitted, _ = fit()
    fitted_on_images()[0].save(tmp_path)
    fitted.save(tmp_path)
    assert not (tmp_path / "model.json").exists()
    with pytest.raises(RunFolderError, match="is neither a bundle"):
        dmt.load(tmp_path)


@pytest.mark.parametrize("numbers", [X / 7, X.reshape(len(X), -1) / 3])
def test_a_run_on_real_numbers_is_no_model_of_images(tmp_path: Path, numbers: np.ndarray) -> None:
    fitted = classifier(**SHORT, run_dir=tmp_path).fit(numbers, hidden(Y))
    assert fitted.run_dir_ is not None
    with pytest.raises(RunFolderError, match="was trained on real numbers, which image files have none of"):
        dmt.load(fitted.run_dir_)


def test_what_cannot_be_loaded_is_told(tmp_path: Path) -> None:
    fitted, _ = fitted_on_images()
    fitted.save(tmp_path / "mine")
    path = tmp_path / "mine" / "estimator.json"
    told = json.loads(path.read_text())

    def expect(message: str) -> None:
        with pytest.raises(CheckpointError, match=message):
            dmt.SemiSupervisedClassifier.load(tmp_path / "mine")

    with pytest.raises(CheckpointError, match="is no saved estimator"):
        dmt.SemiSupervisedClassifier.load(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="holds a SemiSupervisedClassifier, not a SemiSupervisedSegmenter"):
        dmt.SemiSupervisedSegmenter.load(tmp_path / "mine")
    for change, message in (
        ({"format": 2}, "newer version of dmt"),
        ({"format": None}, "no description of an estimator"),
        ({"model": {}}, "is no description of a model"),
        ({"form": {"kind": "sound"}}, "holds no whole estimator"),
        ({"parameters": {"steps": 1, "size": 2}}, "holds no whole estimator"),
        ({"classes": {"type": "V4", "values": [1, 2, 3]}}, "classes of type V4"),
    ):
        path.write_text(json.dumps({**told, **change}))
        expect(message)
    path.write_text("{")
    expect("holds no whole estimator")
    path.write_text(json.dumps(told))
    weights = tmp_path / "mine" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    expect("is not the file that .* was made with")


def test_an_estimator_that_was_not_fitted_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not fitted yet"):
        classifier().save(tmp_path)
