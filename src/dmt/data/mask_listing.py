"""What every reader of one's own masks finds, and how a data set for segmentation comes of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dmt.config_sections import DataConfig
from dmt.data.class_lists import ClassList
from dmt.data.images import DataSet, measured
from dmt.data.listing import check_names, pixel_rule
from dmt.data.mask_coding import plain_coding, voc_palette
from dmt.data.mask_sets import PHOTO_MEAN, PHOTO_STD
from dmt.data.masked_images import ImageFile, MaskedImages, count_pixels
from dmt.data.pixels import RGB
from dmt.data.shards import shard_images
from dmt.errors import ConfigError, DataError


@dataclass(frozen=True, kw_only=True)
class MaskListing:
    """Images and masks as a reader found them.

    Attributes:
        files: in the order of the set.
        classes: what the masks hold.
        origin: where the masks come from, for messages.
        hint: how an image gets a mask, for messages.
        root: the folder that lists are relative to.
    """

    files: tuple[ImageFile, ...]
    classes: ClassList
    origin: Path
    hint: str
    root: Path


def segmented(
    listing: MaskListing,
    config: DataConfig,
    image_size: tuple[int, int] | None,
    *,
    parts: Callable[[MaskedImages], Mapping[str, Sequence[int]]],
) -> DataSet:
    """A data set for segmentation.

    Args:
        listing: what was found.
        config: ignored values, pixel rule.
        image_size: (height, width) to resize to.
        parts: from all images to the members of `labeled`, `unlabeled`, `validation` and `test`; without `labeled` all
            training images with a mask are, without `unlabeled` all others.

    Raises:
        ConfigError: data.ignore_index is a class.
        DataError: images and masks differ in size, or a mask cannot be read.
    """
    names = listing.classes.names
    if 0 <= config.ignore_index < len(names):
        raise ConfigError(
            f"data.ignore_index is {config.ignore_index}, which is class {names[config.ignore_index]!r}; use -1 "
            f"(nothing is ignored), or a number above {len(names) - 1}."
        )
    members = [] if config.shards is None else shard_images(config.shards, root=listing.root)
    everything = MaskedImages(
        files=(*listing.files, *(ImageFile(member.key, member, None) for member in members)),
        coding=plain_coding(names, ignore_index=config.ignore_index, colors=listing.classes.colors),
        image_size=image_size,
        rule=pixel_rule(config),
    )
    check_names([everything.key(index) for index in range(len(everything))])
    everything.check_sizes(tolerant=config.max_unreadable > 0)
    return _data_set(everything, parts(everything), listing, name=config.name)


def _data_set(
    everything: MaskedImages, parts: Mapping[str, Sequence[int]], listing: MaskListing, *, name: str
) -> DataSet:
    names = listing.classes.names
    scored = {key: everything.subset(parts[key]) for key in ("validation", "test") if parts.get(key)}
    aside = {index for key in scored for index in parts[key]}
    pool = [index for index in range(len(everything)) if index not in aside]
    train = everything.subset(pool)
    place = {index: position for position, index in enumerate(pool)}
    listed = {key: tuple(place[index] for index in parts[key]) for key in ("labeled", "unlabeled") if key in parts}
    unlabeled = listed.get("unlabeled")
    masked = set(np.flatnonzero(train.known()).tolist())
    labeled = listed.get("labeled", tuple(sorted(masked - set(unlabeled or ()))))
    _check_labeled(train, labeled, listing)
    for part in scored.values():
        part.check_sizes()
        count_pixels(part, range(len(part)), num_classes=len(names))
    mean, std = (PHOTO_MEAN, PHOTO_STD) if train.rule == RGB else measured(train)
    return DataSet(
        name=name,
        class_names=names,
        train=train,
        test=scored.get("test"),
        validation=scored.get("validation"),
        mean=mean,
        std=std,
        labeled=labeled,
        unlabeled=unlabeled,
        palette=listing.classes.palette or voc_palette(len(names)),
        root=listing.root,
        pixel_rule=train.rule,
    )


def _check_labeled(train: MaskedImages, labeled: Sequence[int], listing: MaskListing) -> None:
    if not labeled:
        raise DataError(f"No training image has a mask in {listing.origin}. {listing.hint}")
    if not count_pixels(train, labeled, num_classes=len(listing.classes.names)).any():
        raise DataError(
            f"The {len(labeled)} masks of labeled images hold ignored pixels alone; there is nothing to learn."
        )
