"""A finished run's networks as a bundle whose files are still the run's own."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from dmt import __version__
from dmt.config import Config
from dmt.config_files import load_config
from dmt.data.catalog import DATASETS
from dmt.data.pseudo_masks import default_palette
from dmt.errors import CheckpointError, RunFolderError
from dmt.files import sha256
from dmt.models.bundle import Bundle
from dmt.models.description import Description, InputDescription, NetworkDescription, PreprocessingDescription
from dmt.models.weights import METADATA_KEY, REAL, SUFFIX, read_metadata
from dmt.report import story
from dmt.report.files import RunFiles, StageFiles, read_run
from dmt.run_folder import refuse_newer
from dmt.stage_files import read_facts, weights_path

_DATA_FIGURES = ("dataset", "num_labeled", "num_validation", "num_unlabeled", "num_test")
_TRAINING_FACTS = ("method", "scheme", "seed", "picked")
_METRICS = ("final", "supervised", "last_round", "ensemble")


def bundle_of_run(folder: Path, *, takes_real_numbers: bool = False) -> Bundle:
    """Describe what a finished run hands on: the network that it picked, and those of the last round where several are.

    Args:
        folder: of the run.
        takes_real_numbers: whether the caller brings images as those of training were where they held real numbers;
            a bundle takes levels alone.

    Raises:
        RunFolderError: the folder holds no finished run, or one on real numbers where those are not taken.
        CheckpointError: a stage's files are missing, changed, or do not say what is needed.
        ConfigError: the run's config cannot be read.
    """
    run = read_run(folder)
    refuse_newer(folder / "config.yaml")
    config = load_config(folder / "config.yaml")
    picked, together = story.final_stage(run), _last_round(run)
    stages = {_short_name(stage): stage for stage in [picked, *together]}
    weights = {name: _weights(folder, stage) for name, stage in stages.items()}
    told = {name: _told(path) for name, path in weights.items()}
    if not takes_real_numbers and any(one.get("numbers") == REAL for one in told.values()):
        raise RunFolderError(
            f"{folder} was trained on real numbers, which image files have none of; load the estimator that was saved."
        )
    try:
        description = Description(
            written_by=f"dmt {__version__}",
            task=config.task,
            networks={name: _network(config, stages[name], weights[name], told[name]) for name in stages},
            picked=_short_name(picked),
            ensemble=tuple(_short_name(stage) for stage in together),
            metrics={key: run.result[key] for key in _METRICS if key in run.result} | _by_validation(run),
            data={key: run.result[key] for key in _DATA_FIGURES if key in run.result},
            training={key: run.result[key] for key in _TRAINING_FACTS if key in run.result},
            **_seen(config, told[_short_name(picked)]),
        )
    except (ValidationError, KeyError, TypeError) as error:
        path = weights[_short_name(picked)]
        raise CheckpointError(
            f"{path} does not say what its network is for ({' '.join(str(error).split())}); was it written by dmt?"
        ) from error
    return Bundle(source=folder, description=description, weights=weights)


def _by_validation(run: RunFiles) -> dict[str, Any]:
    """Figures of the validation labels, where there were any: of the labels alone, and of what they picked."""
    stages = {"supervised": run.stages[0], "final": story.final_stage(run)}
    figures = {key: stage.row["validation"] for key, stage in stages.items() if "validation" in stage.row}
    return {"validation": figures} if figures else {}


def _last_round(run: RunFiles) -> list[StageFiles]:
    """The stages of the last round, where there are several."""
    last = max(stage.row["round"] for stage in run.stages)
    stages = [stage for stage in run.stages if stage.row["round"] == last]
    return stages if len(stages) > 1 and len({stage.row["network"] for stage in stages}) == len(stages) else []


def _short_name(stage: StageFiles) -> str:
    return "supervised" if stage.is_supervised else f"round-{stage.row['round']}-{stage.row['network']}"


def _weights(folder: Path, stage: StageFiles) -> Path:
    """The file of a stage that is what it was when the stage was done."""
    if not (folder / stage.folder).is_dir():
        raise CheckpointError(
            f"{folder / stage.folder} is not there any more. Put it back, or delete {folder / 'result.json'} and start "
            "the same run again."
        )
    if not (folder / stage.folder / "DONE").is_file():
        raise CheckpointError(f"{folder / stage.folder} is not done: it has no file DONE. Start the same run again.")
    read_facts(folder / stage.folder)
    return weights_path(folder / stage.folder)


def _told(path: Path) -> dict[str, Any]:
    """What a file of weights says of its network."""
    try:
        told = json.loads(read_metadata(path)[METADATA_KEY])
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"{path} says nothing of its network; it was not written by a run of dmt.") from error
    return told if isinstance(told, dict) else {}


def _network(config: Config, stage: StageFiles, path: Path, told: Mapping[str, Any]) -> NetworkDescription:
    label = stage.row["network"]
    configured = config.networks.a if label == "a" else config.networks.b
    preprocessing = told["preprocessing"]
    return NetworkDescription(
        what=stage.title,
        label=label,
        name=told["network"],
        options=configured.options,
        head_branches=configured.head_branches,
        preprocessing=PreprocessingDescription(
            mean=tuple(preprocessing["mean"]),
            std=tuple(preprocessing["std"]),
            channel_order=preprocessing["channel_order"],
            scale=preprocessing["scale"],
        ),
        weights=f"{_short_name(stage)}{SUFFIX}",
        sha256=sha256(path),
    )


def _seen(config: Config, told: Mapping[str, Any]) -> dict[str, Any]:
    """What images are, and what the classes are called and look like."""
    palette = None
    if config.task == "segmentation":
        palette = told["palette"] or default_palette(len(told["class_names"]))
    value_range, window = told.get("value_range"), config.rounds.window
    return {
        "class_names": tuple(told["class_names"]),
        "palette": None if palette is None else tuple(tuple(color) for color in palette),
        "input": InputDescription(
            # Weights of an earlier version do not say it; networks of gray images had one channel then, too.
            channels=told.get("channels", len(told["preprocessing"]["mean"])),
            value_range=None if value_range is None else (value_range[0], value_range[1]),
            exif_orientation=told.get("exif_orientation", False),
            image_size=_image_size(config, told),
            window=None if window is None else (window[0], window[1]),
        ),
    }


def _image_size(config: Config, told: Mapping[str, Any]) -> tuple[int, int] | None:
    """What images are resized to: in classification, the one size of all; else what the data say, if anything."""
    if config.task == "classification":
        height, width = told["image_size"]
        return height, width
    entry = DATASETS.get(config.data.name)
    size = config.data.image_size or (None if entry is None else entry.image_size)
    return None if size is None else (size[0], size[1])
