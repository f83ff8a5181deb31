"""The labeled set to evaluate on: whatever the catalog can load, with its classes in the model's order."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dmt.config_files import did_you_mean, load_config
from dmt.config_sections import DataConfig
from dmt.data.catalog import DATASETS, load_dataset
from dmt.data.class_lists import CLASS_LIST
from dmt.data.images import DataSet, ImageSet
from dmt.data.parts import Part
from dmt.errors import ConfigError, DataError
from dmt.init.layouts import layouts_of
from dmt.models.description import Description
from dmt.types import UNLABELED

PARTS = ("test", "validation", "train")
_FOLDER = "folder"
"""The name of one's own data where the folder that is given has no layout that is known."""


@dataclass(frozen=True, kw_only=True)
class LabeledSet:
    """Images with labels in the model's order of classes.

    Attributes:
        title: data set and part, in words.
        part: images, and labels in the data set's own order.
        model_class: `(classes of the data set,)` the model's number of each of them.
    """

    title: str
    part: Part
    model_class: Tensor

    def labels(self, positions: Sequence[int]) -> Tensor:
        """`(n, *S)` int64 in the model's order of classes; -1 = counts nothing."""
        labels = self.part.labels(positions)
        known = (labels >= 0) & (labels < len(self.model_class))
        return torch.where(known, self.model_class[labels.clamp(0, len(self.model_class) - 1)], UNLABELED)


def labeled_set(
    description: Description,
    *,
    run: Path | None = None,
    data: str | None = None,
    overrides: Sequence[str] = (),
    part: str | None = None,
) -> LabeledSet:
    """The images of a data set whose labels are known.

    Args:
        description: of the model; images get the size that it was trained on, unless `data.image_size` says otherwise.
        run: a run folder, whose own data are meant where no others are named.
        data: a name from the catalog, or a folder or table of one's own data, in any layout that `dmt init` knows.
        overrides: further keys of the config's data section, `data.KEY=VALUE`.
        part: test, validation, or train, of which those with a known label count; None = test, or where data are named
            that have no such part, all of them.

    Raises:
        ConfigError: no data are named, or they have other classes than the model, or no such part.
        DataError: the files are missing or damaged, or no label is known.
    """
    config = _data_config(description, run=run, data=data, overrides=overrides)
    loaded = load_dataset(config, task=description.task)
    _check_channels(loaded, description)
    name, images = _part_of(loaded, part, may_be_all=data is not None)
    known = np.flatnonzero(images.known())
    if not len(known):
        raise DataError(f"No label is known of any image in the part {name} of {loaded.name}.")
    return LabeledSet(
        title=f"{loaded.name}, part {name}",
        part=Part(images, tuple(known.tolist())),
        model_class=_model_classes(loaded.class_names, description.class_names, where=loaded.name),
    )


def _data_config(
    description: Description, *, run: Path | None, data: str | None, overrides: Sequence[str]
) -> DataConfig:
    foreign = next((one for one in overrides if not one.startswith("data.")), None)
    if foreign is not None:
        raise ConfigError(f"{foreign!r} is no key of the data section; write data.KEY=VALUE, for instance data.root=x.")
    config = load_config(
        {"task": description.task, "data": _base(description.task, run, data, overrides)}, overrides
    ).data
    changes: dict[str, Any] = {}
    if config.image_size is None and description.input.image_size is not None:
        changes["image_size"] = list(description.input.image_size)
    entry = DATASETS.get(config.name)
    if entry is not None and entry.is_own:
        # One's own files are read as they were in training, unless told otherwise.
        if config.channels is None:
            changes["channels"] = description.input.channels
        if config.value_range is None and description.input.value_range is not None:
            changes["value_range"] = list(description.input.value_range)
        if "exif_orientation" not in config.model_fields_set:
            changes["exif_orientation"] = description.input.exif_orientation
        if description.task == "segmentation" and config.class_names is None and not _names_classes(config):
            # As `dmt init` has them where nothing names them.
            changes["class_names"] = list(description.class_names)
    return config.model_copy(update=changes)


def _names_classes(config: DataConfig) -> bool:
    """Whether there is a list of classes beside one's own masks, or a reader that finds them elsewhere."""
    if config.name not in ("folder", "manifest") or config.root is None:
        return True
    root = Path(config.root).expanduser()
    return ((root if root.is_dir() else root.parent) / CLASS_LIST).is_file()


def _base(task: str, run: Path | None, data: str | None, overrides: Sequence[str]) -> dict[str, Any]:
    """The data section before any override."""
    if data is None:
        if run is not None:
            return load_config(run / "config.yaml").data.model_dump()
        if not any(one.startswith("data.name=") for one in overrides):
            raise ConfigError("Name a labeled set: --data with a name from `dmt list datasets`, or a folder.")
        return {}
    path = Path(data).expanduser()
    if data in DATASETS:
        if path.exists():
            raise ConfigError(
                f"--data {data} is a data set of dmt, and also {'a folder' if path.is_dir() else 'a file'} here. Write "
                f"./{data} for that one, or data.name={data} without --data for dmt's."
            )
        return {"name": data}
    if path.exists():
        # Of several layouts the likeliest, as `dmt init` has it; of none, what one's own data have most often.
        layouts = (layout.data for layout in layouts_of(path) if layout.task == task)
        return next(layouts, {"name": _FOLDER, "root": str(path)})
    raise ConfigError(
        f"--data is {data!r}, neither a folder or table nor a name from `dmt list datasets`."
        f"{did_you_mean(data, DATASETS)}"
    )


def _check_channels(data: DataSet, description: Description) -> None:
    wanted = description.input.channels
    if data.channels != wanted and (data.channels, wanted) != (1, 3):
        raise ConfigError(
            f"{data.name} has images of {data.channels} channels; the model was trained on {wanted}. For one's own "
            f"files, set data.channels={wanted}."
        )


def _part_of(data: DataSet, part: str | None, *, may_be_all: bool) -> tuple[str, ImageSet]:
    parts = {"test": data.test, "validation": data.validation, "train": data.train}
    name = part or ("train" if data.test is None and may_be_all else "test")
    if name not in parts:
        raise ConfigError(f"The part is {name!r}; allowed are {', '.join(PARTS)}.")
    images = parts[name]
    if images is None:
        there = ", ".join(one for one, found in parts.items() if found is not None)
        raise ConfigError(f"{data.name} has no part {name}; it has {there}.")
    return name, images


def _model_classes(found: Sequence[str], wanted: Sequence[str], *, where: str) -> Tensor:
    """The model's number of each class of the data, by name."""
    if set(found) != set(wanted):
        lacking, foreign = sorted(set(wanted) - set(found)), sorted(set(found) - set(wanted))
        told = [f"{what} {', '.join(names[:5])}" for what, names in (("lacks", lacking), ("adds", foreign)) if names]
        raise ConfigError(
            f"{where} has {len(found)} classes, the model {len(wanted)}: it {' and '.join(told)}. They must be the "
            "same, in any order."
        )
    return torch.tensor([list(wanted).index(name) for name in found])
