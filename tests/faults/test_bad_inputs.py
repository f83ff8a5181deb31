"""Every bad input: a sentence, the right exit status, no traceback, nothing lost, nothing executed.

With `DMT_WRITE_TABLE=1` the test that compares docs/bad-inputs.md with what happened writes it instead. Messages are
not compared: parts of them are other libraries' words.
"""

import os
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from bad_inputs import BAD_INPUTS, DIGITS, write_inputs

from dmt.cli.main import main

TABLE = Path(__file__).parents[2] / "docs" / "bad-inputs.md"
NAMES = [(kind, name) for kind, rows in BAD_INPUTS.items() for name in rows]

HEAD = """# Bad inputs, and what happens

Made by `DMT_WRITE_TABLE=1 pytest tests/faults/test_bad_inputs.py`, which gives each of these to the command line and
compares the first two columns with what happened. In every row: the files that were there before are unchanged after,
and nothing that a file asks to be executed is executed. Exit status 2: a mistake in the input; 3: some inputs could not
be read, and the others are done; 4: a run that can go on.
"""


@dataclass
class Answer:
    """How the command ended, and what it said."""

    status: int
    text: str


Call = Callable[..., Answer]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all inputs, and a finished run on digits."""
    root = tmp_path_factory.mktemp("inputs")
    write_inputs(root)
    before = Path.cwd()
    os.chdir(root)
    try:
        arguments, sys.argv = sys.argv, ["dmt", *DIGITS, "--run-dir", "run"]
        with pytest.raises(SystemExit) as exit_:
            main()
        assert exit_.value.code == 0
    finally:
        sys.argv = arguments
        os.chdir(before)
    return root


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, finished: Path) -> Call:
    root = tmp_path / "here"
    shutil.copytree(finished, root)
    monkeypatch.chdir(root)
    monkeypatch.setenv("COLUMNS", "1000")

    def dmt(arguments: list[str]) -> Answer:
        monkeypatch.setattr(sys, "argv", ["dmt", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_:
            main()
        return Answer(int(exit_.value.code or 0), capsys.readouterr().err)

    return dmt


def contents(root: Path) -> dict[str, bytes]:
    """All files but a run folder's lock, which names its last owner."""
    files = [path for path in root.rglob("*") if path.is_file() and path.name != "lock"]
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


ANSWERS: dict[tuple[str, str], Answer] = {}


@pytest.mark.parametrize(("kind", "name"), NAMES, ids=[f"{kind}: {name}" for kind, name in NAMES])
def test_a_bad_input_is_told_and_nothing_is_lost(call: Call, kind: str, name: str) -> None:
    root = Path.cwd()
    arguments = BAD_INPUTS[kind][name](root)
    before = contents(root)
    answer = call(arguments)
    assert answer.status in {2, 3, 4}, answer
    assert "Traceback" not in answer.text
    assert "bug:" not in answer.text
    assert "rror:" in answer.text
    after = contents(root)
    assert {path: after.get(path) for path in before} == before
    assert "executed" not in after
    ANSWERS[kind, name] = answer


def test_the_table_in_the_docs_is_what_happened(request: Any) -> None:
    if set(ANSWERS) != set(NAMES):
        pytest.skip("only where all of this file's tests ran before")
    assert len(NAMES) >= 60
    table = _table(request.getfixturevalue("finished"))
    if os.environ.get("DMT_WRITE_TABLE"):
        TABLE.write_text(table, encoding="utf-8")
    assert _without_messages(TABLE.read_text(encoding="utf-8")) == _without_messages(table)


def _table(finished: Path) -> str:
    lines = [HEAD]
    for kind, rows in BAD_INPUTS.items():
        lines += [f"## {kind}\n", "| input | exit | message |", "|---|---|---|"]
        for name in rows:
            answer = ANSWERS[kind, name]
            lines.append(f"| {name} | {answer.status} | {_shown(answer.text)} |")
        lines.append("")
    return "\n".join(lines)


def _without_messages(table: str) -> list[str]:
    return ["|".join(line.split("|")[:3]) for line in table.splitlines() if line.startswith("|")]


def _shown(text: str) -> str:
    """The error, without warnings before it, on one line."""
    start = min(text.find(word) for word in ("error:", "Error:") if word in text)
    told = " ".join(text[start:].partition(":")[2].split()).replace("|", "\\|")
    return re.sub("'[0-9a-f]{16}'", "'...'", told)
