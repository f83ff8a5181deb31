"""result.json: a finished run's figures, in percent (contracts, section 3)."""

from collections.abc import Mapping, Sequence
from typing import Any

from dmt.choose import Choice
from dmt.config import Config
from dmt.data.parts import Parts
from dmt.evaluate import Scores, ensemble
from dmt.stages import StageRecord
from dmt.types import Stage

FORMAT = 1


def build_result(
    config: Config,
    records: Sequence[StageRecord],
    validation: Mapping[Stage, Scores],
    choice: Choice,
    parts: Parts,
    *,
    class_names: Sequence[str],
    seconds: float,
    peak_memory_mb: int,
) -> dict[str, Any]:
    """Everything a reader or a comparison needs; `rounds` and `last_round` are as trained, before any pick."""
    rounds = [_round(record, validation) for record in records]
    last = _round(_record_of(choice.last, records), validation)
    result: dict[str, Any] = {
        "format": FORMAT,
        "task": config.task,
        "dataset": config.data.name,
        "method": config.method,
        "scheme": config.scheme,
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
        "best_round": _short(max(rounds, key=lambda one: one.get("accuracy", 0.0))),
    }
    final_round = [record for record in records if record.stage.round == rounds[-1]["round"]]
    if len(final_round) > 1 and parts.test is not None:
        result["ensemble"] = ensemble([record.scores["test"] for record in final_round]).figures()
    result["picked"] = {"what": choice.stage.title, "why": choice.why}
    result["final"] = _test_figures(_record_of(choice.stage, records), class_names)
    return result


def _record_of(stage: Stage, records: Sequence[StageRecord]) -> StageRecord:
    return next(record for record in records if record.stage == stage)


def _round(record: StageRecord, validation: Mapping[Stage, Scores]) -> dict[str, Any]:
    figures = record.scores["test"].figures() if "test" in record.scores else {}
    row = {"round": record.stage.round, "network": record.stage.network, **record.facts, **figures}
    if record.stage in validation:
        row["validation"] = validation[record.stage].figures()
    return row


def _test_figures(record: StageRecord, class_names: Sequence[str]) -> dict[str, Any]:
    if "test" not in record.scores:
        return {}
    scores = record.scores["test"]
    return {**scores.figures(), "per_class_accuracy": scores.per_class(class_names)}


def _short(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: row[key] for key in ("round", "network", "accuracy") if key in row}
