"""A finished run as its folder tells it. Only result.json must be there; whatever else is missing is left out."""

import contextlib
import json
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from dmt.errors import CheckpointError, RunFolderError
from dmt.files import read_json
from dmt.report.terms import TERMS, Terms
from dmt.run_folder import read_result
from dmt.scores import Scores, load_scores
from dmt.types import stage_title

_SPLITS = ("labeled", "validation", "unlabeled", "test")


@dataclass(frozen=True, kw_only=True)
class StageFiles:
    """One stage of the main plan.

    Attributes:
        row: its line of `rounds` in result.json.
        folder: relative to the run folder.
        scores: by part (`test`, `validation`).
        curves: by name, the logged values as (step, value).
    """

    row: dict[str, Any]
    folder: str
    scores: dict[str, Scores] = field(default_factory=dict)
    curves: dict[str, list[tuple[int, float]]] = field(default_factory=dict)

    @property
    def is_supervised(self) -> bool:
        """Whether it is the baseline on all labels alone."""
        return self.folder == "supervised"

    @property
    def title(self) -> str:
        """The stage in the words that result.json names it by."""
        return stage_title(self.row)


@dataclass(frozen=True, kw_only=True)
class RunFiles:
    """A run folder, read.

    Attributes:
        folder: as it was given.
        name: the folder's own name.
        result: result.json.
        config_text: config.yaml as it is, empty where it is missing.
        config: the same, parsed.
        environment: environment.json.
        splits: the images' names by part.
        classes: their names, none where they are missing.
        stages: of the main plan, in order.
    """

    folder: str
    name: str
    result: dict[str, Any]
    config_text: str
    config: dict[str, Any]
    environment: dict[str, Any]
    splits: dict[str, list[str]]
    classes: list[str]
    stages: tuple[StageFiles, ...]

    @property
    def terms(self) -> Terms:
        """The words and figures of its task."""
        return TERMS[self.result["task"]]

    @property
    def networks(self) -> list[str]:
        """The labels of all networks."""
        return sorted({stage.row["network"] for stage in self.stages})

    @property
    def starts_from_samples(self) -> bool:
        """Whether its networks start from samples of the labels, so that the baseline is a stage of its own."""
        return any(stage.row["round"] == 0 and stage.row["network"] == "a" for stage in self.stages[1:])

    def figure(self, stage: StageFiles, part: str) -> float | None:
        """The figure that a stage is judged by, on `test` or `validation`, percent."""
        figures = stage.row if part == "test" else stage.row.get("validation", {})
        value: float | None = figures.get(self.terms.headline)
        return value


def read_run(folder: Path) -> RunFiles:
    """Read what a finished run left.

    Raises:
        RunFolderError: the folder holds no result.json, or one without figures, so there is nothing to tell.
        CheckpointError: it is not whole.
    """
    result = _result(folder / "result.json")
    config_text = _text(folder / "config.yaml")
    curves = _curves(folder / "metrics.jsonl")
    return RunFiles(
        folder=str(folder),
        name=folder.resolve().name,
        result=result,
        config_text=config_text,
        config=_yaml(config_text),
        environment=_json(folder / "environment.json") or {},
        splits={part: _text(folder / "splits" / f"{part}.txt").splitlines() for part in _SPLITS},
        classes=_json_lines(folder / "splits" / "classes.jsonl"),
        stages=tuple(_stage(folder, row, curves) for row in result["rounds"]),
    )


def _result(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise RunFolderError(f"{path.parent} holds no result.json, so no finished run. Start the same run again first.")
    result = read_result(path)
    if result.get("task") not in TERMS:
        raise RunFolderError(f"{path} has the task {result.get('task')!r}; this version knows {', '.join(TERMS)}.")
    return result


def _stage(folder: Path, row: dict[str, Any], curves: dict[str, dict[str, list[tuple[int, float]]]]) -> StageFiles:
    name = row["folder"]
    scores = _held_out_scores(folder, name) | _scores(folder / name / "scores.safetensors")
    return StageFiles(row=row, folder=name, scores=scores, curves=curves.get(name, {}))


def _held_out_scores(folder: Path, stage: str) -> dict[str, Scores]:
    """Of a cross-validation: each label by the network that did not see it, as the choice was made."""
    found = [_scores(fold / stage / "scores.safetensors") for fold in sorted((folder / "folds").glob("*"))]
    held_out = [scores["validation"] for scores in found if "validation" in scores]
    return {"validation": type(held_out[0]).pool(held_out)} if held_out and len(held_out) == len(found) else {}


def _scores(path: Path) -> dict[str, Scores]:
    try:
        return load_scores(path)
    except CheckpointError:
        return {}


def _curves(path: Path) -> dict[str, dict[str, list[tuple[int, float]]]]:
    """Stage -> name -> values by step; what a resumed run logged again replaces what it logged before."""
    values: dict[str, dict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    for line in _text(path).splitlines():
        with contextlib.suppress(ValueError, KeyError, TypeError):  # a killed run may leave half a line
            record = json.loads(line)
            for name in record.keys() - {"stage", "step"}:
                values[record["stage"]][name][int(record["step"])] = float(record[name])
    return {stage: {name: sorted(points.items()) for name, points in named.items()} for stage, named in values.items()}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _json(path: Path) -> Any:
    try:
        return read_json(path)
    except (OSError, ValueError):
        return None


def _json_lines(path: Path) -> list[Any]:
    try:
        return [json.loads(line) for line in _text(path).splitlines()]
    except ValueError:
        return []


def _yaml(text: str) -> dict[str, Any]:
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError:
        return {}
    return values if isinstance(values, dict) else {}
