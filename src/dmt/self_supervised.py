"""A start from the images alone: each network learns to tell images apart, whatever the augmentation makes of them.

Contrastive learning in the manner of SimCLR (Chen et al. 2020). Its projection of two layers begins with the network's
last layer, which has other outputs for the time being, and is drawn anew for the classes. Labeled and unlabeled images
take part alike, without labels.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from dmt.checkpoint import Trainee, seconds_before
from dmt.config import Config
from dmt.config_files import config_hash
from dmt.config_sections import SelfSupervisedConfig
from dmt.data.augment import Augment, build_augment
from dmt.data.loaders import StepBatches
from dmt.data.pseudo_labels import WithoutLabels
from dmt.errors import ConfigError
from dmt.losses import contrastive_loss
from dmt.models.network import Network
from dmt.models.own import Models
from dmt.networks import projector
from dmt.randomness import generator, seeded_torch
from dmt.schedules import SCHEDULES
from dmt.setting import Arm, Setting
from dmt.stage_files import read_facts, write_stage
from dmt.stages import build_optimizer
from dmt.train import StepFunction, Training, train
from dmt.types import Batch, Stage, StepOutput, networks_of

FOLDER = "self_supervised"


def start_weights(config: Config, models: Models | None, folder: Path, *, plan: Sequence[Stage]) -> dict[str, Path]:
    """Where each network of the plan will find the weights that `pretrain` makes; empty where the config has none.

    Raises:
        ConfigError: the networks are the user's own.
    """
    if config.self_supervised is None:
        return {}
    if models is not None:
        raise ConfigError(
            "self_supervised needs networks that can be built with other outputs: name them in the config "
            "(networks.a.name) instead of bringing your own, or leave self_supervised out."
        )
    return {label: folder / FOLDER / label / "last.safetensors" for label in networks_of(plan)}


def pretrain(setting: Setting, main: Arm) -> float:
    """Make the weights that fresh networks begin with; those that are there are kept.

    Returns:
        Seconds that it took in all, whenever it was done.

    Raises:
        DMTError: as training does.
    """
    settings, seconds = setting.config.self_supervised, 0.0
    if settings is None:
        return seconds
    for label, path in setting.start_weights.items():
        title = f"self-supervised, network {label}"
        if not setting.engine.told_by_main((path.parent / "DONE").is_file):
            _pretrain_one(setting, main, settings, label, path.parent, title)
        facts = read_facts(path.parent)
        setting.observer.stage_finished(title, f"{facts['steps']:,} steps, {facts['seconds']:.1f} s")
        seconds += facts["seconds"]
    return seconds


def _pretrain_one(
    setting: Setting, main: Arm, settings: SelfSupervisedConfig, label: str, folder: Path, title: str
) -> None:
    checkpoint = folder / "checkpoint" / "state.safetensors"
    began = time.monotonic() - seconds_before(checkpoint)
    config, engine, stream = setting.config, setting.engine, f"{FOLDER}/{label}"
    with seeded_torch(generator(config.seed, f"{stream}/init")):
        network, projected = _with_projection(setting, settings, label)
    engine.place(projected)
    trainee = Trainee(projected, build_optimizer(projected, config.optimizer, engine), None)
    training = Training(
        title=title,
        stream=stream,
        trainees={label: trainee},
        batches=_batches(setting, main, settings, stream),
        steps=settings.steps,
        lr=settings.lr,
        schedule=SCHEDULES["cosine"],
        step_function=_step(settings.temperature),
        augment=_two_views(build_augment(settings.augment or config.augment, config.data.name)),
        cutmix=0.0,
        class_weights=None,
        began=began,
        checkpoint=checkpoint,
        checkpoint_config=config.checkpoint,
        config_hash=config_hash(config),
        seed=config.seed,
        workers=config.workers,
    )
    train(training, engine=engine, observer=setting.observer, metrics=setting.metrics)
    if engine.is_main:
        facts = {"steps": settings.steps, "seconds": round(time.monotonic() - began, 2)}
        write_stage(folder, Trainee(network, trainee.optimizer, None), {}, {}, facts)
    engine.wait()


def _with_projection(setting: Setting, settings: SelfSupervisedConfig, label: str) -> tuple[Network, Network]:
    """A network with hidden units in place of the classes, and the same network with the second layer on top."""
    # Never as many as classes: the layer would pass for a classifier that has learned.
    hidden = settings.hidden + (settings.hidden == setting.data.num_classes)
    network = projector(setting.config, label, setting.data, dimensions=hidden)
    head = nn.Sequential(network.backbone, nn.ReLU(), nn.Linear(hidden, settings.dimensions))
    projected = Network(
        head,
        network.preprocessing,
        num_classes=settings.dimensions,
        name=network.name,
        size_multiple=network.size_multiple,
    )
    return network, projected


def _batches(setting: Setting, main: Arm, settings: SelfSupervisedConfig, stream: str) -> StepBatches:
    """Labeled and unlabeled images in proportion, at least one of the labeled; nobody looks at their labels."""
    parts, config = main.parts, setting.config
    share = len(parts.labeled) / (len(parts.labeled) + len(parts.unlabeled))
    processes = setting.engine.world_size  # each has the same share, and at least one labeled image
    num_labeled = max(round(share * settings.batch / processes), 1) * processes
    has_unlabeled = num_labeled < settings.batch
    return StepBatches(
        labeled=parts.labeled,
        num_labeled=num_labeled,
        unlabeled=parts.unlabeled if has_unlabeled else None,
        pseudo=WithoutLabels(parts.unlabeled, config.ignore_label, dense=False) if has_unlabeled else None,
        num_pseudo=settings.batch - num_labeled,
        labeled_view=setting.labeled_view,
        pseudo_view=setting.pseudo_view,
        seed=config.seed,
        stage=stream,
        rank=setting.engine.rank,
        world_size=setting.engine.world_size,
    )


def _two_views(augment: Augment) -> Augment:
    """`(n, ...)` images -> `(2 n, ...)` views; k and n + k are of the same image."""

    def views(images: Tensor, stream: np.random.Generator) -> Tensor:
        return torch.cat([augment(images, stream), augment(images, stream)])

    return views


def _step(temperature: float) -> StepFunction:
    def step(
        networks: Mapping[str, nn.Module], batch: Batch, progress: float, stream: np.random.Generator
    ) -> StepOutput:
        (network,) = networks.values()
        return StepOutput(loss=contrastive_loss(network(batch.images), temperature=temperature))

    return step
