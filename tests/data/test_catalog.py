import gzip
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from dmt.config_sections import DataConfig
from dmt.data import catalog
from dmt.data.catalog import DATASETS, load_dataset
from dmt.data.images import DataSet, pixel_statistics
from dmt.errors import ConfigError, DataError

PINNED_FIRST, PINNED_SUM = [21, 24, 28, 34, 35], 423769
COUNTS = {"train": 30, "t10k": 20}


@pytest.fixture(autouse=True)
def nothing_on_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No cache, no Debian package and no network, whatever the machine has."""

    def offline(*arguments: object, **settings: object) -> None:
        raise RuntimeError("no network")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(catalog, "DEBIAN_FASHION_MNIST", tmp_path / "debian")
    monkeypatch.setattr(catalog.torchvision_datasets, "FashionMNIST", offline)
    monkeypatch.setattr(catalog, "download_and_extract_archive", offline)


def load(name: str, root: Path | None = None, **changes: object) -> DataSet:
    config = DataConfig(name=name, root=None if root is None else str(root), **changes)
    return load_dataset(config, task="classification")


def write_fashion(folder: Path, *, zipped: bool = True) -> dict[str, np.ndarray]:
    folder.mkdir(parents=True)
    stream = np.random.default_rng(0)
    written = {}
    for part, count in COUNTS.items():
        for kind, shape in (("images-idx3-ubyte", (count, 28, 28)), ("labels-idx1-ubyte", (count,))):
            array = stream.integers(0, 256 if len(shape) == 3 else 10, shape, dtype=np.uint8)
            content = struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape) + array.tobytes()
            name = f"{part}-{kind}"
            (folder / (name + ".gz" * zipped)).write_bytes(gzip.compress(content) if zipped else content)
            written[name] = array
    return written


def write_cifar(folder: Path, *, meta: bool = True) -> np.ndarray:
    folder.mkdir(parents=True)
    stream = np.random.default_rng(0)
    every = []
    for name in [*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]:
        pixels = stream.integers(0, 256, (6, 3072), dtype=np.uint8)
        (folder / name).write_bytes(pickle.dumps({"data": pixels, "labels": [0, 1, 2, 3, 4, 9]}, 2))
        every.append(pixels)
    if meta:
        (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": [f"c{k}" for k in range(10)]}, 2))
    return np.concatenate(every)


def test_digits() -> None:
    data = load("digits")
    assert (len(data.train), len(data.test)) == (1347, 450)
    assert data.image_size == (16, 16)
    assert data.class_names == tuple("0123456789")
    assert data.channels == 1
    tests = np.bincount(data.test.labels(range(450)))
    whole = np.bincount(load_digits().target)
    assert np.abs(tests - 45).max() <= 2
    assert np.abs(tests - 450 * whole / 1797).max() < 1
    assert data.train.key(0) == "train/00000"


def test_digits_parts_never_change() -> None:
    """Pinned, so that a new scikit-learn that draws other test images is noticed."""
    data = load("digits", image_size=[8, 8])
    source = np.rint(load_digits().images * 255 / 16).astype(np.uint8).reshape(1797, -1)
    place = {image.tobytes(): index for index, image in enumerate(source)}
    test = [place[image.numpy().tobytes()] for image in data.test.images(range(450))]
    train = [place[image.numpy().tobytes()] for image in data.train.images(range(1347))]
    assert len({*test, *train}) == 1797
    assert test == sorted(test)
    assert (test[:5], sum(test)) == (PINNED_FIRST, PINNED_SUM)


def test_digits_size_and_pixels() -> None:
    data = load("digits", image_size=[8, 8])
    pixels = data.train.images(range(1347))
    assert (pixels.min(), pixels.max()) == (0, 255)
    assert len(pixels.unique()) == 17
    assert load("digits", image_size=[20, 24]).image_size == (20, 24)
    with pytest.warns(UserWarning, match=r"data\.root has no effect on digits"):
        load("digits", root=Path())


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("inside", [".", "FashionMNIST/raw"])
def test_fashion_mnist_from_root(tmp_path: Path, zipped: bool, inside: str) -> None:
    written = write_fashion(tmp_path / "root" / inside, zipped=zipped)
    data = load("fashion-mnist", root=tmp_path / "root")
    assert (len(data.train), len(data.test)) == (30, 20)
    assert np.array_equal(data.train.images(range(30))[:, 0], written["train-images-idx3-ubyte"])
    assert np.array_equal(data.test.labels(range(20)), written["t10k-labels-idx1-ubyte"])
    assert data.class_names[0] == "T-shirt/top"
    assert data.class_names[9] == "Ankle boot"
    whole = written["train-images-idx3-ubyte"] / 255
    assert data.mean == pytest.approx((whole.mean(),))
    assert data.std == pytest.approx((whole.std(),))
    assert load("fashion-mnist", root=tmp_path / "root", image_size=[14, 14]).image_size == (14, 14)


@pytest.mark.parametrize("place", ["debian", "cache/dmt/FashionMNIST/raw"])
def test_fashion_mnist_in_the_usual_places(tmp_path: Path, place: str) -> None:
    write_fashion(tmp_path / place)
    assert len(load("fashion-mnist").train) == 30


def test_download_fills_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fashion(folder: Path, *, download: bool) -> None:
        assert download
        write_fashion(Path(folder) / "FashionMNIST" / "raw")

    def cifar(url: str, folder: str, *, filename: str, md5: str) -> None:
        assert url.endswith(filename)
        assert len(md5) == 32
        write_cifar(Path(folder) / "cifar-10-batches-py")

    monkeypatch.setattr(catalog.torchvision_datasets, "FashionMNIST", fashion)
    monkeypatch.setattr(catalog, "download_and_extract_archive", cifar)
    for name in ("fashion-mnist", "cifar-10"):
        assert len(load(name).train) == 30
        assert len(load(name).train) == 30  # from the cache; a second download would fail on its folder
    assert (tmp_path / "cache/dmt/cifar-10-batches-py/test_batch").is_file()


def test_all_ways_to_mend_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no network.*data\.root=FOLDER.*dataset-fashion-mnist.*network"):
        load("fashion-mnist")
    with pytest.raises(DataError, match=r"cifar-10-batches-py.*data\.root=FOLDER.*network"):
        load("cifar-10")
    for name in ("fashion-mnist", "cifar-10"):
        with pytest.raises(DataError, match=rf"data\.root is {tmp_path}, which does not hold"):
            load(name, root=tmp_path)


def test_broken_fashion_mnist(tmp_path: Path) -> None:
    folder = tmp_path / "root"
    write_fashion(folder, zipped=False)
    labels = folder / "train-labels-idx1-ubyte"
    content = labels.read_bytes()
    labels.write_bytes(content[:-1] + b"\x0a")
    with pytest.raises(DataError, match=r"train-labels-idx1-ubyte holds the label 10; allowed are 0\.\.9"):
        load("fashion-mnist", root=folder)
    labels.write_bytes(struct.pack(">HBBI", 0, 8, 1, 29) + content[8:-1])
    with pytest.raises(DataError, match=r"images \(30, 28, 28\).*labels \(29,\)"):
        load("fashion-mnist", root=folder)


@pytest.mark.parametrize("inside", [".", "cifar-10-batches-py"])
@pytest.mark.parametrize("meta", [True, False])
def test_cifar_10(tmp_path: Path, inside: str, meta: bool) -> None:
    pixels = write_cifar(tmp_path / "root" / inside, meta=meta).reshape(-1, 3, 32, 32)
    data = load("cifar-10", root=tmp_path / "root")
    assert (len(data.train), len(data.test)) == (30, 6)
    assert np.array_equal(data.train.images(range(30)), pixels[:30])
    assert np.array_equal(data.test.images(range(6)), pixels[30:])
    assert data.test.labels(range(6)).tolist() == [0, 1, 2, 3, 4, 9]
    assert data.class_names[0] == ("c0" if meta else "airplane")
    assert data.mean == (0.49137, 0.48235, 0.44667)
    assert data.std == (0.24706, 0.24353, 0.26157)
    assert data.image_size == (32, 32)


def test_cifar_10_with_wrong_meta(tmp_path: Path) -> None:
    write_cifar(tmp_path / "root")
    (tmp_path / "root/batches.meta").write_bytes(pickle.dumps({"label_names": ["a", "b"]}))
    with pytest.raises(DataError, match=r"batches\.meta names 2 classes"):
        load("cifar-10", root=tmp_path / "root")


def test_statistics_of_several_channels() -> None:
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 200, (5000, 3, 2, 2), dtype=np.uint8))
    mean, std = pixel_statistics(pixels)
    assert mean == pytest.approx((pixels.double() / 255).mean(dim=(0, 2, 3)).tolist())
    assert std == pytest.approx((pixels.double() / 255).std(dim=(0, 2, 3), correction=0).tolist())


def test_unknown_name() -> None:
    with pytest.raises(
        ConfigError,
        match=r"'fashion-mist', an unknown data set; those for classification are digits, fashion-mnist, cifar-10, "
        r"folder, manifest, huggingface\. "
        r"Did you mean 'fash",
    ):
        load("fashion-mist")
    assert all(entry.summary for entry in DATASETS.values())


def test_data_sets_of_the_other_task() -> None:
    with pytest.raises(
        ConfigError,
        match=r"'voc', a data set for segmentation; those for classification are digits, .*, huggingface\.$",
    ):
        load("voc")
    with pytest.raises(
        ConfigError, match=r"'digits', a data set for classification; those for segmentation are voc, city"
    ):
        load_dataset(DataConfig(name="digits"), task="segmentation")
    with pytest.raises(ConfigError, match=r"'camvidd', an unknown data set.* Did you mean 'camvid'\?"):
        load_dataset(DataConfig(name="camvidd"), task="segmentation")


@pytest.mark.parametrize("changes", [{"validation": "x.txt"}, {"test": "x.txt"}, {"class_names": ["a", "b"]}])
def test_keys_of_ones_own_data(changes: dict[str, object]) -> None:
    with pytest.warns(UserWarning, match=rf"data\.{next(iter(changes))} has no effect on digits"):
        load("digits", **changes)


def test_native_sizes() -> None:
    assert DATASETS["digits"].build["classification"](DataConfig(name="digits"), None).image_size == (8, 8)
