"""Cityscapes and CamVid: what a camera in a car sees."""

from pathlib import Path

from dmt.config_sections import DataConfig
from dmt.data.image_files import IMAGE_SUFFIXES, list_files
from dmt.data.images import DataSet
from dmt.data.mask_coding import Color, plain_coding, table_coding
from dmt.data.mask_sets import (
    PHOTO_MEAN,
    PHOTO_STD,
    authors_order,
    find_folder,
    listed_files,
    require_files,
    root_folder,
)
from dmt.data.mask_sources import MaskFile
from dmt.data.masked_images import ImageFile, MaskedImages
from dmt.data.split_files import read_lines
from dmt.errors import DataError

CITYSCAPES_TRAIN_SIZE = 2_975

_CITYSCAPES_CLASSES: dict[str, tuple[int, Color]] = {
    "road": (7, (128, 64, 128)),
    "sidewalk": (8, (244, 35, 232)),
    "building": (11, (70, 70, 70)),
    "wall": (12, (102, 102, 156)),
    "fence": (13, (190, 153, 153)),
    "pole": (17, (153, 153, 153)),
    "traffic light": (19, (250, 170, 30)),
    "traffic sign": (20, (220, 220, 0)),
    "vegetation": (21, (107, 142, 35)),
    "terrain": (22, (152, 251, 152)),
    "sky": (23, (70, 130, 180)),
    "person": (24, (220, 20, 60)),
    "rider": (25, (255, 0, 0)),
    "car": (26, (0, 0, 142)),
    "truck": (27, (0, 0, 70)),
    "bus": (28, (0, 60, 100)),
    "train": (31, (0, 80, 100)),
    "motorcycle": (32, (0, 0, 230)),
    "bicycle": (33, (119, 11, 32)),
}
"""The id in `labelIds` files, and the color, of each class that counts."""

_MASK_TABLES = {
    "labelIds": {value: k for k, (value, _) in enumerate(_CITYSCAPES_CLASSES.values())},
    "labelTrainIds": {k: k for k in range(len(_CITYSCAPES_CLASSES))},
}
"""The kinds of mask files, in the order of preference, and the class of each value that counts."""

_CAMVID_CLASSES: dict[str, Color] = {
    "sky": (128, 128, 128),
    "building": (128, 0, 0),
    "pole": (192, 192, 128),
    "road": (128, 64, 128),
    "pavement": (60, 40, 222),
    "tree": (128, 128, 0),
    "sign_symbol": (192, 128, 128),
    "fence": (64, 64, 128),
    "car": (64, 0, 128),
    "pedestrian": (64, 64, 0),
    "bicyclist": (0, 128, 192),
}


def cityscapes(config: DataConfig, image_size: tuple[int, int] | None) -> DataSet:
    """19 classes; 2,975 training images with fine masks; the 500 of `val` are the reported part.

    Raises:
        ConfigError: data.root is not given.
        DataError: files are missing or damaged.
    """
    folder = find_folder([root_folder(config)], ("leftImg8bit", "gtFine"), what="Cityscapes")
    train = _cityscapes_part(folder, "train", image_size, tolerant=config.max_unreadable > 0)
    test = _cityscapes_part(folder, "val", image_size, tolerant=False)
    return DataSet(
        name="cityscapes",
        class_names=tuple(_CITYSCAPES_CLASSES),
        train=train,
        test=test,
        mean=PHOTO_MEAN,
        std=PHOTO_STD,
        palette=tuple(color for _, color in _CITYSCAPES_CLASSES.values()),
        reference_splits=authors_order(len(train), published=CITYSCAPES_TRAIN_SIZE, folder=folder),
        root=folder,
    )


def camvid(config: DataConfig, image_size: tuple[int, int] | None) -> DataSet:
    """11 classes; the images of `train.txt` are the training images, those of `val.txt` the reported part.

    Raises:
        ConfigError: data.root is not given.
        DataError: files are missing or damaged, or the classes are others.
    """
    folder = find_folder([root_folder(config)], ("images", "masks", "train.txt", "val.txt"), what="CamVid")
    class_names = tuple(_CAMVID_CLASSES)
    _check_camvid_classes(folder / "classes.txt", class_names)
    parts = [
        MaskedImages(
            files=listed_files(folder / name, folder / "images", [folder / "masks"]),
            coding=plain_coding(class_names),
            image_size=image_size,
        )
        for name in ("train.txt", "val.txt")
    ]
    for part, tolerant in zip(parts, (config.max_unreadable > 0, False), strict=True):
        part.check_sizes(tolerant=tolerant)
    return DataSet(
        name="camvid",
        class_names=class_names,
        train=parts[0],
        test=parts[1],
        mean=PHOTO_MEAN,
        std=PHOTO_STD,
        palette=tuple(_CAMVID_CLASSES.values()),
        root=folder,
    )


def _cityscapes_part(folder: Path, part: str, image_size: tuple[int, int] | None, *, tolerant: bool) -> MaskedImages:
    image_folder, mask_folder = folder / "leftImg8bit" / part, folder / "gtFine" / part
    found = list_files(image_folder, IMAGE_SUFFIXES)
    if not found:
        raise DataError(f"{image_folder} holds no images.")
    image_of = {key.removesuffix("_leftImg8bit"): path for key, path in found.items()}
    masks = list_files(mask_folder, {".png"})
    kind = next((kind for kind in _MASK_TABLES if any(key.endswith(f"_gtFine_{kind}") for key in masks)), "labelIds")
    mask_of = {key: masks[name] for key in image_of if (name := f"{key}_gtFine_{kind}") in masks}
    require_files(tuple(image_of), mask_of, source=image_folder, folder=mask_folder, what=f"*_gtFine_{kind}.png")
    images = MaskedImages(
        files=tuple(ImageFile(key, path, MaskFile(mask_of[key])) for key, path in image_of.items()),
        coding=table_coding(_MASK_TABLES[kind]),
        image_size=image_size,
    )
    images.check_sizes(tolerant=tolerant)
    return images


def _check_camvid_classes(path: Path, class_names: tuple[str, ...]) -> None:
    if path.is_file() and tuple(line.strip() for _, line in read_lines(path)) != class_names:
        raise DataError(
            f"{path} names other classes than CamVid's 11 ({', '.join(class_names)}). Use data.name=folder for it."
        )
