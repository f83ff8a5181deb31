"""What the model card says, and that odd text cannot break it."""

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
    assert "None: the run had no test part." in card
