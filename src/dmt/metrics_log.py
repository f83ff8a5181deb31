"""metrics.jsonl: a line for every few steps of training, each step once however often a run was stopped."""

import json
from pathlib import Path
from typing import Any

from dmt.files import write_text


class MetricsLog:
    """Append-only, but for the lines of steps that a resumed stage does again."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, record: dict[str, Any]) -> None:
        """Append a line."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def total(self, stage: str, name: str) -> int:
        """The sum of a count over a stage's lines."""
        records = map(json.loads, self._path.read_text(encoding="utf-8").splitlines() if self._path.is_file() else ())
        return sum(record.get(name, 0) for record in records if record["stage"] == stage)

    def take(self, other: Path, stage: str) -> None:
        """Append a stage's lines of another log, in place of those that are here."""
        self.rewind(stage, -1)
        for line in other.read_text(encoding="utf-8").splitlines() if other.is_file() else ():
            record = _record(line)
            if record is not None and record.get("stage") == stage:
                self.write(record)

    def rewind(self, stage: str, step: int) -> None:
        """Drop a stage's lines past `step`, and a last line that was cut short."""
        if not self._path.is_file():
            return
        text = self._path.read_text(encoding="utf-8")
        kept = "".join(f"{line}\n" for line in text.splitlines() if _is_before(line, stage, step))
        if kept != text:
            write_text(self._path, kept)


def _is_before(line: str, stage: str, step: int) -> bool:
    record = _record(line)
    return record is not None and bool(record.get("stage") != stage or record.get("step", 0) <= step)


def _record(line: str) -> dict[str, Any] | None:
    """A line's content; None of one that was cut short."""
    try:
        record: dict[str, Any] = json.loads(line)
    except ValueError:
        return None
    return record
