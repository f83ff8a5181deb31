"""The data sets that `data.name` knows. A new one is a builder and a line in `DATASETS`."""

import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor
from torchvision import datasets as torchvision_datasets
from torchvision.datasets.utils import download_and_extract_archive

from dmt.config_files import did_you_mean
from dmt.data.images import ArrayImages, DataSet, resize
from dmt.data.readers import read_cifar_batch, read_cifar_class_names, read_idx
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


@dataclass(frozen=True, kw_only=True)
class DatasetEntry:
    """A line of the catalog.

    Attributes:
        summary: for `dmt list datasets`.
        image_size: (height, width) where the config names none.
        build: (root, image size) -> data set.
    """

    summary: str
    image_size: tuple[int, int]
    build: Callable[[Path | None, tuple[int, int]], DataSet]


def load_dataset(name: str, *, root: Path | None = None, image_size: tuple[int, int] | None = None) -> DataSet:
    """Load a data set of the catalog.

    Args:
        name: a key of `DATASETS`.
        root: the folder that holds the files; None = where the data set usually is, or a download.
        image_size: (height, width) of a fixed resize; None = the data set's own.

    Raises:
        ConfigError: no data set has this name.
        DataError: files are missing or damaged.
    """
    entry = DATASETS.get(name)
    if entry is None:
        raise ConfigError(
            f"data.name is {name!r}; known data sets are {', '.join(DATASETS)}.{did_you_mean(name, DATASETS)}"
        )
    return entry.build(root, image_size or entry.image_size)


def cache_folder() -> Path:
    """Where downloads are kept: $XDG_CACHE_HOME/dmt or ~/.cache/dmt."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "dmt"


def pixel_statistics(pixels: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, of pixels in [0, 1], exactly: from counts of the 256 levels.

    Args:
        pixels: `(N, channels, H, W)` uint8.
    """
    levels = np.arange(256) / 255
    counts = [_level_counts(channel) for channel in pixels.unbind(dim=1)]
    means = [float(np.average(levels, weights=count)) for count in counts]
    stds = [
        float(np.sqrt(np.average((levels - mean) ** 2, weights=count)))
        for mean, count in zip(means, counts, strict=True)
    ]
    return tuple(means), tuple(stds)


def _level_counts(channel: Tensor) -> np.ndarray:
    # In pieces, since bincount works on a copy of eight bytes a pixel.
    pieces = [piece.numpy() for piece in torch.split(channel, 4096)]
    counts: np.ndarray = np.sum([np.bincount(piece.reshape(-1), minlength=256) for piece in pieces], axis=0)
    return counts


def _digits(root: Path | None, image_size: tuple[int, int]) -> DataSet:
    if root is not None:
        warnings.warn("data.root has no effect on digits, which comes with scikit-learn.", UserWarning, stacklevel=3)
    bunch = load_digits()
    levels = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
    pixels = resize(torch.from_numpy(levels)[:, None], image_size)
    truth = torch.from_numpy(bunch.target.astype(np.int64))
    train, test = train_test_split(
        np.arange(len(truth)), test_size=_DIGITS_TEST_SIZE, stratify=bunch.target, random_state=_DIGITS_TEST_SEED
    )
    parts = [
        ArrayImages(pixels[np.sort(part)], truth[np.sort(part)], prefix)
        for part, prefix in ((train, "train"), (test, "test"))
    ]
    return _measured("digits", tuple(str(digit) for digit in bunch.target_names), *parts)


def _fashion_mnist(root: Path | None, image_size: tuple[int, int]) -> DataSet:
    folder = _fashion_folder(root)
    parts = [_fashion_part(folder, part, image_size) for part in _FASHION_FILES]
    return _measured("fashion-mnist", _FASHION_CLASSES, *parts)


def _fashion_part(folder: Path, part: str, image_size: tuple[int, int]) -> ArrayImages:
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
    return ArrayImages(resize(torch.from_numpy(pixels)[:, None], image_size), truth, part)


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
    return _find(
        root,
        inside=(Path(), raw),
        usual=(DEBIAN_FASHION_MNIST, cache_folder() / raw),
        complete=_has_fashion_mnist,
        download=lambda folder: torchvision_datasets.FashionMNIST(folder, download=True),
        files="Fashion-MNIST's four IDX files (train-images-idx3-ubyte.gz, ...)",
        other_way=", install Debian's package dataset-fashion-mnist",
    )


def _cifar_10(root: Path | None, image_size: tuple[int, int]) -> DataSet:
    folder = _find(
        root,
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


def _cifar_part(paths: Sequence[Path], prefix: str, image_size: tuple[int, int]) -> ArrayImages:
    batches = [read_cifar_batch(path) for path in paths]
    pixels, labels = (torch.from_numpy(np.concatenate(arrays)) for arrays in zip(*batches, strict=True))
    return ArrayImages(resize(pixels, image_size), labels, prefix)


def _find(
    root: Path | None,
    *,
    inside: Sequence[Path],
    usual: Sequence[Path],
    complete: Callable[[Path], bool],
    download: Callable[[Path], object],
    files: str,
    other_way: str,
) -> Path:
    """The folder with the files: under `root` where it is given, else in the usual places, else downloaded."""
    candidates = usual if root is None else [root / part for part in inside]
    found = next((folder for folder in candidates if complete(folder)), None)
    if found is not None:
        return found
    if root is not None:
        raise DataError(f"data.root is {root}, which does not hold {files}. Give their folder, or leave data.root out.")
    try:
        download(cache_folder())
    except (OSError, RuntimeError, EOFError) as error:
        raise DataError(
            f"{files} were not found, and the download to {cache_folder()} failed ({error}). "
            f"Set data.root=FOLDER to where they are{other_way}, or connect to the network and start again."
        ) from error
    return usual[-1]


def _measured(name: str, class_names: tuple[str, ...], train: ArrayImages, test: ArrayImages) -> DataSet:
    """With the training pixels' own statistics: they depend on the resize, and on the files that a user brings."""
    mean, std = pixel_statistics(train.pixels)
    return DataSet(name=name, class_names=class_names, train=train, test=test, mean=mean, std=std)


DATASETS: dict[str, DatasetEntry] = {
    "digits": DatasetEntry(
        summary="8x8 handwritten digits of scikit-learn, nothing to download: 1,347 training and 450 test images",
        image_size=(16, 16),
        build=_digits,
    ),
    "fashion-mnist": DatasetEntry(
        summary="28x28 gray images of clothing: 60,000 training and 10,000 test images (Debian: dataset-fashion-mnist)",
        image_size=(28, 28),
        build=_fashion_mnist,
    ),
    "cifar-10": DatasetEntry(
        summary="32x32 color images of animals and vehicles: 50,000 training and 10,000 test images",
        image_size=(32, 32),
        build=_cifar_10,
    ),
}
"""Every data set by its name."""
