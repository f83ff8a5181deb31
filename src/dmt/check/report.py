"""What a check found, as values for programs; the command line shows the same to people."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dmt.check.balance import imbalance
from dmt.check.estimate import Estimate, in_words
from dmt.check.findings import Findings
from dmt.check.places import Place

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Report:
    """The outcome of a check.

    Attributes:
        config: the preset or file that was checked.
        task, dataset, method: as in the config; empty where it could not be read.
        findings: everything that was found.
        places: the parts of the run by name, as far as the check came.
        estimate: what the run needs; None where it was not measured.
    """

    config: str
    task: str
    dataset: str
    method: str
    findings: Findings
    places: Mapping[str, Place]
    estimate: Estimate | None

    @property
    def is_fit(self) -> bool:
        """Whether there is no error."""
        return self.findings.number("error") == 0

    def as_json(self) -> dict[str, Any]:
        """Plain values, the same keys always."""
        labeled = self.places.get("labeled")
        estimate = None
        if self.estimate is not None:
            estimate = {**self.estimate.as_json(), "in_words": in_words(self.estimate.seconds)}
        return {
            "format": FORMAT,
            "config": self.config,
            "task": self.task,
            "dataset": self.dataset,
            "method": self.method,
            "errors": self.findings.number("error"),
            "warnings": self.findings.number("warning"),
            "notes": self.findings.number("note"),
            "class_names": list(labeled.class_names) if labeled else [],
            "imbalance": imbalance(labeled.counts) if labeled else None,
            "parts": {part: place.as_json() for part, place in self.places.items()},
            "findings": [finding.as_json() for finding in self.findings.all()],
            "estimate": estimate,
        }
