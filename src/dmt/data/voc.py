"""PASCAL VOC 2012, with the further masks of SBD."""

from pathlib import Path

from dmt.config_sections import DataConfig
from dmt.data.images import DataSet
from dmt.data.mask_coding import plain_coding, voc_palette
from dmt.data.mask_sets import PHOTO_MEAN, PHOTO_STD, authors_order, find_folder, listed_files, root_folder
from dmt.data.masked_images import MaskedImages

VOC_TRAIN_SIZE = 10_582

_CLASSES = (
    "background",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
_IMAGES, _MASKS, _MORE_MASKS = "JPEGImages", "SegmentationClass", "SegmentationClassAug"
_LISTS = "ImageSets/Segmentation"
_LONG_LISTS = ("train_aug.txt", "trainaug.txt")
_HINT = f" The longer list needs {_LISTS}/{_LONG_LISTS[0]} and the folder {_MORE_MASKS}."


def voc(config: DataConfig, image_size: tuple[int, int] | None) -> DataSet:
    """21 classes; the 10,582 training images of the usual longer list; the 1,449 of `val.txt` are the reported part.

    Raises:
        ConfigError: data.root is not given.
        DataError: files are missing or damaged.
    """
    root = root_folder(config)
    places = [root / "VOCdevkit" / "VOC2012", root / "VOC2012", root]
    folder = find_folder(places, (_IMAGES, f"{_LISTS}/val.txt"), what="VOC 2012")
    parts = [
        MaskedImages(
            files=listed_files(path, folder / _IMAGES, masks),
            coding=plain_coding(_CLASSES),
            image_size=image_size,
        )
        for path, masks in (
            _training_list(folder),
            (folder / _LISTS / "val.txt", _folders(folder, _MASKS, _MORE_MASKS)),
        )
    ]
    for part, tolerant in zip(parts, (config.max_unreadable > 0, False), strict=True):
        part.check_sizes(tolerant=tolerant)
    return DataSet(
        name="voc",
        class_names=_CLASSES,
        train=parts[0],
        test=parts[1],
        mean=PHOTO_MEAN,
        std=PHOTO_STD,
        palette=voc_palette(len(_CLASSES)),
        reference_splits=authors_order(len(parts[0]), published=VOC_TRAIN_SIZE, folder=folder, hint=_HINT),
        root=folder,
    )


def _training_list(folder: Path) -> tuple[Path, list[Path]]:
    """The longest training list whose masks are there, and their folders."""
    long_list = next((path for name in _LONG_LISTS if (path := folder / _LISTS / name).is_file()), None)
    if long_list is not None and (folder / _MORE_MASKS).is_dir():
        return long_list, _folders(folder, _MORE_MASKS, _MASKS)
    return folder / _LISTS / "train.txt", _folders(folder, _MASKS, _MORE_MASKS)


def _folders(folder: Path, first: str, second: str) -> list[Path]:
    """Where masks are, the best first; the folders overlap, and one may not be there."""
    return [folder / name for name in (first, second) if (folder / name).is_dir()] or [folder / first]
