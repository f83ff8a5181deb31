"""Keys of the section `data` that a source of images does not know: they are told, and not passed over."""

import warnings
from collections.abc import Iterable

from dmt.config_sections import DataConfig
from dmt.errors import ConfigError
from dmt.types import IGNORE_INDEX

_OF_FILES = ("validation", "test", "channels", "value_range", "exif_orientation", "shards")
"""Keys for one's own files, wherever these are named."""
_OF_ONE = {"annotations": "coco", "allow_outside": "manifest"}
"""Keys for one data set alone."""


def tell_unused(config: DataConfig, *, task: str, is_own: bool) -> None:
    """Warn of each key that has no effect on the data set that `data.name` names.

    Raises:
        ConfigError: data.ignore_index is another value than the masks of a published data set ignore.
    """
    unused = [key for key, name in _OF_ONE.items() if name != config.name]
    _warn(config, unused if is_own else (*_OF_FILES, "class_names", *unused), what=config.name)
    is_set = "ignore_index" in config.model_fields_set and config.ignore_index != IGNORE_INDEX
    if task == "segmentation" and not is_own and is_set:
        raise ConfigError(
            f"data.ignore_index is {config.ignore_index}, but what the masks of {config.name} ignore is {IGNORE_INDEX} "
            "always; leave it out."
        )


def tell_unused_by_datasets(config: DataConfig) -> None:
    """Likewise where the images are not in files, but given to `run`."""
    _warn(config, ("root", *_OF_FILES, *_OF_ONE), what="images that are given as `datasets`")


def _warn(config: DataConfig, keys: Iterable[str], *, what: str) -> None:
    for key in keys:
        if getattr(config, key) not in (None, False):
            warnings.warn(f"data.{key} has no effect on {what}.", UserWarning, stacklevel=4)
