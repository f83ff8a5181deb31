"""Whether unlabeled images helped, as a run says it."""

from pathlib import Path

import pytest

from dmt.report import story, tables
from dmt.report.files import read_run
from dmt.run import run
from dmt.scores import load_scores
from tiny_runs import TINY_NETWORKS, striped_set, tiny_config


def test_a_gain_without_a_standard_error_is_no_gain() -> None:
    told = {
        error: story.Comparison(part="test", before=50.0, after=56.0, error=error, count=1).verdict
        for error in (None, 2.9, 3.0, 6.0)
    }
    assert told == {None: "unclear", 2.9: "better", 3.0: "unclear", 6.0: "unclear"}


@pytest.fixture(scope="module")
def folded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run by cross-validation, without a test part."""
    folder = tmp_path_factory.mktemp("folded") / "run"
    parts = {"labeled": striped_set(9, seed=1), "unlabeled": striped_set(12, seed=3)}
    config = tiny_config(validation={"source": "cross_validation"}, rounds={"top_fractions": [1.0]})
    run(config, parts, TINY_NETWORKS, run_dir=folder)
    return folder


def test_the_gain_of_held_out_labels_has_the_error_of_all_folds(folded: Path) -> None:
    files = read_run(folded)
    compared = story.compare(files)
    assert compared is not None
    assert compared.part == "validation"
    last = files.stages[-1].folder
    scores = [
        [load_scores(folded / "folds" / fold / stage / "scores.safetensors")["validation"] for fold in "01"]
        for stage in ("supervised", last)
    ]
    before, after = (type(of_folds[0]).pool(of_folds) for of_folds in scores)
    assert len(before) == 9
    assert compared.error == after.minus(before)[1]


def test_classes_have_their_names_without_a_test_part(folded: Path) -> None:
    assert tables.class_names(read_run(folded)) == ["0", "1", "2"]
    (folded / "splits" / "classes.jsonl").write_text('"cat"\n"dog"\n"fox"\n')
    assert tables.class_names(read_run(folded)) == ["cat", "dog", "fox"]
