"""docs/run-folder.md names every key and column that a run, a comparison or an evaluation writes."""

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from dmt.cli.main import app
from dmt.compare.comparison import Comparison
from dmt.compare.tables import as_csv, as_table_csv

PAGE = (Path(__file__).parents[2] / "docs" / "run-folder.md").read_text(encoding="utf-8")
NAMED = set(re.findall(r"`([a-z_]+)`", PAGE))
BY_CLASS = {"per_class_accuracy", "per_class_iou"}


def keys_of(value: Any) -> Iterator[str]:
    """All keys, but those that are names of classes."""
    if isinstance(value, dict):
        for key, below in value.items():
            yield key
            if key not in BY_CLASS:
                yield from keys_of(below)
    elif isinstance(value, list):
        for one in value:
            yield from keys_of(one)


@pytest.mark.parametrize("kind", ["digits_run", "masks_run"])
def test_every_key_of_a_run_is_named(kind: str, request: pytest.FixtureRequest) -> None:
    run: Path = request.getfixturevalue(kind)
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    assert {"rounds", "last_round", "picked"} <= set(keys_of(result)) <= NAMED
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {"stage", "loss", "mean_weight"} <= set(keys_of(lines)) <= NAMED


def test_every_column_of_pseudo_labels_is_named(digits_run: Path) -> None:
    assert set(pq.read_schema(digits_run / "rounds/1/a/pseudo_labels/labels.parquet").names) <= NAMED


def test_every_column_of_a_comparison_is_named(digits_run: Path) -> None:
    result = json.loads((digits_run / "result.json").read_text(encoding="utf-8"))
    found = Comparison(names=["dmt"], seeds=[0], results={("dmt", 0): result}, folders={("dmt", 0): digits_run})
    for text in (as_csv(found), as_table_csv(found)):
        assert set(next(csv.reader([text.splitlines()[0]]))) <= NAMED


def test_the_parts_of_a_check_and_of_an_evaluation_are_named(digits_run: Path, tmp_path: Path) -> None:
    runner = CliRunner()
    checked = runner.invoke(app, ["check", "digits-20", "--json", "--no-timing"])
    evaluated = runner.invoke(app, ["evaluate", str(digits_run), "-o", str(tmp_path / "figures.json")])
    assert (checked.exit_code, evaluated.exit_code) == (0, 0)
    assert {"errors", "findings", "parts"} <= set(json.loads(checked.output)) <= NAMED
    figures = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))
    assert {"figures", "per_class", "confusion"} <= set(figures) <= NAMED
    assert set(figures["figures"]["accuracy"]) <= NAMED
