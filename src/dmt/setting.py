"""What all stages of a run share, and what names one stage's folder, streams and title."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from dmt.config import Config
from dmt.data.augment import Augment
from dmt.data.images import DataSet
from dmt.data.parts import Parts
from dmt.data.views import View
from dmt.engine import Engine
from dmt.methods.base import Method
from dmt.metrics_log import MetricsLog
from dmt.models.network import Network
from dmt.models.weights import load_weights
from dmt.randomness import generator
from dmt.scores import Scores
from dmt.stage_files import weights_path
from dmt.tasks import Task
from dmt.types import Observer, Stage


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all stages of a run share.

    Attributes:
        start_weights: files of weights that fresh networks begin with, by label; those that a run makes for itself.
    """

    config: Config
    method: Method
    plan: tuple[Stage, ...]
    task: Task
    data: DataSet
    engine: Engine
    build_network: Callable[[str, np.random.Generator], Network]
    start_weights: Mapping[str, Path]
    labeled_view: View | None
    pseudo_view: View | None
    augment: Augment
    observer: Observer
    metrics: MetricsLog


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A whole plan on one choice of labels: the main one, or a fold of the cross-validation.

    Attributes:
        name: names the arm's random streams; empty for the main one.
        folder: where its stages live.
        parts: its images and labels.
    """

    name: str
    folder: Path
    parts: Parts

    def path(self, stage: Stage) -> Path:
        """The folder of a stage."""
        return self.folder / stage.folder

    def stream(self, stage: Stage) -> str:
        """The name of a stage's random streams."""
        return f"{self.name}{stage.folder}"

    def title(self, stage: Stage) -> str:
        """The stage in a reader's words."""
        return f"{self.name.strip('/').replace('/', ' ')}: {stage.title}" if self.name else stage.title


@dataclass(frozen=True, kw_only=True)
class StageRecord:
    """A finished stage: facts for the result, and scores on the parts that were set aside."""

    stage: Stage
    facts: dict[str, Any]
    scores: dict[str, Scores]


def stage_of(plan: tuple[Stage, ...], network: str, number: int) -> Stage:
    """The stage that trained a network in a round; the last one where a baseline shares round 0 with a warm start."""
    return [stage for stage in plan if stage.round == number and network in stage.trains][-1]


def load_trained(setting: Setting, arm: Arm, stage: Stage) -> nn.Module:
    """The network of a finished stage, on the device."""
    network = setting.build_network(stage.network, generator(setting.config.seed, "unused"))
    load_weights(network, weights_path(arm.path(stage)), allow_missing=False)
    return setting.engine.place(network)
