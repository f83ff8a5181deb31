"""The data of a run: what the config names or the user brings, refused where the rest of the config cannot use it."""

from collections.abc import Iterator, Mapping
from typing import Any

from dmt.config import Config
from dmt.data.augment import ON_LEVELS, WITHIN_UNIT, augment_named, build_augment
from dmt.data.catalog import load_dataset
from dmt.data.images import DataSet, readable_sizes, value_span
from dmt.data.listing import named_classes
from dmt.data.own import data_set_from_torch, masked_data_set
from dmt.data.unreadable import first_readable
from dmt.data.unused_keys import tell_unused_by_datasets
from dmt.errors import ConfigError
from dmt.tasks import TASKS

_ROUNDING = 1.0e-5
"""By so much a resize of values in [0, 1] may leave them."""


def load_data(config: Config, datasets: Mapping[str, Any] | DataSet | None) -> DataSet:
    """The data set that the config names, or the user's own torch data sets, arrays or `DataSet`.

    Raises:
        ConfigError: an unknown name, a class that would be ignored, an augmentation that there is not or for other
            images, or images of several sizes without `crop.size`.
        DataError: files or parts that are missing or broken.
    """
    if datasets is None:
        data = load_dataset(config.data, task=config.task)
    else:
        data = datasets if isinstance(datasets, DataSet) else _own_data(config, datasets)
    if 0 <= config.ignore_label < data.num_classes:
        name = data.class_names[config.ignore_label]
        raise ConfigError(
            f"data.ignore_index is {config.ignore_label}, which is class {name!r}; use -1, or a number above "
            f"{data.num_classes - 1}."
        )
    if config.self_supervised is not None and config.self_supervised.augment is not None:
        # The run's own is built with its setting; this one not before the network's turn comes.
        build_augment(config.self_supervised.augment, config.data.name, key="self_supervised.augment")
    if data.channels not in (1, 3):
        _check_channels(config, data)
    if first_readable(data.train).is_floating_point():
        _check_augments(config, data)
    if TASKS[config.task].is_dense:
        _check_crop(config, data)
    return data


def _own_data(config: Config, datasets: Mapping[str, Any]) -> DataSet:
    tell_unused_by_datasets(config.data)
    size, names = config.data.image_size, named_classes(config.data, root=None)
    image_size = None if size is None else (size[0], size[1])
    if not TASKS[config.task].is_dense:
        return data_set_from_torch(datasets, name=config.data.name, image_size=image_size, class_names=names)
    return masked_data_set(
        datasets,
        name=config.data.name,
        image_size=image_size,
        class_names=names,
        ignore_index=config.data.ignore_index,
    )


def _check_augments(config: Config, data: DataSet) -> None:
    """Refuse augmentations that would turn real numbers into others."""
    for key, name, chosen in _augments(config):
        if chosen in ON_LEVELS:
            raise ConfigError(
                f"{key}={name} changes levels from 0 to 255, and these images are real numbers. Use another "
                "augmentation, or none."
            )
        low, high = value_span(data.train) if chosen in WITHIN_UNIT else (0.0, 1.0)
        if low < -_ROUNDING or high > 1 + _ROUNDING:
            raise ConfigError(
                f"{key}={name} cuts off values outside [0, 1], and these images are real numbers from {low:g} to "
                f"{high:g}. Use {key}=none, or bring the images into [0, 1]."
            )


def _check_channels(config: Config, data: DataSet) -> None:
    """Refuse augmentations that are of gray or RGB images alone; they would fail at some draw."""
    for key, name, chosen in _augments(config):
        if chosen in ON_LEVELS:
            raise ConfigError(
                f"{key}={name} is for images of 1 or 3 channels, and these have {data.channels}. Use another "
                "augmentation, or none."
            )


def _augments(config: Config) -> Iterator[tuple[str, str, str]]:
    """Of each augmentation its key, the name that stands there, and the name of what that comes to."""
    views = None if config.self_supervised is None else config.self_supervised.augment
    for key, name in (("augment", config.augment), ("self_supervised.augment", views)):
        if name is not None:
            yield key, name, name if TASKS[config.task].is_dense else augment_named(name, config.data.name)


def _check_crop(config: Config, data: DataSet) -> None:
    """Without `crop.size` views are as large as the images, which must be of one size then."""
    if config.crop.size is not None:
        return
    first = data.image_size
    for other, (height, width) in readable_sizes(data.train):
        if (height, width) == first:
            continue
        raise ConfigError(
            f"crop.size is not set, and training images differ in size: {data.train.key(0)} is {first[0]} x {first[1]} "
            f"(height x width), {data.train.key(other)} is {height} x {width}. Set crop.size=[HEIGHT, WIDTH], the size "
            "of what is cut out of each."
        )
