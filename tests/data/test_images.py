import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from dmt.data.images import ArrayImages, DataSet, ImageSet, resize
from dmt.data.torch_images import TorchImages
from dmt.errors import DataError

COLOR = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)
GRAY = COLOR[:, :, 0].copy()
AS_TENSOR = torch.from_numpy(COLOR).permute(2, 0, 1)


def array_images(count: int = 4, channels: int = 1) -> ArrayImages:
    pixels = torch.arange(count * channels * 6, dtype=torch.uint8).reshape(count, channels, 2, 3)
    return ArrayImages(pixels, torch.arange(count), "train")


def test_array_images() -> None:
    images: ImageSet = array_images()
    assert len(images) == 4
    assert torch.equal(images.images([2, 0]), array_images().pixels[[2, 0]])
    assert images.images([]).shape == (0, 1, 2, 3)
    assert images.labels(np.array([3, 1])).tolist() == [3, 1]
    assert images.key(3) == "train/00003"
    assert len(pickle.loads(pickle.dumps(images))) == 4


@pytest.mark.parametrize(
    ("pixels", "truth"),
    [
        (torch.zeros(2, 1, 2, 2, dtype=torch.float64), torch.zeros(2, dtype=torch.int64)),
        (torch.zeros(2, 2, 2, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64)),
        (torch.zeros(2, 1, 2, 2, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64)),
        (torch.zeros(2, 1, 2, 2, dtype=torch.uint8), torch.zeros(2, dtype=torch.int32)),
    ],
)
def test_array_images_of_wrong_shape(pixels: Tensor, truth: Tensor) -> None:
    with pytest.raises(DataError, match="'val' should be"):
        ArrayImages(pixels, truth, "val")


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (AS_TENSOR, AS_TENSOR),
        (torch.from_numpy(GRAY), torch.from_numpy(GRAY)[None]),
        (AS_TENSOR.float() / 255, AS_TENSOR),
        (AS_TENSOR.double() / 255, AS_TENSOR),
        (COLOR, AS_TENSOR),
        (GRAY, torch.from_numpy(GRAY)[None]),
        (COLOR[:, :, :1], torch.from_numpy(GRAY)[None]),
        (COLOR.astype(np.float32) / 255, AS_TENSOR),
        (Image.fromarray(COLOR), AS_TENSOR),
        (Image.fromarray(GRAY), torch.from_numpy(GRAY)[None]),
        (Image.fromarray(GRAY > 99), torch.from_numpy((GRAY > 99) * np.uint8(255))[None]),
        (Image.fromarray(np.dstack([COLOR, np.full_like(GRAY, 255)])), AS_TENSOR),
        (Image.fromarray(np.dstack([COLOR, np.zeros_like(GRAY)])), torch.full_like(AS_TENSOR, 255)),
    ],
)
@pytest.mark.parametrize("wrap", [lambda image: image, lambda image: (image, 7), lambda image: [image, 7]])
def test_every_kind_of_image(item: object, expected: Tensor, wrap) -> None:
    images = TorchImages(dataset=[wrap(item), wrap(item)], prefix="mine")
    found = images.images([1, 0])
    assert found.dtype == torch.uint8
    assert torch.equal(found, torch.stack([expected, expected]))
    assert images.key(1) == "mine/00001"
    assert len(images) == 2


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (AS_TENSOR.float(), r"has float values 0 \.\. 248; floats must be in \[0, 1\]"),
        (torch.full((3, 2, 2), -0.5), r"float values -0\.5"),
        (torch.full((3, 2, 2), float("nan")), "NaN or infinite"),
        (AS_TENSOR.int(), r"torch\.int32; uint8"),
        (COLOR.astype(np.int64), "numpy array of int64"),
        (torch.zeros(2, 3, 4, 5, dtype=torch.uint8), r"shape \(2, 3, 4, 5\)"),
        (torch.zeros(3, 0, 5, dtype=torch.uint8), "shape"),
        (np.zeros((3, 8, 8), np.uint8), r"numpy array \(3, 8, 8\); \(H, W\) or"),
        (Image.fromarray(GRAY.astype(np.uint16)), r"mode I;16"),
        ("cat.png", "is a str; a uint8 or float tensor"),
        (None, "is a NoneType"),
    ],
)
def test_images_that_cannot_be_used(item: object, message: str) -> None:
    with pytest.raises(DataError, match=f"Image 1 of 'train'.*{message}"):
        TorchImages(dataset=[AS_TENSOR, item]).images([0, 1])


def test_sizes_that_differ() -> None:
    images = TorchImages(dataset=[AS_TENSOR, AS_TENSOR[:, :4]])
    with pytest.raises(DataError, match=r"Image 1 of 'train' is \(3, 4, 5\), but image 0 is \(3, 6, 5\).*image_size"):
        images.images([0, 1])
    assert TorchImages(dataset=[AS_TENSOR, AS_TENSOR[:, :4]], image_size=(7, 8)).images([0, 1]).shape == (2, 3, 7, 8)
    with pytest.raises(DataError, match="No indices"):
        images.images([])


def test_channels() -> None:
    gray = TorchImages(dataset=[AS_TENSOR], channels=1).images([0])
    assert gray.shape == (1, 1, 6, 5)
    expected = np.asarray(Image.fromarray(COLOR).convert("L")).astype(int)
    assert np.abs(gray[0, 0].int().numpy() - expected).max() <= 1
    color = TorchImages(dataset=[GRAY], channels=3).images([0])
    assert torch.equal(color[0], torch.from_numpy(GRAY).expand(3, -1, -1))
    with pytest.raises(DataError, match="has 4 channels"):
        TorchImages(dataset=[torch.zeros(4, 2, 2, dtype=torch.uint8)], channels=3).images([0])
    with pytest.raises(DataError, match="channels is 2"):
        TorchImages(dataset=[GRAY], channels=2)


@pytest.mark.parametrize("label", [7, np.int64(7), torch.tensor(7), torch.tensor(7, dtype=torch.uint8)])
def test_labels(label: object) -> None:
    found = TorchImages(dataset=[(GRAY, label), (GRAY, 2)]).labels([1, 0])
    assert found.dtype == torch.int64
    assert found.tolist() == [2, 7]


def test_a_label_is_one_number() -> None:
    assert TorchImages(dataset=[(GRAY, [3]), (GRAY, np.array([[4]])), (GRAY, 5)]).labels([0, 1, 2]).tolist() == [
        3,
        4,
        5,
    ]
    for label in (np.arange(30).reshape(6, 5), [0, 1], []):
        with pytest.raises(DataError, match=r"item 1 of 'train' has the shape .*; a class is one whole number"):
            TorchImages(dataset=[(GRAY, 3), (GRAY, np.array(label, dtype=int))]).labels([0, 1])


@pytest.mark.parametrize("item", [GRAY, (GRAY,), (GRAY, 0.5), (GRAY, "cat"), (GRAY, True), (GRAY, None)])
def test_labels_that_are_none(item: object) -> None:
    with pytest.raises(DataError, match=r"(I|i)tem 0 of 'train'"):
        TorchImages(dataset=[item]).labels([0])


def test_iterable_data_sets_are_refused() -> None:
    with pytest.raises(DataError, match="map-style"):
        TorchImages(dataset=iter([]))


@pytest.mark.parametrize("size", [(3, 4), (12, 9), (6, 5)])
def test_resize_equals_pillow(size: tuple[int, int]) -> None:
    found = resize(AS_TENSOR[None], size)
    expected = np.asarray(Image.fromarray(COLOR).resize(size[::-1], Image.Resampling.BILINEAR)).astype(int)
    assert found.dtype == torch.uint8
    assert np.abs(found[0].permute(1, 2, 0).int().numpy() - expected).max() <= 1


def test_data_set() -> None:
    settings = {"name": "x", "train": array_images(), "test": array_images(), "mean": (0.5,), "std": (0.2,)}
    data = DataSet(class_names=("cat", "dog"), **settings)
    assert (data.num_classes, data.channels, data.image_size) == (2, 1, (2, 3))
    with pytest.raises(DataError, match="class names"):
        DataSet(class_names=("cat",), **settings)
    with pytest.raises(DataError, match="class names"):
        DataSet(class_names=("cat", "cat"), **settings)
    with pytest.raises(DataError, match="std above 0"):
        DataSet(class_names=("cat", "dog"), **settings | {"std": (0.0,)})
