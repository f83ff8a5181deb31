"""result.json: a finished run's figures, in percent (contracts, section 3)."""

from collections.abc import Mapping, Sequence
from typing import Any

from dmt.choose import Choice
from dmt.config import Config
from dmt.data.parts import Parts
from dmt.run_folder import FORMAT
from dmt.scores import Scores
from dmt.setting import StageRecord
from dmt.tasks import TASKS
from dmt.types import Stage

HEADLINES = tuple(task.scores.headline for task in TASKS.values())


def build_result(
    config: Config,
    records: Sequence[StageRecord],
    validation: Mapping[Stage, Scores],
    choice: Choice,
    parts: Parts,
    *,
    ensemble: Scores | None,
    warning: str | None,
    class_names: Sequence[str],
    seconds: float,
    peak_memory_mb: int,
) -> dict[str, Any]:
    """Everything a reader or a comparison needs; `rounds` and `last_round` are as trained, before any pick.

    `rounds` begins with the baseline on all labels, whether other rounds stand on it or not.
    """
    rounds = [_round(record, validation) for record in records]
    last = _round(_record_of(choice.last, records), validation)
    last_round = [row for row in rounds if row["round"] == last["round"]]
    result: dict[str, Any] = {
        "format": FORMAT,
        "task": config.task,
        "dataset": config.data.name,
        "method": config.method,
        "scheme": "mutual" if len(last_round) > 1 else "chain",
        "seed": config.seed,
        "num_labeled": len(parts.labeled),
        "num_validation": 0 if parts.validation is None else len(parts.validation),
        "num_unlabeled": len(parts.unlabeled),
        "num_test": 0 if parts.test is None else len(parts.test),
        "seconds": round(seconds, 1),
        "peak_memory_mb": peak_memory_mb,
        "supervised": {"network": "a", **_test_figures(records[0], class_names)},
        "rounds": rounds,
        "last_round": _short(last),
    }
    if parts.test is not None:
        result["best_round"] = _short(max(rounds, key=_headline))
    if ensemble is not None:
        result["ensemble"] = ensemble.figures()
    result["picked"] = {"what": choice.stage.title, "why": choice.why}
    if warning is not None:
        result["warnings"] = [warning]
    result["final"] = _test_figures(_record_of(choice.stage, records), class_names)
    return result


def _record_of(stage: Stage, records: Sequence[StageRecord]) -> StageRecord:
    return next(record for record in records if record.stage == stage)


def _round(record: StageRecord, validation: Mapping[Stage, Scores]) -> dict[str, Any]:
    figures = record.scores["test"].figures() if "test" in record.scores else {}
    stage = record.stage
    row = {"round": stage.round, "network": stage.network, "folder": stage.folder, **record.facts, **figures}
    if record.stage in validation:
        row["validation"] = validation[record.stage].figures()
    return row


def _test_figures(record: StageRecord, class_names: Sequence[str]) -> dict[str, Any]:
    if "test" not in record.scores:
        return {}
    scores = record.scores["test"]
    return {**scores.figures(), scores.per_class_figure: scores.per_class(class_names)}


def _short(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: row[key] for key in ("round", "network", *HEADLINES) if key in row}


def _headline(row: Mapping[str, Any]) -> float:
    return next((row[key] for key in HEADLINES if key in row), 0.0)
