"""What every reader of one's own images finds, and how a data set for classification comes of it."""

import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from dmt.config_files import did_you_mean
from dmt.config_sections import DataConfig
from dmt.data.image_files import Readable
from dmt.data.image_list import ListedImages
from dmt.data.images import DataSet, measured
from dmt.data.pixels import PixelRule
from dmt.data.problems import refuse
from dmt.data.shards import shard_images
from dmt.data.split_files import check_disjoint, find_list, read_keys, read_lines
from dmt.errors import ConfigError, DataError
from dmt.types import UNLABELED

PARTS = ("train", "validation", "test")
_LEFT_OUT = "left out"
_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Listing:
    """Images as a reader found them, in its order.

    Attributes:
        keys: their names in split files.
        sources: their files.
        labels: the name of each one's class; None = it has no label.
        parts: the part that each belongs to: `train`, `validation` or `test`.
        origin: the folder or file that says so, for messages.
        place: where in it an image is named, for messages, from its index: `animals.csv, row 12`.
        root: the folder that lists are relative to.
    """

    keys: Sequence[str]
    sources: Sequence[Readable]
    labels: Sequence[str | None]
    parts: Sequence[str]
    origin: Path
    place: Callable[[int], str]
    root: Path


def pixel_rule(config: DataConfig) -> PixelRule:
    """What the config says of the values in image files.

    Raises:
        ConfigError: a range that is none, or an orientation asked for of bands, which have none.
    """
    value_range = None
    if config.value_range is not None:
        low, high = value_range = (config.value_range[0], config.value_range[1])
        if not low < high:
            raise ConfigError(f"data.value_range is [{low:g}, {high:g}]; the lower value comes first, and they differ.")
    rule = PixelRule(channels=config.channels or 3, value_range=value_range, exif_orientation=config.exif_orientation)
    if rule.exif_orientation and not rule.is_picture:
        raise ConfigError(
            "data.exif_orientation is for pictures of 8 bits in gray or colors; files of bands are read as they are "
            "stored. Leave it out, or leave out data.channels and data.value_range."
        )
    return rule


def check_names(keys: Sequence[str]) -> None:
    """Refuse names that a run folder's lists, which are UTF-8, cannot hold.

    Raises:
        DataError: with the first one.
    """
    for key in keys:
        if not key.isprintable() and any("\ud800" <= letter <= "\udfff" for letter in key):
            shown = key.encode("utf-8", "backslashreplace").decode("utf-8")
            refuse(DataError(f"The name of {shown} is no UTF-8 text; rename the file."), "file-name", shown)


def classified(listing: Listing, config: DataConfig, image_size: tuple[int, int] | None) -> DataSet:
    """A data set for classification.

    The lists that the config names win over what the reader found.

    Raises:
        ConfigError: what the config says cannot be.
        DataError: labels, parts or files that do not go together.
    """
    listing = _with_shards(listing, config)
    check_names(listing.keys)
    names = _class_names(listing, config)
    truth = _truth(listing, names)
    parts = _parts(listing, config)
    rule = pixel_rule(config)

    def images(part: str) -> ListedImages:
        chosen = np.flatnonzero(parts == part).tolist()
        return ListedImages(
            keys=[listing.keys[index] for index in chosen],
            sources=[listing.sources[index] for index in chosen],
            truth=truth[chosen],
            rule=rule,
            image_size=image_size,
        )

    sets, first = {part: images(part) for part in PARTS}, None
    _check_train(sets["train"], listing, names)
    for part in PARTS:
        first = sets[part].check_sizes(first)
        if part != "train":
            _check_scored(sets[part], part)
    mean, std = measured(sets["train"])
    return DataSet(
        name=config.name,
        class_names=names,
        train=sets["train"],
        test=sets["test"] if len(sets["test"]) else None,
        validation=sets["validation"] if len(sets["validation"]) else None,
        mean=mean,
        std=std,
        root=listing.root,
        pixel_rule=rule,
    )


def _with_shards(listing: Listing, config: DataConfig) -> Listing:
    """With the images in tar files as further unlabeled ones."""
    if config.shards is None:
        return listing
    members = shard_images(config.shards, root=listing.root)
    count = len(listing.keys)
    return replace(
        listing,
        keys=[*listing.keys, *(member.key for member in members)],
        sources=[*listing.sources, *members],
        labels=[*listing.labels, *[None] * len(members)],
        parts=[*listing.parts, *["train"] * len(members)],
        place=lambda index: listing.place(index) if index < count else str(members[index - count]),
    )


def _class_names(listing: Listing, config: DataConfig) -> tuple[str, ...]:
    """The classes that the config names, else those of all labels, in alphabetical order."""
    found = sorted({label for label in listing.labels if label is not None}, key=_natural)
    named = named_classes(config, root=listing.root)
    names = tuple(found) if named is None else named
    if len(found) < 2 and len(names) < 2:
        what = f"one class ({names[0]})" if names else "no label"
        raise DataError(f"{listing.origin} holds {what}; a classifier needs labels of two classes or more.")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(f"data.class_names names {twice[0]!r} twice; each class has a name of its own.")
    return names


def named_classes(config: DataConfig, *, root: Path | None) -> tuple[str, ...] | None:
    """The classes that the config names, itself or in a file; None where it names none.

    Raises:
        DataError: there is no such file.
    """
    if config.class_names is None or isinstance(config.class_names, list):
        return None if config.class_names is None else tuple(config.class_names)
    path = find_list(config.class_names, root=root, key="data.class_names")
    return tuple(line.strip() for _, line in read_lines(path))


def _natural(name: str) -> tuple[bool, int, str]:
    """Numbers by their size, before all words."""
    is_number = name.isascii() and name.isdigit()
    return not is_number, int(name) if is_number else 0, name


def _truth(listing: Listing, names: Sequence[str]) -> torch.Tensor:
    index_of: dict[str | None, int] = {name: k for k, name in enumerate(names)}
    index_of[None] = UNLABELED
    for index, label in enumerate(listing.labels):
        if label not in index_of:
            refuse(
                DataError(
                    f"{listing.place(index)}: the label {label!r} is no class; the classes are "
                    f"{', '.join(names[:_SHOWN])}{', ...' if len(names) > _SHOWN else ''}."
                    f"{did_you_mean(str(label), names)}"
                ),
                "unknown-class",
                listing.place(index),
            )
    return torch.tensor([index_of.get(label, UNLABELED) for label in listing.labels], dtype=torch.int64)


def _parts(listing: Listing, config: DataConfig) -> np.ndarray:
    """The part of each image; a list for validation or test says all of that part, and takes images from the others."""
    parts = np.array(listing.parts, dtype=object)
    given = {part: getattr(config, part) for part in ("validation", "test") if getattr(config, part) is not None}
    if not given:
        return parts
    everything = ListedImages(
        keys=listing.keys, sources=listing.sources, truth=torch.full((len(listing.keys),), UNLABELED)
    )
    lists = {
        part: read_keys(find_list(name, root=listing.root, key=f"data.{part}"), everything)
        for part, name in given.items()
    }
    check_disjoint({f"data.{part}": members for part, members in lists.items()}, everything)
    for part, members in lists.items():
        own = parts == part
        parts[own] = _LEFT_OUT
        parts[list(members)] = part
        if count := int((parts[own] == _LEFT_OUT).sum()):
            warnings.warn(
                f"data.{part} names {len(members)} images; {count} others of the {part} part of {listing.origin} are "
                "left out, and nothing is trained on them.",
                UserWarning,
                stacklevel=2,
            )
    return parts


def _check_train(train: ListedImages, listing: Listing, names: Sequence[str]) -> None:
    """Refuse training images that nothing can be learned from."""
    if len(train) == 0:
        raise DataError(f"{listing.origin} holds no training image.")
    present = set(train.truth.tolist()) - {UNLABELED}
    if not present:
        raise DataError(f"{listing.origin} holds no labeled training image; dmt learns from a few labels.")
    absent = [name for k, name in enumerate(names) if k not in present]
    if absent:
        raise DataError(
            f"{listing.origin}: no training image is labeled {absent[0]!r}"
            f"{f', nor {len(absent) - 1} further classes' if len(absent) > 1 else ''}. Label one or more of each "
            "class, or leave the class out."
        )


def _check_scored(part: ListedImages, name: str) -> None:
    without = np.flatnonzero(~part.known())
    if len(without):
        refuse(
            DataError(
                f"{part.sources[int(without[0])]} is in the {name} part but has no label, and {len(without) - 1} more "
                "are. What is scored on needs labels."
            ),
            "no-label",
            str(part.sources[int(without[0])]),
        )


def refuse_repeated(keys: Iterable[str], place: Callable[[int], str]) -> None:
    """Refuse an image that is named twice.

    Raises:
        DataError: with both places.
    """
    first: dict[str, int] = {}
    for index, key in enumerate(keys):
        if first.setdefault(key, index) != index:
            refuse(
                DataError(f"{place(index)} names {key!r}, as {place(first[key])} does. Name each image once."),
                "named-twice",
                place(index),
            )
