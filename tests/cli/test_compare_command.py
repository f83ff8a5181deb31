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


def test_long_names_are_broken_and_figures_are_not() -> None:
    name = "curriculum_labeling, 20 to 100 percent of the pseudo labels, no moving average"
    table = _table("", ["", "mean ± sd", "gain [95%]"], [[name, "97.8 ± 1.0", "+9.1 [+6.4, +11.8]"]])
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(table)
    shown = console.export_text()
    assert "…" not in shown
    assert "97.8 ± 1.0 │ +9.1 [+6.4, +11.8] │" in shown
    assert set(name.split()) <= set(shown.split())
