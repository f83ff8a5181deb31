"""The same results seen by the validation labels, so that settings can be chosen without a look at the test part."""

from collections.abc import Mapping
from typing import Any


def by_validation(result: Mapping[str, Any]) -> dict[str, Any]:
    """A run's result with figures of its validation labels in place of those of its test part.

    What was picked by these labels, or needs a pass of its own over the test part, is left out. (Which
    of a pair's networks `last_round` is was chosen by these labels, too: docs/compare.md.)

    Args:
        result: of a run that has validation labels, as result.json holds it.
    """
    rounds = [_seen(row) for row in result["rounds"]]
    last = next(row for row in rounds if _names(row) == _names(result["last_round"]))
    kept = {key: value for key, value in result.items() if key not in ("best_round", "ensemble", "final")}
    supervised = {**result["supervised"], **result["rounds"][0]["validation"]}
    return {**kept, "supervised": supervised, "rounds": rounds, "last_round": last}


def num_judges(result: Mapping[str, Any]) -> int:
    """The labels that judge: a part of their own, or in a cross-validation all labels, each by networks without it."""
    count: int = result["num_validation"] or result["num_labeled"]
    return count


def _seen(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**{key: value for key, value in row.items() if key != "validation"}, **row["validation"]}


def _names(row: Mapping[str, Any]) -> tuple[int, str]:
    return row["round"], row["network"]
