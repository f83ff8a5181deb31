"""What a check has to say: findings by level, alike ones counted together."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from dmt.data.problems import Problem

Level: TypeAlias = Literal["error", "warning", "note"]
LEVELS: tuple[Level, ...] = ("error", "warning", "note")
"""error: training would end, or its result be wrong; warning: likely not what is meant; note: good to know."""

MAX_KEPT = 1000
"""Sentences kept of one kind: the rest is counted, so that memory does not grow with what is wrong."""


@dataclass
class Finding:
    """All that was found of one kind.

    Attributes:
        level: how bad it is.
        code: names the kind, for programs.
        where: the first file, row or key that it was found at.
        messages: a sentence for each place, the first ones.
        count: how many places there are.
    """

    level: Level
    code: str
    where: str
    messages: list[str]
    count: int

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "level": self.level,
            "code": self.code,
            "message": self.messages[0],
            "example": self.where,
            "count": self.count,
            "messages": self.messages,
        }


@dataclass
class Findings:
    """Findings in the making: by level, then in the order in which they turned up."""

    _found: dict[tuple[Level, str], Finding] = field(default_factory=dict)
    _places: set[str] = field(default_factory=set)

    def add(self, level: Level, code: str, message: str, *, where: str, count: int = 1) -> None:
        """Note one more place, or `count` of them that one sentence tells of."""
        finding = self._found.setdefault((level, code), Finding(level, code, where, [], 0))
        finding.count += count
        if len(finding.messages) < MAX_KEPT:
            finding.messages.append(message)

    def add_problem(self, level: Level, problem: Problem) -> None:
        """Note a problem of a file or row, unless one of the same file or row is there."""
        if problem.where not in self._places:
            self._places.add(problem.where)
            self.add(level, problem.code, problem.message, where=problem.where)

    def add_problems(self, level: Level, problems: Iterable[Problem]) -> None:
        """Note several problems."""
        for problem in problems:
            self.add_problem(level, problem)

    def all(self) -> list[Finding]:
        """Every finding, errors first."""
        return sorted(self._found.values(), key=lambda finding: LEVELS.index(finding.level))

    def number(self, level: Level) -> int:
        """How many places there are of one level."""
        return sum(finding.count for finding in self._found.values() if finding.level == level)
