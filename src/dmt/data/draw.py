"""From a config and a data set to a split: which images are labeled, unlabeled, or set aside for choices."""

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dmt.config import Config
from dmt.data.images import DataSet
from dmt.data.mask_splits import draw_masks
from dmt.data.split_files import check_disjoint, find_list, read_keys, read_labeled_keys
from dmt.data.splits import Split, draw_split, split_known, take_unlabeled
from dmt.randomness import generator
from dmt.types import BY_SHARES, UNLABELED

_FEW_LABELS = 10
"""A class; with more, one label hardly changes the share of a class."""


def split_classes(config: Config, data: DataSet) -> Split:
    """Classification: class-balanced, or the labeled images that the user names.

    Raises:
        ConfigError: more is asked for than there is.
        DataError: a list that cannot be read, or names an image without a label.
    """
    known = data.train.labels(range(len(data.train))).numpy()
    labels, unlabeled = known.copy(), _unlabeled(config, data)
    hidden = np.zeros(len(labels), dtype=bool)
    hidden[list(unlabeled or ())] = True  # their labels are not looked at, not even to draw a balanced set
    if data.labeled is not None and config.data.labeled is None:
        hidden |= ~np.isin(np.arange(len(labels)), data.labeled)
    labels[hidden] = UNLABELED
    arguments = _common(config) | {
        "num_classes": data.num_classes,
        "generator": generator(config.split_seed, "split"),
        "class_names": data.class_names,
    }
    if unlabeled is not None:
        arguments["num_unlabeled"] = None  # taken from the list below
    if config.data.labeled is not None:
        listed = read_labeled_keys(_labeled_list(config, data), data.train, known)
        check_disjoint({"the labeled list": listed.tolist(), "the unlabeled list": unlabeled or ()}, data.train)
        split = split_known(listed, labels, **arguments)
    elif config.data.num_labeled is None:
        split = split_known(np.flatnonzero(labels != UNLABELED), labels, **arguments)
    else:
        _warn_uneven(config, config.data.num_labeled, data.num_classes)
        split = draw_split(labels, num_labeled=config.data.num_labeled, **arguments)
    if unlabeled is None:
        return split
    drawn = generator(config.split_seed, "unlabeled").permutation(unlabeled)  # a list may be sorted by class
    return replace(split, unlabeled=take_unlabeled(drawn.tolist(), config.data.num_unlabeled))


def split_masks(config: Config, data: DataSet) -> Split:
    """Segmentation: the first images of a random order, or of a published one; nested, and not balanced by class.

    Raises:
        ConfigError: more is asked for than there is.
        DataError: a list that cannot be read, or names an image without a mask.
    """
    published = data.reference_splits(config.split_seed) if data.reference_splits is not None else None
    drawn = generator(config.split_seed, "split").permutation(len(data.train)).tolist()
    return draw_masks(
        drawn if published is None else published,
        labeled=_candidates(config, data),
        unlabeled=_unlabeled(config, data),
        num_labeled=config.data.num_labeled,
        **_common(config),
    )


def num_labels(config: Config, data: DataSet) -> int:
    """How many labels a config asks for, those of `cut` included."""
    return config.data.num_labeled if config.data.num_labeled is not None else len(_candidates(config, data))


def _candidates(config: Config, data: DataSet) -> tuple[int, ...]:
    """Images that may be labeled ones: those that the config or the data name, else all whose label is known."""
    unlabeled = _unlabeled(config, data)
    if config.data.labeled is None and data.labeled is None:
        known = data.train.known()
        known[list(unlabeled or ())] = False
        return tuple(np.flatnonzero(known).tolist())
    named = data.labeled or ()
    if config.data.labeled is not None:
        labels = np.where(data.train.known(), 0, UNLABELED)
        named = tuple(read_labeled_keys(_labeled_list(config, data), data.train, labels).tolist())
    if unlabeled is not None:
        check_disjoint({"the labeled list": named, "the unlabeled list": unlabeled}, data.train)
    return named


def _unlabeled(config: Config, data: DataSet) -> tuple[int, ...] | None:
    """The images to be used without labels where the config or the data name them."""
    if config.data.unlabeled is None:
        return data.unlabeled
    return read_keys(find_list(config.data.unlabeled, root=data.root, key="data.unlabeled"), data.train)


def _warn_uneven(config: Config, num_labeled: int, num_classes: int) -> None:
    """A few labels that cannot be drawn evenly make some classes look much more common than others."""
    rounds = config.rounds
    takes_shares = rounds.alignment == "labeled_shares" or rounds.selection in BY_SHARES
    if takes_shares and num_labeled % num_classes and num_labeled < _FEW_LABELS * num_classes:
        warnings.warn(
            f"data.num_labeled is {num_labeled} of {num_classes} classes: some have one label more than others, which "
            f"rounds.alignment and rounds.selection take for the classes' shares. Use a multiple of {num_classes}.",
            stacklevel=2,
        )


def _labeled_list(config: Config, data: DataSet) -> Path:
    assert config.data.labeled is not None
    return find_list(config.data.labeled, root=data.root, key="data.labeled")


def _common(config: Config) -> dict[str, Any]:
    assert config.validation.source is not None
    return {
        "num_unlabeled": config.data.num_unlabeled,
        "validation_source": config.validation.source,
        "validation_size": config.validation.size,
    }
