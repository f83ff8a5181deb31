"""What the model card says, and that odd text cannot break it."""

import json
import shutil
from pathlib import Path

import yaml

import dmt
from dmt.export import export_bundle
from dmt.export.card import model_card


def head_of(card: str) -> dict[str, object]:
    _, head, _ = card.split("---\n", 2)
    values = yaml.safe_load(head)
    assert isinstance(values, dict)
    return values


def test_a_card_of_a_run(digits_run: Path, tmp_path: Path) -> None:
    export_bundle(digits_run, tmp_path / "bundle", license_text="CC-BY-4.0")
    card = (tmp_path / "bundle/README.md").read_text()
    assert head_of(card)["license"] == "CC-BY-4.0"
    assert "| picked network | " in card
    assert "- num labeled: 40" in card
    assert "resized to 16 x 16" in card
    assert str(tmp_path) not in card
    assert str(digits_run) not in card + (tmp_path / "bundle/model.json").read_text()


def test_the_license_is_not_stated_unless_somebody_does(digits_run: Path, tmp_path: Path) -> None:
    export_bundle(digits_run, tmp_path / "bundle")
    assert dmt.load(tmp_path / "bundle").description.license is None
    card = (tmp_path / "bundle/README.md").read_text()
    assert "license" not in head_of(card)
    assert "not stated" in card
    export_bundle(tmp_path / "bundle", tmp_path / "bundle", license_text="MIT")
    assert dmt.load(tmp_path / "bundle").description.license == "MIT"


def test_odd_text_breaks_nothing(digits_run: Path) -> None:
    description = dmt.load(digits_run).description
    odd = description.model_copy(
        update={
            "license": "x: [y]\n---\n# no",
            "class_names": ("a|b", "<script>", "new\nline", "`code`"),
            "metrics": {},
        }
    )
    card = model_card(odd)
    assert head_of(card)["license"] == "x: [y] --- # no"
    assert "a\\|b, \\<script\\>, new line, \\`code\\`" in card
    assert "None: the run had neither a test part nor validation labels." in card


def test_a_run_without_a_test_part_shows_the_labels_for_choices(digits_run: Path) -> None:
    figures = {"supervised": {"accuracy": 71.25}, "final": {"accuracy": 90.0}}
    description = dmt.load(digits_run).description.model_copy(update={"metrics": {"validation": figures}})
    card = model_card(description)
    assert "on the test part" not in card
    assert "| on the validation labels, % | accuracy |\n|---|---|\n" in card
    assert "| the labels alone (baseline) | 71.2 |\n| picked network | 90.0 |\n\nThese labels chose" in card


def test_figures_of_the_labels_for_choices_are_those_of_the_run(digits_run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(digits_run, folder)
    result = json.loads((folder / "result.json").read_text())
    figures = {f"round {row['round']}, network {row['network']}": 50.0 + row["round"] for row in result["rounds"]}
    for row in result["rounds"]:
        row["validation"] = {"accuracy": 50.0 + row["round"]}
    picked = result["picked"]["what"]
    assert figures[picked] > 50.0
    (folder / "result.json").write_text(json.dumps(result))
    shown = dmt.load(folder).description.metrics["validation"]
    assert shown == {"supervised": {"accuracy": 50.0}, "final": {"accuracy": figures[picked]}}
