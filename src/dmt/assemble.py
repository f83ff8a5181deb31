"""From a config to the parts of a run: data, splits, networks. Names of registries are checked here."""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn
from torch.utils.data import Dataset

from dmt.config import Config
from dmt.data.catalog import load_dataset
from dmt.data.images import DataSet
from dmt.data.own import data_set_from_torch
from dmt.data.parts import Part, Parts, UnlabeledPart
from dmt.data.split_files import read_keys, read_labeled_keys, read_split, write_split
from dmt.data.splits import Split, draw_split, folds, split_known
from dmt.errors import ConfigError
from dmt.models.network import Network, Preprocessing, check_output
from dmt.models.registry import build_network
from dmt.randomness import generator, seeded_torch
from dmt.stages import Arm
from dmt.types import UNLABELED, Stage

FEW_LABELS_PER_CLASS = 10
"""Below this, setting labels aside costs more than it tells, and validation is by cross-validation."""

ModelFactory = Callable[[], nn.Module]


def load_data(config: Config, datasets: Mapping[str, Dataset[Any]] | None) -> DataSet:
    """The data set that the config names, or the user's own torch data sets.

    Raises:
        ConfigError: an unknown name, or a class that would be ignored.
        DataError: files or parts that are missing or broken.
    """
    image_size = tuple(config.data.image_size) if config.data.image_size else None
    if datasets is not None:
        data = data_set_from_torch(datasets, name=config.data.name, image_size=image_size)  # type: ignore[arg-type]
    else:
        root = Path(config.data.root).expanduser() if config.data.root else None
        data = load_dataset(config.data.name, root=root, image_size=image_size)  # type: ignore[arg-type]
    if 0 <= config.data.ignore_index < data.num_classes:
        name = data.class_names[config.data.ignore_index]
        raise ConfigError(
            f"data.ignore_index is {config.data.ignore_index}, which is class {name!r}; use -1, or a number above "
            f"{data.num_classes - 1}."
        )
    return data


def resolve_validation(config: Config, data: DataSet, *, plan: Sequence[Stage]) -> Config:
    """Settle where the labels for choices come from, where the config leaves it open."""
    if config.validation.source is not None:
        if config.validation.source != "none" and data.validation is not None:
            raise ConfigError(
                f"validation.source is {config.validation.source!r}, but the data bring a validation part; "
                "leave validation.source out."
            )
        return config
    if data.validation is not None or len(plan) == 1:
        source = "none"  # the data bring their own part, or there is nothing to choose from
    elif _num_labeled(config, data) < FEW_LABELS_PER_CLASS * data.num_classes:
        source = "cross_validation"
    else:
        source = "cut"
    return config.model_copy(update={"validation": config.validation.model_copy(update={"source": source})})


def build_arms(config: Config, data: DataSet, folder: Path, *, needs_all_labels: bool) -> tuple[Arm, list[Arm]]:
    """The main arm, and one for each fold where choices come from a cross-validation.

    The split is drawn once and kept as text in the run folder; a resume reads it back.
    """
    labels = data.train.labels(range(len(data.train))).numpy()
    split = _split(config, data, labels, folder / "splits", needs_all_labels=needs_all_labels)
    main = Arm(name="", folder=folder, parts=_parts(data, split, split.labeled, data.validation))
    if config.validation.source != "cross_validation" or needs_all_labels:
        return main, []
    cuts = folds(
        labels,
        split.labeled,
        num_folds=config.validation.num_folds,
        generator=generator(config.split_seed, "folds"),
    )
    arms = []
    for number, (labeled, held_out) in enumerate(cuts):
        parts = _parts(data, split, labeled, None, held_out)
        arms.append(Arm(name=f"folds/{number}/", folder=folder / "folds" / str(number), parts=parts))
    return main, arms


def network_builder(
    config: Config, data: DataSet, models: Mapping[str, nn.Module | ModelFactory] | None, *, plan: Sequence[Stage]
) -> Callable[[str, np.random.Generator], Network]:
    """A function from a network's label and a stream to a new network with its initial weights.

    Each network of the plan is built and tried once here, so that a name or an output that does not fit is an error
    before any training.
    """

    def build(label: str, stream: np.random.Generator) -> Network:
        with seeded_torch(stream):
            return _configured_network(config, label, data) if models is None else _own_network(models, label, data)

    for label in sorted({label for stage in plan for label in stage.trains}):
        check_output(build(label, generator(config.seed, "unused")), data.train.images([0, 1]).float() / 255)
    return build


def _configured_network(config: Config, label: str, data: DataSet) -> Network:
    network = config.networks.a if label == "a" else config.networks.b
    return build_network(
        network.name,
        num_classes=data.num_classes,
        channels=data.channels,
        mean=data.mean,
        std=data.std,
        weights=network.weights,
        allow_missing=network.allow_missing,
        options=network.options,
        key=f"networks.{label}",
    )


def _split(config: Config, data: DataSet, labels: np.ndarray, folder: Path, *, needs_all_labels: bool) -> Split:
    if (folder / "test.txt").is_file():
        return read_split(folder, train=data.train, test=data.test)
    split = _oracle_split(labels) if needs_all_labels else _draw(config, data, labels)
    write_split(split, folder, train=data.train, test=data.test)
    return split


def _oracle_split(labels: np.ndarray) -> Split:
    missing = int((labels == UNLABELED).sum())
    if missing:
        raise ConfigError(
            f"method=oracle trains on the label of every image, but {missing} of {len(labels)} have none. Use a data "
            "set whose labels are all known, or method=supervised."
        )
    return Split(labeled=tuple(range(len(labels))), unlabeled=())


def _draw(config: Config, data: DataSet, labels: np.ndarray) -> Split:
    assert config.validation.source is not None
    arguments: dict[str, Any] = {
        "num_classes": data.num_classes,
        "num_unlabeled": config.data.num_unlabeled,
        "validation_source": config.validation.source,
        "validation_size": config.validation.size,
        "generator": generator(config.split_seed, "split"),
        "class_names": data.class_names,
    }
    if config.data.labeled is not None:
        listed = read_labeled_keys(Path(config.data.labeled), data.train, labels)
        return split_known(listed, labels, **arguments)
    if config.data.num_labeled is None:
        return split_known(np.flatnonzero(labels != UNLABELED), labels, **arguments)
    return draw_split(labels, num_labeled=config.data.num_labeled, **arguments)


def _num_labeled(config: Config, data: DataSet) -> int:
    if config.data.num_labeled is not None:
        return config.data.num_labeled
    if config.data.labeled is not None:
        return len(read_keys(Path(config.data.labeled), data.train))
    return int((data.train.labels(range(len(data.train))) != UNLABELED).sum())


def _parts(
    data: DataSet, split: Split, labeled: tuple[int, ...], own_validation: Any, held_out: tuple[int, ...] = ()
) -> Parts:
    """An arm's images; folds are not scored on the test part, which decides nothing."""
    set_aside = held_out or split.validation
    validation = Part(data.train, set_aside) if set_aside else None
    if own_validation is not None:
        validation = Part(own_validation, tuple(range(len(own_validation))))
    truth_known = bool((data.train.labels(list(split.unlabeled)) >= 0).all()) if split.unlabeled else False
    return Parts(
        num_classes=data.num_classes,
        labeled=Part(data.train, labeled),
        unlabeled=UnlabeledPart(data.train, split.unlabeled, has_truth=truth_known),
        validation=validation,
        test=None if held_out else Part(data.test, tuple(range(len(data.test)))),
    )


def _own_network(models: Mapping[str, nn.Module | ModelFactory], label: str, data: DataSet) -> Network:
    if label not in models:
        raise ConfigError(f"models has no network {label!r}; it holds {', '.join(models) or 'nothing'}.")
    given = models[label]
    module = deepcopy(given) if isinstance(given, nn.Module) else given()
    plain = Preprocessing(mean=(0.0,) * data.channels, std=(1.0,) * data.channels)
    return Network(module, plain, num_classes=data.num_classes, name=f"own network {label}")
