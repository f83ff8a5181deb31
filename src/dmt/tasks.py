"""The two tasks as data: what their training views, stores, scores and splits are. Everything else knows no task."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from dmt.config import Config
from dmt.data.augment import STREET_COLORS, Augment, Compose, build_augment, to_float
from dmt.data.draw import split_classes, split_masks
from dmt.data.images import DataSet
from dmt.data.pseudo_labels import Provenance, PseudoStore
from dmt.data.pseudo_masks import MaskStore
from dmt.data.pseudo_table import LabelStore
from dmt.data.splits import Split
from dmt.data.views import View, build_view
from dmt.scores import ImageScores, PixelScores, Scores

Draw: TypeAlias = Callable[[Config, DataSet], Split]
MakeView: TypeAlias = Callable[[Config, DataSet], View | None]
OpenStore: TypeAlias = Callable[[Path, Sequence[str], Provenance, DataSet], PseudoStore]


@dataclass(frozen=True, kw_only=True)
class Task:
    """What one task does in its own way.

    Attributes:
        name: as in the config.
        is_dense: whether every pixel is a site, and not the whole image.
        scores: how answers are scored.
        draw: which images are labeled, unlabeled or set aside.
        open_store: where a teacher's answers are kept.
        labeled_view, pseudo_view: what is cut out of an image while it is loaded; None = the image as it is.
        augment: uint8 batches -> float batches in [0, 1], on the device.
        bytes_a_site: of pseudo labels on disk; noise apart, at most.
        few_labels: labels below which none are set aside for choices: cross-validation chooses then.
    """

    name: str
    is_dense: bool
    scores: type[Scores]
    draw: Draw
    open_store: OpenStore
    labeled_view: MakeView
    pseudo_view: MakeView
    augment: Callable[[Config], Augment]
    bytes_a_site: int
    few_labels: Callable[[DataSet], int]


def _label_store(folder: Path, keys: Sequence[str], provenance: Provenance, data: DataSet) -> PseudoStore:
    return LabelStore(folder, keys, provenance, num_classes=data.num_classes)


def _mask_store(folder: Path, keys: Sequence[str], provenance: Provenance, data: DataSet) -> PseudoStore:
    return MaskStore(folder, keys, provenance, num_classes=data.num_classes, palette=data.palette)


def _whole(config: Config, data: DataSet) -> None:
    """Images of one size need no cutting: they are augmented together, on the device."""


def _crop(config: Config, data: DataSet) -> View:
    return _named_crop(config.augment, config, data)


def _pseudo_crop(config: Config, data: DataSet) -> View:
    return _named_crop("none" if config.crop.pseudo == "plain" else config.augment, config, data)


def _named_crop(name: str, config: Config, data: DataSet) -> View:
    height, width = config.crop.size or data.image_size
    low, high = config.crop.scale
    return build_view(name, crop_size=(height, width), scale=(low, high))


def _colors(config: Config) -> Augment:
    """What is left to do when views are cut: geometry is done, colors may change (not in the paper)."""
    return Compose((to_float, STREET_COLORS) if config.augment == "color" else (to_float,))


CLASSIFICATION = Task(
    name="classification",
    is_dense=False,
    scores=ImageScores,
    draw=split_classes,
    open_store=_label_store,
    labeled_view=_whole,
    pseudo_view=_whole,
    augment=lambda config: build_augment(config.augment, config.data.name),
    bytes_a_site=64,
    few_labels=lambda data: 10 * data.num_classes,
)
SEGMENTATION = Task(
    name="segmentation",
    is_dense=True,
    scores=PixelScores,
    draw=split_masks,
    open_store=_mask_store,
    labeled_view=_crop,
    pseudo_view=_pseudo_crop,
    augment=_colors,
    bytes_a_site=2,
    # One image holds several classes, so labels are not counted by class.
    few_labels=lambda data: 20,
)
TASKS: dict[str, Task] = {task.name: task for task in (CLASSIFICATION, SEGMENTATION)}
