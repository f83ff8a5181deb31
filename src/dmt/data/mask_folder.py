"""One's own images and masks in a folder: `data.name=folder` in segmentation."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from dmt.config_sections import DataConfig
from dmt.data.class_lists import load_class_list
from dmt.data.image_files import IMAGE_SUFFIXES, MASK_SUFFIXES, left_out, list_files, tell_other_images
from dmt.data.images import DataSet
from dmt.data.mask_listing import MaskListing, segmented
from dmt.data.mask_sets import find_folder, require_files, root_folder
from dmt.data.mask_sources import MaskFile
from dmt.data.masked_images import ImageFile, MaskedImages
from dmt.data.split_files import check_disjoint, find_list, read_keys
from dmt.errors import DataError

_IMAGES, _MASKS = "images", "masks"
_FILE_SUFFIXES = IMAGE_SUFFIXES | {".npy"}
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
    listing = MaskListing(
        files=_files(root),
        classes=load_class_list(config, root),
        origin=root / _MASKS,
        hint=f"A mask has the name of its image: {root / _IMAGES / 'x.jpg'} and {root / _MASKS / 'x.png'} "
        f"({', '.join(sorted(MASK_SUFFIXES))}).",
        root=root,
    )
    return segmented(listing, config, image_size, parts=listed_parts(config, root, masks=root / _MASKS))


def listed_parts(
    config: DataConfig, root: Path, *, masks: Path
) -> Callable[[MaskedImages], Mapping[str, Sequence[int]]]:
    """A function from all images to the members of each part that a list names.

    Args:
        config: names of lists.
        root: the folder that may hold further lists.
        masks: where masks come from, for messages.
    """

    def parts_of(everything: MaskedImages) -> dict[str, tuple[int, ...]]:
        lists = _lists(config, root)
        parts = {key: _read_list(path, everything) for key, path in lists.items()}
        check_disjoint({f"the {key} list {path}": parts[key] for key, path in lists.items()}, everything)
        masked = {file.key for file in everything.files if file.mask is not None}
        for key, path in lists.items():
            if key != "unlabeled":
                keys = [everything.key(index) for index in parts[key]]
                require_files(keys, masked, source=path, folder=masks, what="mask")
        return parts

    return parts_of


def _files(root: Path) -> tuple[ImageFile, ...]:
    tell_other_images(root / _IMAGES, _FILE_SUFFIXES)
    image_of, mask_of = list_files(root / _IMAGES, _FILE_SUFFIXES), list_files(root / _MASKS, MASK_SUFFIXES)
    left_out(root / _IMAGES, _FILE_SUFFIXES, set(image_of.values()))
    left_out(root / _MASKS, MASK_SUFFIXES, set(mask_of.values()))
    if not image_of:
        raise DataError(f"{root / _IMAGES} holds no image; allowed are {', '.join(sorted(_FILE_SUFFIXES))}.")
    _refuse_lossy(image_of, mask_of, root)
    _warn_orphans(image_of, mask_of, root)
    masks = {key: MaskFile(path) for key, path in mask_of.items()}
    return tuple(ImageFile(key, path, masks.get(key)) for key, path in image_of.items())


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
