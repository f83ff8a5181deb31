"""The tutorials, from the first block to the last, Python and commands alike, with a few steps of training."""

import re
import warnings
from pathlib import Path
from typing import Any

import pytest

from dmt.cli.main import app

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```(python)?\n(.*?)^```", re.MULTILINE | re.DOTALL)
SHORT = ("supervised={steps: 3}", "duration={steps: 3}", "rounds.top_fractions=[1.0]", "validation.source=none")


def command(line: str) -> list[str]:
    """A line as the shell would split it; training is cut short, and nothing is timed."""
    words = line.split()
    if words[1] in ("train", "compare"):
        return [*words[1:3], *SHORT, *(word.replace("0..2", "0") for word in words[3:])]
    return words[1:]


@pytest.mark.parametrize("page", ["tutorial-classification.md", "tutorial-segmentation.md"])
def test_a_tutorial_from_start_to_end(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {"__name__": "page"}
    text = (DOCS / page).read_text(encoding="utf-8")
    for found in BLOCK.finditer(text):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if found.group(1) == "python":
                exec(compile(found.group(2), page, "exec"), namespace)
                continue
            for line in found.group(2).splitlines():
                assert line.startswith("dmt "), f"{page}: {line!r} is no command of ours"
                assert not app(command(line), standalone_mode=False), line
    name = "scans" if "segmentation" in page else "photos"
    assert (tmp_path / f"runs/{name}/report.html").is_file()
    assert (tmp_path / f"{name}-model/model.json").is_file()
