"""Comparisons that are judged by validation labels, and never look at the test part."""

from pathlib import Path

import pytest

from dmt.compare import as_markdown, candidates_of, compare
from dmt.compare.validation import by_validation
from dmt.errors import ConfigError
from dmt.scores import load_scores
from tiny_folders import FOLDER_CONFIG, write_folder

TINY = """extends: digits-20
validation: {source: extra, size: 20}
rounds: {top_fractions: [1.0]}
supervised: {steps: 12}
duration: {steps: 6}
batch: {size: 16, labeled: 8, supervised: 16}
precision: fp32
"""


def test_figures_are_those_of_the_validation_labels_and_nothing_else() -> None:
    rows = [
        {"round": 0, "network": "a", "accuracy": 1.0, "validation": {"accuracy": 50.0}},
        {"round": 1, "network": "a", "accuracy": 2.0, "validation": {"accuracy": 60.0}},
        {"round": 1, "network": "b", "accuracy": 3.0, "validation": {"accuracy": 70.0}},
    ]
    result = {
        "seed": 4,
        "supervised": {"network": "a", "accuracy": 1.0},
        "rounds": rows,
        "last_round": {"round": 1, "network": "b", "accuracy": 3.0},
        "best_round": {"round": 1, "network": "b", "accuracy": 3.0},
        "ensemble": {"accuracy": 4.0},
        "final": {"accuracy": 3.0},
    }
    seen = by_validation(result)
    assert seen == {
        "seed": 4,
        "supervised": {"network": "a", "accuracy": 50.0},
        "rounds": [
            {"round": 0, "network": "a", "accuracy": 50.0},
            {"round": 1, "network": "a", "accuracy": 60.0},
            {"round": 1, "network": "b", "accuracy": 70.0},
        ],
        "last_round": {"round": 1, "network": "b", "accuracy": 70.0},
    }
    assert rows[0]["validation"] == {"accuracy": 50.0}  # the run's own result is left as it was


def test_a_comparison_by_validation_reads_the_same_runs(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY)
    candidates = candidates_of(str(tmp_path / "tiny.yaml"), ["dmt"])
    by_test = compare(candidates, [0], folder=tmp_path / "runs")
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*") if path.is_file()}
    found = compare(candidates, [0], folder=tmp_path / "runs", judges="validation")
    assert {path: path.stat().st_mtime_ns for path in made} == made
    folder = found.folders["dmt", 0]
    scores = load_scores(folder / "rounds" / "1" / "a" / "scores.safetensors")
    names = [row.name for row in found.rows()]
    assert names == ["supervised", "dmt"]  # and not what these very labels picked
    assert found.rows()[1].figures == [scores["validation"].figures()["accuracy"]]
    assert by_test.rows()[1].figures == [scores["test"].figures()["accuracy"]]
    assert found.title == "digits, 40 labels: accuracy of 20 validation images, last round, before any pick"
    assert "20 validation images" in as_markdown(found, command="x")
    assert {record["judges"] for record in found.records()} == {"validation"}


def test_data_without_a_test_part_are_compared_by_cross_validation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "data")
    (tmp_path / "data" / "test.txt").unlink()
    (tmp_path / "mine.yaml").write_text(FOLDER_CONFIG)
    candidates = candidates_of("mine.yaml", ["cbst"], changes=["validation.source=cross_validation"])
    with pytest.raises(ConfigError, match=r"has no test part.*or judge by validation"):
        compare(candidates, [0], folder=tmp_path / "runs")
    found = compare(candidates, [0], folder=tmp_path / "runs", judges="validation")
    assert found.title.endswith("mean IoU of 3 validation images, last round, before any pick")
    assert all(0 <= figure <= 100 for row in found.rows() for figure in row.figures)


@pytest.mark.parametrize(
    ("method", "source", "why"),
    [("dmt", "none", "validation.source is none here"), ("oracle", "extra", "it sees every label")],
)
def test_without_labels_for_choices_there_is_no_judge(tmp_path: Path, method: str, source: str, why: str) -> None:
    candidates = candidates_of("digits-20", [method], changes=[f"validation.source={source}"])
    with pytest.raises(ConfigError, match=f"no validation images to judge method={method} by: {why}"):
        compare(candidates, [0], folder=tmp_path / "runs", judges="validation")
    assert not (tmp_path / "runs").exists()
