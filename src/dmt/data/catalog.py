"""The data sets that `data.name` knows. A new one is a builder and a line in `DATASETS`."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor
from torchvision import datasets as torchvision_datasets
from torchvision.datasets.utils import download_and_extract_archive

from dmt.config_files import did_you_mean
from dmt.config_sections import DataConfig
from dmt.data.class_folders import class_folders
from dmt.data.coco import coco
from dmt.data.downloads import cache_folder, find_or_download
from dmt.data.hugging_face import hugging_face_classes, hugging_face_masks
from dmt.data.images import ArrayImages, DataSet, pixel_statistics, resize
from dmt.data.manifest import manifest
from dmt.data.mask_folder import mask_folder
from dmt.data.mask_manifest import mask_manifest
from dmt.data.readers import read_cifar_batch, read_cifar_class_names, read_idx
from dmt.data.scenes import scenes
from dmt.data.street_scenes import camvid, cityscapes
from dmt.data.unused_keys import tell_unused
from dmt.data.voc import voc
from dmt.errors import ConfigError, DataError

DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package dataset-fashion-mnist puts its files."""

_DIGITS_TEST_SIZE = 450
_DIGITS_TEST_SEED = 0
"""A constant: the test part must be the same in every run, whatever its seed."""

_FASHION_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
_FASHION_FILES = {"train": "train-{kind}", "test": "t10k-{kind}"}
_CIFAR_FOLDER = "cifar-10-batches-py"
_CIFAR_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


Builder: TypeAlias = Callable[[DataConfig, tuple[int, int] | None], DataSet]


@dataclass(frozen=True, kw_only=True)
class DatasetEntry:
    """A line of the catalog.

    Attributes:
        summary: for `dmt list datasets`.
        build: by task: (`data` section, image size) -> data set.
        image_size: (height, width) where the config names none; None = every image its own.
        is_own: whether the files are the user's, who tells by further keys of the config what is what.
    """

    summary: str
    build: Mapping[str, Builder]
    image_size: tuple[int, int] | None
    is_own: bool = False


def load_dataset(config: DataConfig, *, task: str) -> DataSet:
    """Load the data set that the `data` section names.

    Args:
        config: its name, the folder of its files, the size to resize to; of one's own data, lists and classes.
        task: `classification` or `segmentation`.

    Raises:
        ConfigError: no data set of this task has this name, or its masks ignore another value.
        DataError: files are missing or damaged.
    """
    entry = DATASETS.get(config.name)
    if entry is None or task not in entry.build:
        known = [name for name, one in DATASETS.items() if task in one.build]
        what = "an unknown data set" if entry is None else f"a data set for {', '.join(entry.build)}"
        raise ConfigError(
            f"data.name is {config.name!r}, {what}; those for {task} are {', '.join(known)}."
            f"{did_you_mean(config.name, known) if entry is None else ''}"
        )
    tell_unused(config, task=task, is_own=entry.is_own)
    height_width = None if config.image_size is None else (config.image_size[0], config.image_size[1])
    return entry.build[task](config, height_width or entry.image_size)


def _digits(config: DataConfig, image_size: tuple[int, int] | None) -> DataSet:
    _warn_of_root(config, "digits, which comes with scikit-learn")
    bunch = load_digits()
    levels = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
    pixels = _sized(torch.from_numpy(levels)[:, None], image_size)
    truth = torch.from_numpy(bunch.target.astype(np.int64))
    train, test = train_test_split(
        np.arange(len(truth)), test_size=_DIGITS_TEST_SIZE, stratify=bunch.target, random_state=_DIGITS_TEST_SEED
    )
    parts = [
        ArrayImages(pixels[np.sort(part)], truth[np.sort(part)], prefix)
        for part, prefix in ((train, "train"), (test, "test"))
    ]
    return _measured("digits", tuple(str(digit) for digit in bunch.target_names), *parts)


def _fashion_mnist(config: DataConfig, image_size: tuple[int, int] | None) -> DataSet:
    folder = _fashion_folder(_root(config))
    parts = [_fashion_part(folder, part, image_size) for part in _FASHION_FILES]
    return _measured("fashion-mnist", _FASHION_CLASSES, *parts)


def _fashion_part(folder: Path, part: str, image_size: tuple[int, int] | None) -> ArrayImages:
    image_path, label_path = _fashion_paths(folder, part)
    if image_path is None or label_path is None:
        raise DataError(
            f"{folder} holds no {_FASHION_FILES[part].format(kind='images-idx3-ubyte')}[.gz] and its labels."
        )
    pixels, labels = read_idx(image_path), read_idx(label_path)
    if pixels.ndim != 3 or not len(pixels) or labels.shape != pixels.shape[:1]:
        raise DataError(
            f"{image_path} holds images {pixels.shape} and {label_path} labels {labels.shape}; (N, height, width) and "
            "(N,) with one N above 0 are needed."
        )
    if labels.max() >= len(_FASHION_CLASSES):
        raise DataError(f"{label_path} holds the label {labels.max()}; allowed are 0..{len(_FASHION_CLASSES) - 1}.")
    truth = torch.from_numpy(labels.astype(np.int64))
    return ArrayImages(_sized(torch.from_numpy(pixels)[:, None], image_size), truth, part)


def _fashion_paths(folder: Path, part: str) -> tuple[Path | None, Path | None]:
    """The files of images and of labels, unzipped ones first; None where there is none."""
    stems = [_FASHION_FILES[part].format(kind=kind) for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")]
    image_path, label_path = (
        next((path for path in (folder / stem, folder / f"{stem}.gz") if path.is_file()), None) for stem in stems
    )
    return image_path, label_path


def _has_fashion_mnist(folder: Path) -> bool:
    return all(None not in _fashion_paths(folder, part) for part in _FASHION_FILES)


def _fashion_folder(root: Path | None) -> Path:
    raw = Path("FashionMNIST") / "raw"
    return find_or_download(
        root,
        inside=(Path(), raw),
        usual=(DEBIAN_FASHION_MNIST, cache_folder() / raw),
        complete=_has_fashion_mnist,
        download=lambda folder: torchvision_datasets.FashionMNIST(folder, download=True),
        files="Fashion-MNIST's four IDX files (train-images-idx3-ubyte.gz, ...)",
        other_way=", install Debian's package dataset-fashion-mnist",
    )


def _cifar_10(config: DataConfig, image_size: tuple[int, int] | None) -> DataSet:
    folder = find_or_download(
        _root(config),
        inside=(Path(), Path(_CIFAR_FOLDER)),
        usual=(cache_folder() / _CIFAR_FOLDER,),
        complete=_has_cifar_10,
        download=_download_cifar_10,
        files=f"the folder {_CIFAR_FOLDER} (data_batch_1 .. data_batch_5, test_batch)",
        other_way="",
    )
    meta = folder / "batches.meta"
    class_names = read_cifar_class_names(meta) if meta.is_file() else _CIFAR_CLASSES
    if len(class_names) != len(_CIFAR_CLASSES):
        raise DataError(f"{meta} names {len(class_names)} classes; CIFAR-10 has {len(_CIFAR_CLASSES)}.")
    return DataSet(
        name="cifar-10",
        class_names=class_names,
        train=_cifar_part([folder / f"data_batch_{number}" for number in range(1, 6)], "train", image_size),
        test=_cifar_part([folder / "test_batch"], "test", image_size),
        mean=(0.49137, 0.48235, 0.44667),
        std=(0.24706, 0.24353, 0.26157),
    )


def _download_cifar_10(target: Path) -> None:
    # Not through the data set's own constructor, which unpickles what it has fetched.
    source = torchvision_datasets.CIFAR10
    download_and_extract_archive(source.url, str(target), filename=source.filename, md5=source.tgz_md5)


def _has_cifar_10(folder: Path) -> bool:
    names = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    return all((folder / name).is_file() for name in names)


def _cifar_part(paths: Sequence[Path], prefix: str, image_size: tuple[int, int] | None) -> ArrayImages:
    batches = [read_cifar_batch(path) for path in paths]
    pixels, labels = (torch.from_numpy(np.concatenate(arrays)) for arrays in zip(*batches, strict=True))
    return ArrayImages(_sized(pixels, image_size), labels, prefix)


def _root(config: DataConfig) -> Path | None:
    return None if config.root is None else Path(config.root).expanduser()


def _sized(pixels: Tensor, image_size: tuple[int, int] | None) -> Tensor:
    return pixels if image_size is None else resize(pixels, image_size)


def _measured(name: str, class_names: tuple[str, ...], train: ArrayImages, test: ArrayImages) -> DataSet:
    """With the training pixels' own statistics: they depend on the resize, and on the files that a user brings."""
    mean, std = pixel_statistics(train.pixels)
    return DataSet(name=name, class_names=class_names, train=train, test=test, mean=mean, std=std)


def _scenes(config: DataConfig, image_size: tuple[int, int] | None) -> DataSet:
    _warn_of_root(config, "scenes, which are drawn")
    return scenes(image_size)


def _warn_of_root(config: DataConfig, what: str) -> None:
    if config.root is not None:
        warnings.warn(f"data.root has no effect on {what}.", UserWarning, stacklevel=4)


DATASETS: dict[str, DatasetEntry] = {
    "digits": DatasetEntry(
        summary="8x8 handwritten digits of scikit-learn, nothing to download: 1,347 training and 450 test images",
        build={"classification": _digits},
        image_size=(16, 16),
    ),
    "fashion-mnist": DatasetEntry(
        summary="28x28 gray images of clothing: 60,000 training and 10,000 test images (Debian: dataset-fashion-mnist)",
        build={"classification": _fashion_mnist},
        image_size=(28, 28),
    ),
    "cifar-10": DatasetEntry(
        summary="32x32 color images of animals and vehicles: 50,000 training and 10,000 test images",
        build={"classification": _cifar_10},
        image_size=(32, 32),
    ),
    "voc": DatasetEntry(
        summary="PASCAL VOC 2012 with SBD's masks, 21 classes: 10,582 training, 1,449 test images (its val)",
        build={"segmentation": voc},
        image_size=None,
    ),
    "cityscapes": DatasetEntry(
        summary="Cityscapes street scenes, 19 classes, at half size: 2,975 training, 500 test images (its val)",
        build={"segmentation": cityscapes},
        image_size=(512, 1024),
    ),
    "scenes": DatasetEntry(
        summary="drawn scenes of handwritten digits, 11 classes, nothing to download: 600 training, 150 test images",
        build={"segmentation": _scenes},
        image_size=None,
    ),
    "camvid": DatasetEntry(
        summary="CamVid street scenes, 11 classes, at 180x240: 367 training, 101 test images (its val)",
        build={"segmentation": camvid},
        image_size=(180, 240),
    ),
    "folder": DatasetEntry(
        summary="one's own files: FOLDER/labeled/CLASS and FOLDER/unlabeled, or FOLDER/images and FOLDER/masks",
        build={"classification": class_folders, "segmentation": mask_folder},
        image_size=None,
        is_own=True,
    ),
    "manifest": DatasetEntry(
        summary="one's own files, named by a table (CSV, TSV, JSON lines, Parquet) of path, label (or mask) and split",
        build={"classification": manifest, "segmentation": mask_manifest},
        image_size=None,
        is_own=True,
    ),
    "coco": DatasetEntry(
        summary="one's own images with polygons or run lengths in COCO's JSON (extra `coco`)",
        build={"segmentation": coco},
        image_size=None,
        is_own=True,
    ),
    "huggingface": DatasetEntry(
        summary="a folder that Hugging Face's datasets saved with save_to_disk (extra `huggingface`)",
        build={"classification": hugging_face_classes, "segmentation": hugging_face_masks},
        image_size=None,
        is_own=True,
    ),
}
"""Every data set by its name."""
