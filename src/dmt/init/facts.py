"""What is in a folder, once its layout is known: it is loaded as a run would load it, and counted."""

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dmt.assemble import draw_split
from dmt.config import Config
from dmt.data.catalog import load_dataset
from dmt.data.class_lists import CLASS_LIST
from dmt.data.images import DataSet, ImageSet
from dmt.data.mask_coding import MAX_CLASSES
from dmt.data.masked_images import MaskedImages, count_pixels
from dmt.data.pixels import RGB, PixelRule
from dmt.errors import DataError, DMTError
from dmt.init.layouts import Layout
from dmt.init.pixels import image_files, orientation_settings, pixel_settings
from dmt.types import IGNORE_INDEX

_PROBE_SIZE = [32, 32]
"""That classifiers' images are loaded at to count them; none but a few are decoded."""
_SIZES_READ = 500
_UNEVEN = 1.5
"""Labels of the class that has most, to those of the one that has least, from which classes are not equally many."""
_OWN_MASKS = ("images and masks", "a table", "Hugging Face")
"""Layouts whose masks need a list of classes."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What there is to train on.

    Attributes:
        data: the `data` section that reads it.
        class_names: of the classes.
        num_labeled: training images whose label is known.
        num_unlabeled, num_validation, num_test: images of the other parts.
        size: (height, width) of the median image.
        num_sizes: how many sizes there are among those that were looked at.
        channels: of the images.
        fewest_labels, most_labels: of the class that has least and most, in classification.
        evens_out: whether as many labels of each class are drawn, of classes that have not equally many.
        told: sentences for the user.
    """

    data: dict[str, Any]
    class_names: tuple[str, ...]
    num_labeled: int
    num_unlabeled: int
    num_validation: int
    num_test: int
    size: tuple[int, int]
    num_sizes: int
    channels: int
    fewest_labels: int
    most_labels: int = 0
    evens_out: bool = False
    told: tuple[str, ...]

    @property
    def num_training(self) -> int:
        """Labeled and unlabeled images."""
        return self.num_labeled + self.num_unlabeled

    def with_labels(self, count: int | None) -> "Facts":
        """As if only so many labels were used, and the other images were unlabeled.

        Raises:
            DataError: there are not so many, or a list says which they are.
        """
        if count is None:
            return self
        if listed := self.data.get("labeled"):
            raise DataError(
                f"--labels is {count}, but {listed} says which images are labeled. Shorten that list, or rename it to "
                "have labels drawn from all masks."
            )
        if count > self.num_labeled:
            raise DataError(f"--labels is {count}, but {self.num_labeled} training images have a label.")
        num_classes = len(self.class_names)
        if -(-count // num_classes) > self.fewest_labels:
            raise DataError(
                f"--labels is {count}, as many of each of {num_classes} classes, but one class has "
                f"{self.fewest_labels} labels. Give at most {num_classes * self.fewest_labels}, or leave --labels out."
            )
        return replace(
            self,
            data={**self.data, "num_labeled": count},
            num_labeled=count,
            num_unlabeled=self.num_training - count,
            fewest_labels=min(self.fewest_labels, count // num_classes),
            evens_out=self.most_labels > _UNEVEN * self.fewest_labels,
        )


_VALUES_SHOWN = 10
"""Of masks, in a message."""


def facts_of(layout: Layout) -> Facts:
    """Load what a layout promises.

    Raises:
        DataError: it cannot be loaded; the message says so of the layout.
    """
    data = dict(layout.data)
    told: list[str] = []
    if data["name"] in ("folder", "manifest"):
        settings, told = _file_settings(image_files(Path(data["root"])), layout.task)
        data |= settings
    try:
        if layout.task == "segmentation" and layout.title in _OWN_MASKS and not _class_list(data).is_file():
            data["class_names"] = _guessed_classes(data)
            told.append(
                f"There is no {CLASS_LIST}: the masks hold the values 0..{len(data['class_names']) - 1}, whose names "
                "you may put in."
            )
        return _counted(layout, data, told)
    except DMTError as error:
        raise DataError(f"This looks like {layout.title} ({layout.why}), but: {error}") from error


def _file_settings(files: list[Path], task: str) -> tuple[dict[str, Any], list[str]]:
    """How files are read where it is not as pictures of 8 bits as they are stored, and sentences about it."""
    settings, sentence = pixel_settings(files)
    told = [f"The {sentence}."] if sentence else []
    if not settings and task == "classification":  # masks may have been made of images as they are stored
        settings, sentence = orientation_settings(files)
        told += [f"{sentence}."] if sentence else []
    return settings, told


def _counted(layout: Layout, data: dict[str, Any], told: list[str]) -> Facts:
    loaded, config = _load(layout.task, data)
    split = draw_split(config, loaded, needs_all_labels=False)
    sizes = _sizes(loaded.train)
    height, width = (int(np.median([size[side] for size in sizes.elements()])) for side in (0, 1))
    labeled = len(split.labeled)
    fewest, most = _counts(loaded, split.labeled) if layout.task == "classification" else (labeled, labeled)
    return Facts(
        data=data,
        class_names=loaded.class_names,
        num_labeled=labeled,
        num_unlabeled=len(split.unlabeled),
        num_validation=len(loaded.validation or ()),
        num_test=len(loaded.test or ()),
        size=(height, width),
        num_sizes=len(sizes),
        channels=loaded.channels,
        fewest_labels=fewest,
        most_labels=most,
        told=tuple(told),
    )


def _load(task: str, data: dict[str, Any]) -> tuple[DataSet, Config]:
    probe = {**data, "image_size": _PROBE_SIZE} if task == "classification" else data
    config = Config.model_validate({"task": task, "data": probe, "validation": {"source": "none"}})
    return load_dataset(config.data, task=task), config


def _counts(data: DataSet, labeled: tuple[int, ...]) -> tuple[int, int]:
    """Labels of the classes that have least and most."""
    counts = torch.bincount(data.train.labels(labeled), minlength=data.num_classes)
    return int(counts[counts > 0].min()), int(counts.max())


def _sizes(images: ImageSet) -> Counter[tuple[int, int]]:
    """Sizes in the files of images evenly chosen, by their headers."""
    rule: PixelRule = getattr(images, "rule", RGB)
    sizes: Counter[tuple[int, int]] = Counter()
    for index in range(0, len(images), max(1, -(-len(images) // _SIZES_READ))):
        with suppress(DataError):
            source = images.source(index) if hasattr(images, "source") else None
            sizes[images.size(index) if source is None else rule.size(source)] += 1
    if not sizes:
        raise DataError(f"None of the images can be read, for instance {images.key(0)}.")
    return sizes


def _class_list(data: dict[str, Any]) -> Path:
    root = Path(data["root"])
    return (root if root.is_dir() else root.parent) / CLASS_LIST


def _guessed_classes(data: dict[str, Any]) -> list[str]:
    """A name for each value that masks hold, up to the largest."""
    every = [f"class {k}" for k in range(MAX_CLASSES)]
    loaded, _ = _load("segmentation", {**data, "class_names": every})
    images = loaded.train
    assert isinstance(images, MaskedImages)
    counts = count_pixels(images, np.flatnonzero(images.known()).tolist(), num_classes=MAX_CLASSES)
    values = np.flatnonzero(counts)
    if len(values) == 0 or values.max() == 0:
        raise DataError(
            f"the masks hold the value 0 alone, and {IGNORE_INDEX}, which means ignored. The value of a pixel is its "
            "class: save a mask of one thing with 0 and 1."
        )
    highest = int(values.max())
    if highest >= 2 * len(values):
        shown = ", ".join(map(str, values[:_VALUES_SHOWN].tolist())) + (", ..." if len(values) > _VALUES_SHOWN else "")
        raise DataError(
            f"the masks hold the values {shown}, which would be {highest + 1} classes, most of them without a pixel. "
            f"The value of a pixel is the number of its class: save the masks anew with 0 .. {len(values) - 1}, or "
            f"name all {highest + 1} classes in {CLASS_LIST}."
        )
    return every[: highest + 1]
