"""The classifier on images, tables and files."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from sklearn.base import clone
from sklearn.datasets import load_digits, make_blobs
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tiny_estimators import NUM_KNOWN, classifier, hidden, stripes

import dmt
from dmt.errors import ConfigError, DataError
from dmt.models.weights import state_of

X, Y = stripes()
X_NEW, Y_NEW = stripes(seed=2, count=30)


def table(*, count: int = 150, known: int = 12) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features of three clusters, their classes, and the few that are known."""
    features, labels = make_blobs(count, n_features=5, centers=3, cluster_std=2.0, random_state=0)
    return features, labels, hidden(labels, known=known)


def test_forty_labels_of_digits_go_a_long_way() -> None:
    digits = load_digits()
    order = np.random.RandomState(0).permutation(len(digits.target))
    train, test = order[:500], order[500:]
    given = hidden(digits.target[train], known=40)
    fitted = dmt.SemiSupervisedClassifier(steps=30, supervised_steps=100, top_fractions=(0.5, 1.0), random_state=0)
    fitted.fit(digits.images[train], given)
    assert fitted.score(digits.images[test], digits.target[test]) > 0.8


def test_what_fitting_leaves_behind() -> None:
    fitted = classifier().fit(X, hidden(Y))
    assert fitted.classes_.tolist() == [0, 1, 2]
    assert fitted.n_iter_ == 2
    assert [row["round"] for row in fitted.history_] == [0, 1, 2]
    assert fitted.transduction_[:NUM_KNOWN].tolist() == Y[:NUM_KNOWN].tolist()
    assert fitted.transduction_[NUM_KNOWN:].tolist() == fitted.predict(X[NUM_KNOWN:]).tolist()
    assert fitted.run_dir_ is None
    assert fitted.score(X_NEW, Y_NEW) > 0.8
    probabilities = fitted.predict_proba(X_NEW)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
    assert fitted.classes_[probabilities.argmax(axis=1)].tolist() == fitted.predict(X_NEW).tolist()


def test_every_form_of_the_same_images_gives_the_same_to_the_bit(tmp_path: Path) -> None:
    paths = [tmp_path / f"{index}.png" for index in range(len(X))]
    for path, image in zip(paths, X, strict=True):
        Image.fromarray(image).save(path)
    given = hidden(Y)
    forms: list[tuple[Any, Any, dict[str, Any]]] = [
        (X, X_NEW, {}),
        (X[..., None], X_NEW[..., None], {}),
        (list(X), list(X_NEW), {}),
        (X.reshape(len(X), -1), X_NEW.reshape(len(X_NEW), -1), {"image_shape": (8, 8)}),
        (torch.from_numpy(X), torch.from_numpy(X_NEW), {}),
        (list(map(str, paths)), X_NEW, {"image_shape": (8, 8, 1)}),
    ]
    expected = classifier().fit(X, given).predict_proba(X_NEW)
    for train, new, changes in forms:
        fitted = classifier(**changes).fit(train, given)
        assert np.array_equal(fitted.predict_proba(new), expected), changes
        assert np.array_equal(fitted.predict(paths), fitted.predict(train)), "files are read by the rule of training"


def test_real_numbers_are_neither_rounded_nor_cut_off() -> None:
    given, numbers = hidden(Y), X.astype(np.float64)
    fitted = classifier().fit(numbers, given)
    shifted = classifier().fit(numbers * 1e-5 - 7.0, given)
    np.testing.assert_allclose(shifted.predict_proba(X_NEW * 1e-5 - 7.0), fitted.predict_proba(X_NEW), atol=1e-3)
    brighter = np.full((1, 8, 8), 2.0 * numbers.max())
    assert not np.array_equal(fitted.predict_proba(brighter), fitted.predict_proba(brighter * 2))
    numbers[-1, 0, 0] = 1e4  # in 256 levels, all others would be five
    assert classifier(method="supervised").fit(numbers, given).score(X_NEW, Y_NEW) > 0.8


def test_images_may_be_resized(tmp_path: Path) -> None:
    large = [np.kron(image, np.ones((2 + index % 2,) * 2, dtype=np.uint8)) for index, image in enumerate(X)]
    fitted = classifier(image_size=(8, 8)).fit(large, hidden(Y))
    assert fitted.score(X_NEW, Y_NEW) > 0.8
    with pytest.raises(DataError, match=r"differ in size: .*\(16, 16\), \(24, 24\).* image_size="):
        classifier().fit(large, hidden(Y))


def test_a_fit_is_a_run_of_dmt(tmp_path: Path) -> None:
    """The same data and settings through `dmt.run`: the same weights to the bit, so the same answers."""
    config = {
        "task": "classification",
        "data": {"name": "own"},
        "validation": {"source": "none"},
        "start": "finetune",
        "rounds": {"top_fractions": [0.5, 1.0]},
        "duration": {"steps": 20},
        "supervised": {"steps": 60},
        "batch": {"size": 16, "labeled": 4},
        "optimizer": {"lr": 0.05},
        "augment": "none",
        "precision": "fp32",
    }
    result = dmt.run(config, {"train": (X, hidden(Y))}, run_dir=tmp_path / "run")
    fitted = classifier().fit(X, hidden(Y))
    weights = load_file(tmp_path / "run" / "rounds" / "2" / "a" / "ema.safetensors")
    assert all(torch.equal(tensor, weights[name]) for name, tensor in state_of(fitted.network_).items())
    assert result["picked"]["what"] == fitted.result_["picked"]["what"] == "round 2, network a"


def test_two_networks_teach_each_other() -> None:
    fitted = classifier(backbone_b="small_cnn", top_fractions=(1.0,)).fit(X, hidden(Y))
    assert {row["network"] for row in fitted.history_} == {"a", "b"}
    assert fitted.result_["scheme"] == "mutual"


@pytest.mark.parametrize(
    ("names", "nothing", "dtype"),
    [
        (np.array(["cat", "dog", "owl"]), "", "<U3"),
        (np.array(["cat", "dog", "owl"]), None, None),
        (np.array(["cat", "dog", "owl"], dtype=object), -1, object),
        (np.array(["cat", "dog", "owl"]), np.nan, object),
        (np.array(["cat", "dog", "owl"]), pd.NA, object),
        (np.array([10, 20, 30]), None, None),
        (np.array([0.5, 1.5, 2.5]) * 2, -1.0, float),
        (np.array(["cat", "dog", "owl"]), "-1", "<U3"),
    ],
)
def test_labels_of_any_kind(names: np.ndarray, nothing: Any, dtype: Any) -> None:
    given = [names[label] if index < NUM_KNOWN else nothing for index, label in enumerate(Y)]
    fitted = classifier(steps=2, supervised_steps=20).fit(X, np.array(given, dtype=dtype))
    assert fitted.classes_.tolist() == names.tolist()
    assert set(fitted.transduction_.tolist()) <= set(names.tolist())
    assert 0 <= fitted.score(X, given) <= 1
    assert fitted.score(X, given) == np.mean(fitted.predict(X[:NUM_KNOWN]) == names[Y[:NUM_KNOWN]])


def test_any_key_of_the_config_may_be_set() -> None:
    config = {"duration.epochs": 1, "rounds": {"top_fractions": [1.0]}, "optimizer.momentum": np.float64(0.5)}
    with pytest.raises(ConfigError, match=r"rounds\.top_fraction: unknown key"):
        classifier(config={"rounds": {"top_fraction": [1.0]}}).fit(X, hidden(Y))
    fitted = classifier(config=config, supervised_steps=2).fit(X, hidden(Y))
    assert fitted.n_iter_ == 1
    assert fitted.history_[1]["steps"] == np.ceil((len(X) - NUM_KNOWN) / 12)


def test_truth_and_falsehood_are_classes() -> None:
    with pytest.warns(UserWarning, match="There is no unlabeled image"):
        fitted = classifier(supervised_steps=10).fit(X, Y == 1)
    assert fitted.classes_.tolist() == [False, True]
    assert fitted.n_iter_ == 0
    assert fitted.predict(X).dtype == bool


def test_tables_are_standardized_and_learned() -> None:
    features, labels, given = table()
    fitted = classifier().fit(features, given)
    assert fitted.network_.name == "small_mlp"
    assert fitted.n_features_in_ == 5
    assert fitted.score(features, labels) > 0.9
    # Exact in binary, so that units of any size are no other data.
    scaled = classifier().fit(features * 2.0**20, given)
    assert np.array_equal(scaled.predict_proba(features * 2.0**20), fitted.predict_proba(features))


def test_a_table_far_from_zero_is_learned_as_well() -> None:
    features, labels, given = table()
    assert classifier().fit(features + 1e9, given).score(features + 1e9, labels) > 0.9


def test_a_seed_repeats_a_fit_to_the_bit_and_touches_no_global_generator() -> None:
    features, _, given = table()
    before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    answers = [classifier(random_state=seed).fit(features, given).predict_proba(features) for seed in (5, 5, 6)]
    assert np.array_equal(answers[0], answers[1])
    assert not np.array_equal(answers[0], answers[2])
    drawn = [
        classifier(random_state=np.random.RandomState(3)).fit(features, given).predict_proba(features) for _ in "ab"
    ]
    assert np.array_equal(*drawn)
    assert np.array_equal(before[0], np.random.get_state()[1])  # noqa: NPY002
    assert torch.equal(before[1], torch.get_rng_state())


def test_pipeline_grid_search_and_pickle() -> None:
    features, _, given = table(known=30)
    pipeline = make_pipeline(StandardScaler(), classifier(steps=4, supervised_steps=20))
    search = GridSearchCV(
        pipeline, {"semisupervisedclassifier__learning_rate": np.array([1e-4, 0.05])}, cv=2, error_score="raise"
    )
    search.fit(features, given)
    assert search.best_params_ == {"semisupervisedclassifier__learning_rate": 0.05}
    again = pickle.loads(pickle.dumps(search.best_estimator_))
    assert np.array_equal(again.predict_proba(features), search.predict_proba(features))
    assert clone(search.best_estimator_)[-1].learning_rate == 0.05


def test_files_may_be_searched_over_as_well(tmp_path: Path) -> None:
    paths = [tmp_path / f"{index}.png" for index in range(24)]
    for path, image in zip(paths, X, strict=False):
        Image.fromarray(image).save(path)
    search = GridSearchCV(
        classifier(steps=2, image_shape=(8, 8, 1)), {"supervised_steps": [2, 4]}, cv=2, error_score="raise"
    )
    search.fit(paths, hidden(Y[:24]))
    assert search.predict(paths).shape == (24,)


def test_fits_are_kept_and_found_again(tmp_path: Path) -> None:
    first = classifier(run_dir=tmp_path).fit(X, hidden(Y))
    marker = first.run_dir_ / "DONE_ONCE"
    marker.touch()
    assert classifier(run_dir=tmp_path).fit(X, hidden(Y)).run_dir_ == first.run_dir_
    assert marker.exists()
    other = classifier(run_dir=tmp_path).fit(X[::-1], hidden(Y[::-1]))
    assert other.run_dir_ != first.run_dir_, "other data are another run"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_fit_to_other_classes_is_another_run(tmp_path: Path) -> None:
    fits = []
    for names in (["cat", "dog", "owl"], ["x", "y", "z"]):
        y = hidden(np.array(names)[Y], nothing=None)
        fits.append(classifier(run_dir=tmp_path, steps=2, supervised_steps=2).fit(X, y))
        assert fits[-1].model_.class_names == tuple(fits[-1].classes_) == tuple(names)
    assert fits[0].run_dir_ != fits[1].run_dir_


def test_a_fit_to_the_same_files_as_other_channels_is_another_run(tmp_path: Path) -> None:
    paths = [tmp_path / f"{index}.png" for index in range(24)]
    for path, image in zip(paths, X, strict=False):
        Image.fromarray(image).save(path)
    fits = [
        classifier(run_dir=tmp_path / "runs", steps=2, supervised_steps=2, image_shape=shape).fit(paths, hidden(Y[:24]))
        for shape in ((8, 8), (8, 8, 1))
    ]
    assert [fit.network_.preprocessing.channels for fit in fits] == [3, 1]
    assert fits[0].run_dir_ != fits[1].run_dir_


def test_verbose_tells_of_each_stage(capsys: pytest.CaptureFixture[str]) -> None:
    classifier(verbose=1, steps=2, supervised_steps=2).fit(X, hidden(Y))
    told = capsys.readouterr()
    assert told.out == ""
    assert [line.partition(":")[0] for line in told.err.splitlines() if " steps" in line] == [
        "[dmt] supervised",
        "[dmt] round 1, network a",
        "[dmt] round 2, network a",
    ]
