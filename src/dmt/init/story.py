"""The story of `dmt init`: recognize, load, choose a network and settings, try some steps, and put it down as YAML."""

import os
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dmt.assemble import draw_split, learnable, parts_of, resolve_validation
from dmt.check.estimate import Estimate, estimate, in_words
from dmt.check.measure import measure
from dmt.check.story import label_bytes
from dmt.config import Config
from dmt.config_files import dump_yaml, load_config, parse_yaml
from dmt.errors import ConfigError
from dmt.files import check_output, write_text
from dmt.init.backbones import Backbone, cached, from_file, named
from dmt.init.facts import Facts, facts_of
from dmt.init.layouts import Layout, layouts_of, no_layout
from dmt.init.recipe import Entry, default_backbone, is_small, recipe
from dmt.loading import load_data
from dmt.methods import build_method
from dmt.models.request import TaskName
from dmt.progress import Silent
from dmt.types import Observer

_WIDTH = 116
_FETCHING = (
    "With weights that learned from other photos, results are usually much better. Fetch some once, for instance by "
    "python -c 'import timm; timm.create_model(\"resnet18\", pretrained=True)', and run `dmt init` again with --force; "
    "or name a file by --weights. Image size, optimizer and lengths are other ones then."
)
_NO_TEST_PART = {
    "cut": "There is no test part: figures are those of the labels that choices are made by, which flatters them.",
    "cross_validation": "There is no test part: figures are those of a cross-validation over the labels.",
    "none": "There is no test part, and no labels are set aside: no figure will say whether unlabeled images helped.",
}
"""By where validation labels come from."""


@dataclass(frozen=True, kw_only=True)
class Start:
    """A config to begin with, and how it came about.

    Attributes:
        layout: what the folder was taken for.
        others: what else it might be.
        facts: what is in it.
        backbone: the network.
        entries: the keys of the config.
        config: the same, checked.
        estimate: what the run takes; None where that was not measured.
    """

    layout: Layout
    others: tuple[Layout, ...]
    facts: Facts
    backbone: Backbone
    entries: tuple[Entry, ...]
    config: Config
    estimate: Estimate | None

    def seen(self) -> list[str]:
        """What was found, in sentences."""
        facts, task = self.facts, self.layout.task
        label = "mask" if task == "segmentation" else "label"
        labels = f"{facts.num_labeled:,} {label}{'s' if facts.num_labeled != 1 else ''}"
        parts = [labels, f"{facts.num_unlabeled:,} unlabeled images"]
        parts += [f"{facts.num_validation:,} validation images"] if facts.num_validation else []
        parts += [f"{facts.num_test:,} images to report on" if facts.num_test else "none to report on"]
        sizes = "of one size" if facts.num_sizes == 1 else f"of {facts.num_sizes} sizes"
        names = facts.class_names
        shown = ", ".join(_plain(name) for name in names[:5]) + (" and so on" if len(names) > 5 else "")
        return [
            f"{', '.join(parts)}; {sizes}, {facts.size[0]} x {facts.size[1]} (height x width) in the middle.",
            f"{len(names)} classes: {shown}.",
            *facts.told,
        ]

    def guessed(self) -> list[str]:
        """What was guessed and why, in sentences."""
        weights = "with weights" if self.backbone.weights else "from random weights"
        told = [
            f"Layout: {self.layout.title}, since {_plain(self.layout.why)}; so the task is {self.layout.task}.",
            f"Network: {_plain(self.backbone.name)} {weights}; {_plain(self.backbone.why)}.",
        ]
        if not self.backbone.weights and not is_small(self.facts):
            told.append(_FETCHING)
        if self.facts.num_unlabeled == 0:
            told.append(
                "Every training image has a label: as it stands, this trains on the labels alone. --labels N uses N of "
                "them, and takes the other images as unlabeled."
            )
        if self.facts.num_test == 0:
            told.append(_NO_TEST_PART.get(self.config.validation.source or "", _NO_TEST_PART["cut"]))
        told += [f"It could also be {other.title} ({_plain(other.why)})." for other in self.others]
        return [*told, *(_plain(hint) for hint in self.layout.hints)]

    def text(self, command: str) -> str:
        """The config as commented YAML.

        Args:
            command: that makes it, for the head.
        """
        head = [f"Made by: {_plain(command)}", ""]
        head += [f"Seen: {line}" for line in self.seen()]
        head += ["", *self.guessed(), ""]
        if self.estimate is not None:
            head.append(f"Time: {time_in_words(self.estimate)}")
        head.append("Keys that are left out have their defaults: `dmt config` with this file shows them all.")
        return "\n".join([*_comment(head), *(line for entry in self.entries for line in _lines(entry)), ""])


def start(
    path: Path,
    *,
    task: TaskName | None = None,
    labels: int | None = None,
    weights: Path | None = None,
    network: str | None = None,
    timing: bool = True,
    observer: Observer | None = None,
) -> Start:
    """A config for a folder, or for a table of images.

    Args:
        path: the folder, or the table.
        task: where it is not to be guessed.
        labels: how many to use; None = all.
        weights: a `.safetensors` file to begin with.
        network: its name, where it is not to be guessed.
        timing: whether to measure some steps.
        observer: told of the progress.

    Raises:
        DataError: the folder has no known layout, or what it holds cannot be used.
        CheckpointError: the weights cannot be.
        ConfigError: there is no such network.
    """
    found = [layout for layout in layouts_of(path) if task in (None, layout.task)]
    if not found:
        raise no_layout(path, task)
    layout, others = found[0], tuple(found[1:])
    with _warnings_kept():
        facts = facts_of(layout).with_labels(labels)
    has_gpu = torch.cuda.is_available()
    backbone = _backbone(layout.task, facts, weights=weights, network=network, has_gpu=has_gpu)
    entries = recipe(layout.task, facts, backbone, has_gpu=has_gpu, num_cpus=os.cpu_count() or 1)
    entries.insert(0, Entry("task", layout.task, ""))
    entries.insert(
        1, Entry("method", "dmt", "`dmt list methods` shows the others; cbst and supervised are worth comparing.")
    )
    config = load_config({entry.key: entry.value for entry in entries})
    measured = _estimated(config, observer or Silent()) if timing else None
    return Start(
        layout=layout,
        others=others,
        facts=facts,
        backbone=backbone,
        entries=tuple(entries),
        config=config,
        estimate=measured,
    )


def write(begun: Start, path: Path, *, command: str, force: bool) -> None:
    """Write the config.

    Raises:
        ConfigError: the file is there already, and may not be replaced; or nothing can be written there.
    """
    check_output(path)
    if path.exists() and not force:
        raise ConfigError(f"{path} is there already. Name another file with -o, or replace it with --force.")
    text = begun.text(command)
    assert load_config(parse_yaml(text, source=str(path))) == begun.config
    write_text(path, text)


def time_in_words(needed: Estimate) -> str:
    """What a run takes, and what that stands on."""
    return (
        f"{in_words(needed.seconds)} on this machine for {needed.steps:,} steps with labeling and scores, from "
        f"{needed.measured.num_steps} measured steps of each kind; about {needed.memory_mb:,} MB of memory."
    )


def _backbone(task: TaskName, facts: Facts, *, weights: Path | None, network: str | None, has_gpu: bool) -> Backbone:
    if weights is not None:
        return from_file(weights, task=task, network=network)
    if network is not None:
        return named(network, task=task)
    held = None if is_small(facts) else cached(task)
    return held or default_backbone(task, facts, has_gpu=has_gpu)


def _estimated(config: Config, observer: Observer) -> Estimate:
    with _warnings_kept():
        data = load_data(config, None)
        config = learnable(config, data)
        method = build_method(config)
        config = resolve_validation(config, data, plan=method.plan())
        parts = parts_of(config, data, draw_split(config, data, needs_all_labels=False))
        measured = measure(config, data, parts, observer=observer)
    return estimate(config, method.plan(), parts, measured, label_bytes=label_bytes(config, parts), decoded_bytes=0)


@contextmanager
def _warnings_kept() -> Iterator[None]:
    """Within, nothing warns: `dmt check` tells all of it, and once."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def _lines(entry: Entry) -> list[str]:
    """A key with its comment above it; networks a line each."""
    comment = _comment([entry.comment]) if entry.comment else []
    if entry.key == "networks":
        below = [f"  {label}: {_flow(network)}" for label, network in entry.value.items()]
        return ["", *comment, "networks:", *below]
    return ["", *comment, f"{entry.key}: {_flow(entry.value)}"]


def _flow(value: Any) -> str:
    text = dump_yaml(value, flow=True, width=10**6)
    return text.removesuffix("\n").removesuffix("\n...")


def _comment(lines: Sequence[str]) -> list[str]:
    """Comments of moderate width; a word that is longer, such as a path, stays whole."""
    wrapped = (textwrap.wrap(_plain(line), _WIDTH, break_long_words=False, break_on_hyphens=False) for line in lines)
    return [f"# {part}".rstrip() for parts in wrapped for part in parts or [""]]


def _plain(text: str) -> str:
    """Text on one line, whatever names are in it."""
    return "".join(character if character.isprintable() else "?" for character in text)
