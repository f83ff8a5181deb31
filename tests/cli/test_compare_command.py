"""What `dmt compare` says before the first run."""

import io
import warnings
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from dmt.cli.compare import Judged, _table, compare
from dmt.errors import ConfigError


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"methods": "supervised"}, ["loss.ramp has no effect on method=supervised."]),
        ({"methods": "supervised,dmt"}, []),
        (
            {"methods": "supervised", "variants": ["balanced: loss.class_balance=0.5 loss.flip_exponent=1.0"]},
            [
                "balanced: loss.flip_exponent has no effect on method=supervised.",
                "loss.ramp has no effect on method=supervised.",
            ],
        ),
    ],
)
def test_settings_of_a_file_without_effect_on_any_candidate_are_told(
    choice: dict[str, Any], expected: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise ConfigError("enough")

    monkeypatch.setattr("dmt.compare.compare", stop)
    (tmp_path / "mine.yaml").write_text("extends: digits-20\nmethod: supervised\nloss: {ramp: false}\n")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(ConfigError, match="enough"):
            compare(str(tmp_path / "mine.yaml"), seeds="0", runs=tmp_path / "runs", by=Judged.test, **choice)
    assert [str(one.message) for one in caught] == expected


@pytest.mark.parametrize("name", ["compare.md", "compare.csv", "compare-table.csv"])
def test_tables_of_somebody_else_are_left_alone(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("id,price\n1,2\n")
    with pytest.raises(ConfigError, match=f"{name} is there already"):
        compare("digits-20", methods="dmt", seeds="0", runs=tmp_path, by=Judged.test)
    assert (tmp_path / name).read_text() == "id,price\n1,2\n"


@pytest.mark.parametrize("width", [76, 80, 160])
def test_long_names_are_broken_and_figures_are_not(width: int) -> None:
    heads = ["", "mean ± sd", "gain [95%]", "of the gap", "above", "s a run"]
    figures = ["97.8 ± 1.0", "+9.1 [+6.4, +11.8]", "88%", "10 of 10", "1,127"]
    names = ["curriculum_labeling, 20 to 100 percent", "a_candidate_with_a_name_of_forty_letters"]
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(_table("", heads, [[name, *figures] for name in names], width=width))
    shown = console.export_text()
    assert "…" not in shown
    assert shown.count("│ " + " │ ".join(figures) + " │") == len(names)
    letters = "".join(line.split("│")[1] for line in shown.splitlines() if line.startswith("│"))
    assert letters.replace(" ", "") == "".join(names).replace(" ", "")
