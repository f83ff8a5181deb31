"""One's own images and masks in a folder: `data.name=folder` in segmentation."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from dmt.config_sections import DataConfig
from dmt.data.class_lists import ClassList, load_class_list
from dmt.data.image_files import IMAGE_SUFFIXES, MASK_SUFFIXES, list_files
from dmt.data.images import DataSet
from dmt.data.mask_coding import plain_coding, voc_palette
from dmt.data.mask_sets import PHOTO_MEAN, PHOTO_STD, find_folder, require_files, root_folder
from dmt.data.masked_images import ImageFile, MaskedImages, count_pixels
from dmt.data.split_files import check_disjoint, find_list, read_keys
from dmt.errors import ConfigError, DataError

_IMAGES, _MASKS = "images", "masks"
_LIST_FILES = {
    "labeled": ("labeled.txt",),
    "unlabeled": ("unlabeled.txt",),
    "validation": ("val.txt", "validation.txt"),
    "test": ("test.txt",),
}
"""The lists by their config key, and what they are called in the folder."""


def mask_folder(config: DataConfig, image_size: tuple[int, int] | None) -> DataSet:
    """Images in `images`, masks by the same names in `masks`, classes in `classes.txt`, parts in lists of names.

    `val.txt` is for choices, `test.txt` for reported figures; all other images are for training. Without `labeled.txt`
    those with a mask are labeled; without `unlabeled.txt` all the rest is unlabeled. Keys of the config win over lists
    of the same name. Masks of labeled, validation and test images are all read once, so that whatever is wrong with
    them shows before any training.

    Raises:
        ConfigError: data.root is not given, or data.ignore_index is a class.
        DataError: files are missing, damaged or contradict each other.
    """
    root = find_folder([root_folder(config)], (_IMAGES, _MASKS), what="images and masks")
    classes = load_class_list(config, root)
    everything = _all_images(
        root, classes, ignore_index=config.ignore_index, image_size=image_size, tolerant=config.max_unreadable > 0
    )
    lists = _lists(config, root)
    parts = {key: _read_list(path, everything) for key, path in lists.items()}
    check_disjoint({f"the {key} list {path}": parts[key] for key, path in lists.items()}, everything)
    masked = {file.key for file in everything.files if file.mask is not None}
    for key, path in lists.items():
        if key != "unlabeled":
            keys = [everything.key(index) for index in parts[key]]
            require_files(keys, masked, source=path, folder=root / _MASKS, what="mask")
    return _data_set(everything, parts, classes, root)


def _all_images(
    root: Path, classes: ClassList, *, ignore_index: int, image_size: tuple[int, int] | None, tolerant: bool
) -> MaskedImages:
    if 0 <= ignore_index < len(classes.names):
        raise ConfigError(
            f"data.ignore_index is {ignore_index}, which is class {classes.names[ignore_index]!r}; use -1 (nothing is "
            f"ignored), or a number above {len(classes.names) - 1}."
        )
    image_of, mask_of = list_files(root / _IMAGES, IMAGE_SUFFIXES), list_files(root / _MASKS, MASK_SUFFIXES)
    if not image_of:
        raise DataError(f"{root / _IMAGES} holds no image; allowed are {', '.join(sorted(IMAGE_SUFFIXES))}.")
    _refuse_lossy(image_of, mask_of, root)
    _warn_orphans(image_of, mask_of, root)
    images = MaskedImages(
        files=tuple(ImageFile(key, path, mask_of.get(key)) for key, path in image_of.items()),
        coding=plain_coding(classes.names, ignore_index=ignore_index, colors=classes.colors),
        image_size=image_size,
    )
    images.check_sizes(tolerant=tolerant)
    return images


def _refuse_lossy(image_of: Mapping[str, Path], mask_of: Mapping[str, Path], root: Path) -> None:
    for key, path in list_files(root / _MASKS, IMAGE_SUFFIXES - MASK_SUFFIXES).items():
        if key in image_of and key not in mask_of:
            raise DataError(f"{path} is a mask in a format that changes values. Save masks as PNG.")


def _warn_orphans(image_of: Mapping[str, Path], mask_of: Mapping[str, Path], root: Path) -> None:
    orphans = [path for key, path in mask_of.items() if key not in image_of]
    if orphans:
        warnings.warn(
            f"{len(orphans)} of {len(mask_of)} masks have no image, for instance {orphans[0]}. A mask has the name of "
            f"its image: {root / _IMAGES / 'x.jpg'} and {root / _MASKS / 'x.png'}.",
            UserWarning,
            stacklevel=4,
        )


def _lists(config: DataConfig, root: Path) -> dict[str, Path]:
    """The lists that the config names or the folder holds, by their config key."""
    found = {}
    for key, names in _LIST_FILES.items():
        given = getattr(config, key)
        own = [root / name for name in names if (root / name).is_file()]
        if given is not None:
            found[key] = find_list(given, root=root, key=f"data.{key}")
        elif len(own) > 1:
            raise DataError(f"There are {own[0]} and {own[1].name}, which mean the same. Delete one.")
        elif own:
            found[key] = own[0]
    return found


def _read_list(path: Path, images: MaskedImages) -> tuple[int, ...]:
    indices = read_keys(path, images)
    if not indices:
        raise DataError(f"{path} names no image. Write one name a line, e.g. {images.key(0)}, or delete the file.")
    return indices


def _data_set(everything: MaskedImages, parts: Mapping[str, Sequence[int]], classes: ClassList, root: Path) -> DataSet:
    scored = {key: everything.subset(parts[key]) for key in ("validation", "test") if key in parts}
    aside = {index for key in scored for index in parts[key]}
    pool = [index for index in range(len(everything)) if index not in aside]
    train = everything.subset(pool)
    place = {index: position for position, index in enumerate(pool)}
    listed = {key: tuple(place[index] for index in parts[key]) for key in ("labeled", "unlabeled") if key in parts}
    unlabeled = listed.get("unlabeled")
    masked = set(np.flatnonzero(train.known()).tolist())
    labeled = listed.get("labeled", tuple(sorted(masked - set(unlabeled or ()))))
    _check_labeled(train, labeled, root, num_classes=len(classes.names))
    for part in scored.values():
        part.check_sizes()
        count_pixels(part, range(len(part)), num_classes=len(classes.names))
    return DataSet(
        name="folder",
        class_names=classes.names,
        train=train,
        test=scored.get("test"),
        validation=scored.get("validation"),
        mean=PHOTO_MEAN,
        std=PHOTO_STD,
        labeled=labeled,
        unlabeled=unlabeled,
        palette=classes.palette or voc_palette(len(classes.names)),
        root=root,
    )


def _check_labeled(train: MaskedImages, labeled: Sequence[int], root: Path, *, num_classes: int) -> None:
    if not labeled:
        raise DataError(
            f"No training image has a mask in {root / _MASKS}. A mask has the name of its image: "
            f"{root / _IMAGES / 'x.jpg'} and {root / _MASKS / 'x.png'} ({', '.join(sorted(MASK_SUFFIXES))})."
        )
    if not count_pixels(train, labeled, num_classes=num_classes).any():
        raise DataError(
            f"The {len(labeled)} masks of labeled images hold ignored pixels alone; there is nothing to learn."
        )
