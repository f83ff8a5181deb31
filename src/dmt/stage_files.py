"""The files of a finished stage: weights, scores, and the marker that makes them count."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dmt.checkpoint import Trainee
from dmt.errors import CheckpointError
from dmt.files import read_json, sha256, write_json
from dmt.models.weights import save_weights
from dmt.scores import Scores, save_scores
from dmt.types import Stage


def weights_path(folder: Path) -> Path:
    """The weights that a finished stage hands on: the average where there is one, else the last.

    Raises:
        CheckpointError: when they were taken away.
    """
    for path in (folder / "ema.safetensors", folder / "last.safetensors"):
        if path.is_file():
            return path
    raise CheckpointError(f"{folder} is marked done but holds no weights. Delete its DONE to train the stage again.")


def write_stage(
    folder: Path, trainee: Trainee, metadata: dict[str, str], scores: dict[str, Scores], facts: dict[str, Any]
) -> None:
    """Weights and scores, then the marker that makes them count, then the checkpoint goes."""
    save_weights(trainee.network, folder / "last.safetensors", metadata)
    if trainee.ema is not None:
        save_weights(trainee.ema.network, folder / "ema.safetensors", metadata)
    save_scores(folder / "scores.safetensors", scores)
    hashes = {path.name: sha256(path) for path in sorted(folder.glob("*.safetensors"))}
    write_json(folder / "DONE", {"format": 1, "facts": facts, "sha256": hashes})
    (folder / "checkpoint" / "state.safetensors").unlink(missing_ok=True)


def read_facts(folder: Path) -> dict[str, Any]:
    """The facts of a finished stage, whose files must be what they were when it was marked done.

    Raises:
        CheckpointError: a file is missing or was changed.
    """
    done = read_json(folder / "DONE")
    for name, expected in done.get("sha256", {}).items():
        path = folder / name
        if not path.is_file() or sha256(path) != expected:
            state = "was changed after it was written" if path.is_file() else "is missing"
            raise CheckpointError(
                f"{path} {state}. Put the file back, or delete {folder / 'DONE'} and the stages that stand on it to "
                "train them again."
            )
    facts: dict[str, Any] = done["facts"]
    return facts


def undone_stage(run: Path, plan: Sequence[Stage]) -> Path | None:
    """The folder of the first stage that is there and not done; one that was removed is nobody's concern."""
    folders = (run / stage.folder for stage in plan)
    return next((folder for folder in folders if folder.is_dir() and not (folder / "DONE").is_file()), None)


def plan_as_json(plan: tuple[Stage, ...]) -> list[dict[str, Any]]:
    """The plan for plan.json: each stage's fields and its folder."""
    return [{"folder": stage.folder, **asdict(stage)} for stage in plan]
