"""One's own images in a folder for each class: `data.name=folder` in classification."""

import warnings
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dmt.config_sections import DataConfig
from dmt.data.image_files import IMAGE_SUFFIXES, left_out, tell_other_images, walk_files
from dmt.data.image_list import FilesBelow
from dmt.data.images import DataSet
from dmt.data.listing import Listing, classified
from dmt.data.mask_sets import root_folder
from dmt.errors import DataError

FILE_SUFFIXES = IMAGE_SUFFIXES | {".npy"}
_FOLDERS = {"labeled": "train", "train": "train", "validation": "validation", "val": "validation", "test": "test"}
"""The part that the class folders in each folder belong to."""
_UNLABELED = "unlabeled"
_NO_CLASSES = frozenset({"images", "masks"})
"""Folders of another layout."""
_LIKE_PARTS = {
    "labelled": "labeled", "training": "train", "unlabelled": "unlabeled",
    "valid": "validation", "testing": "test",
}  # fmt: skip
"""What other tools call the parts, in lower case."""
_LIKE_MASKS = frozenset({"masks", "labels", "annotations", "segmentations", "targets", "gt", "groundtruth"})


@dataclass(frozen=True)
class _Found:
    name: str
    label: str | None
    part: str


def class_folders(config: DataConfig, image_size: tuple[int, int] | None) -> DataSet:
    """Images in `labeled/CLASS` (or `train/CLASS`, or `CLASS`), and in `unlabeled`; folders may hold further folders.

    `validation/CLASS` are for choices, `test/CLASS` for reported figures.

    Raises:
        ConfigError: data.root is not given.
        DataError: files are missing or damaged, or there are fewer than two classes.
    """
    root = root_folder(config)
    tell_other_images(root, FILE_SUFFIXES)
    found = sorted(_images(root), key=lambda image: (image.label is None, image.name))
    names = [image.name for image in found]
    _tell_others(root, names)
    listing = Listing(
        keys=names,
        sources=FilesBelow(root, names),
        labels=[image.label for image in found],
        parts=[image.part for image in found],
        origin=root,
        place=lambda index: str(root / names[index]),
        root=root,
    )
    return classified(listing, config, image_size)


def _tell_others(root: Path, names: Sequence[str]) -> None:
    """Warn of images that are in no folder of a class and none of unlabeled images."""
    others = left_out(root, FILE_SUFFIXES, {root / name for name in names})
    if others:  # rare; of folders that are linked, the walk may have gone another way
        there = {(root / name).resolve() for name in names}
        others = [path for path in others if path.resolve() not in there]
    if others:
        warnings.warn(
            f"Below {root}, {len(others)} images are left out, for instance {others[0]}: they are in no folder of a "
            f"class, and not in {root / _UNLABELED}.",
            UserWarning,
            stacklevel=3,
        )


def bare_classes(root: Path) -> list[str]:
    """The folders of classes that lie in `root` itself, where it has neither `labeled` nor `train`: two or more."""
    if not root.is_dir() or any((root / name).is_dir() for name in ("labeled", "train")):
        return []
    names = [path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")]
    found = [
        name
        for name in sorted(set(names) - _FOLDERS.keys() - {_UNLABELED})
        if next(walk_files(root / name, FILE_SUFFIXES), None) is not None
    ]
    return found if len(found) > 1 and not set(found) >= _NO_CLASSES else []


def _images(root: Path) -> Iterator[_Found]:
    bare = bare_classes(root)
    _check_names(root, bare)
    if not bare and not any((root / folder).is_dir() for folder in ("labeled", "train")):
        raise DataError(
            f"data.root is {root}, which holds no folder `labeled` with a folder of images for each class. It needs "
            f"labeled/CLASS, and may have {_UNLABELED}, validation/CLASS and test/CLASS."
        )
    for label in bare:
        for path in walk_files(root / label, FILE_SUFFIXES):
            yield _Found(path.relative_to(root).as_posix(), label, "train")
    for one, other in (("labeled", "train"), ("validation", "val")):
        if (root / one).is_dir() and (root / other).is_dir():
            raise DataError(f"There are {root / one} and {other}, which mean the same. Join them.")
    for folder, part in _FOLDERS.items():
        if (root / folder).is_dir():
            yield from _of_classes(root, folder, part)
    if (root / _UNLABELED).is_dir():
        for path in walk_files(root / _UNLABELED, FILE_SUFFIXES):
            yield _Found(path.relative_to(root).as_posix(), None, "train")


def _check_names(root: Path, bare: Sequence[str]) -> None:
    """Refuse classes that are named as parts are, or as masks, and folders of images that parts do not know.

    Raises:
        DataError: `Labeled` and `Unlabeled` would be classes, `labels` a class beside `images`, or `valid` nothing.
    """
    others = sorted(path.name for path in root.iterdir() if path.is_dir()) if root.is_dir() and not bare else []
    found = {name: _LIKE_PARTS.get(name.lower(), name.lower()) for name in (*bare, *others)}
    meant = {
        name: known
        for name, known in found.items()
        if known != name and known in {*_FOLDERS, _UNLABELED} and not _is_same(root / known, root / name)
    }
    parts = f"parts are named {', '.join(_FOLDERS)} and {_UNLABELED}"
    if bare and len(meant) > 1:  # one alone may be a class
        raise DataError(
            f"{' and '.join(str(root / name) for name in meant)} would be classes: {parts}. Call them "
            f"{' and '.join(meant.values())}, or, where they are classes, put all classes into {root / 'labeled'}."
        )
    for name, known in meant.items():
        if not bare and next(walk_files(root / name, FILE_SUFFIXES), None) is not None:
            raise DataError(f"The images in {root / name} would be left out: {parts}. Put them into {root / known}.")
    if _are_masks(bare):
        raise DataError(
            f"{root} holds {' and '.join(bare)}, which look like images and their masks, and would be two classes. For "
            "masks, call the folders images and masks, and set task: segmentation; classes go into labeled/CLASS."
        )
    for part in (root / name for name in _FOLDERS if (root / name).is_dir()):
        inside = sorted(path.name for path in part.iterdir() if path.is_dir() and not path.name.startswith("."))
        if _are_masks(inside) and all(next(walk_files(part / name, FILE_SUFFIXES), None) for name in inside):
            raise DataError(
                f"{part} holds {' and '.join(inside)}, which look like images and their masks, and would be two "
                f"classes. For masks, put all images into {root / 'images'} and all masks, under the same names, into "
                f"{root / 'masks'}, name those of val and test in val.txt and test.txt, and set task: segmentation."
            )


def _are_masks(names: Collection[str]) -> bool:
    """Whether folders of these names, and no others, hold images and what is to be found on them."""
    lower = {name.lower() for name in names}
    return len(lower) == 2 and "images" in lower and bool(lower & _LIKE_MASKS)


def _is_same(one: Path, other: Path) -> bool:
    """Also where the disk takes `Labeled` for `labeled`."""
    return one.exists() and one.samefile(other)


def _of_classes(root: Path, folder: str, part: str) -> Iterator[_Found]:
    seen: set[str] = set()
    for path in walk_files(root / folder, FILE_SUFFIXES):
        name = path.relative_to(root)
        if len(name.parts) < 3:
            raise DataError(
                f"{path} lies beside the class folders of {root / folder}. Move it into the folder of its class, or "
                f"into {root / _UNLABELED}."
            )
        seen.add(name.parts[1])
        yield _Found(name.as_posix(), name.parts[1], part)
    folders = (path.name for path in (root / folder).iterdir() if path.is_dir() and not path.name.startswith("."))
    if empty := sorted(set(folders) - seen):
        warnings.warn(
            f"{root / folder} has folders without an image, which are left out: {', '.join(empty)}.", stacklevel=2
        )
