import pickle
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from scipy import ndimage
from sklearn.datasets import load_digits
from sklearn.utils import Bunch

from dmt.data import scenes as module
from dmt.data.images import DataSet, pixel_statistics
from dmt.data.scenes import scenes
from dmt.errors import ConfigError

FIRST_CLASSES = [[1, 10], [7, 9], [1, 4], [2, 3, 8], [3, 8, 10], [3, 10]]
"""What the first six training scenes show: pinned, so that new versions of what draws them are noticed."""


@pytest.fixture(scope="module")
def data() -> DataSet:
    return scenes()


@pytest.fixture
def no_memory() -> Iterator[None]:
    """Draw everything anew, and leave nothing behind."""
    for cached in (module._draw, module._handwriting):
        cached.cache_clear()
    yield
    for cached in (module._draw, module._handwriting):
        cached.cache_clear()


def test_what_the_network_must_know(data: DataSet) -> None:
    assert (data.name, data.num_classes, data.channels) == ("scenes", 11, 3)
    assert data.class_names == ("background", *"0123456789")
    assert data.test is not None
    assert (len(data.train), len(data.test)) == (600, 150)
    assert (data.image_size, data.test.size(149)) == ((64, 64), (64, 64))
    assert (data.train.key(42), data.test.key(0)) == ("train/00042", "test/00000")
    assert data.train.known().tolist() == [True] * 600
    assert data.palette is not None
    assert len(set(data.palette)) == 11
    colors = np.array(data.palette)
    apart = np.linalg.norm(colors[:, None] - colors, axis=2)[np.triu_indices(11, 1)]
    assert apart.min() > 50
    assert colors[0].max() < 70


def test_statistics_are_those_of_the_training_part(data: DataSet) -> None:
    mean, std = pixel_statistics(data.train.images(range(600)))
    assert mean == pytest.approx(data.mean, abs=5e-4)
    assert std == pytest.approx(data.std, abs=5e-4)


def test_images_and_labels(data: DataSet) -> None:
    images, labels = data.train.images(range(200)), data.train.labels(range(200))
    assert (images.shape, images.dtype) == ((200, 3, 64, 64), torch.uint8)
    assert (labels.shape, labels.dtype) == ((200, 64, 64), torch.int64)
    assert set(labels.unique().tolist()) == {*range(11), 255}
    counts = torch.bincount(labels[labels != 255], minlength=11) / labels.numel()
    assert 0.7 < counts[0] < 0.85
    assert counts[1:].min() > 0.005
    assert 0.03 < (labels == 255).double().mean() < 0.1
    digits = [len(set(label.unique().tolist()) - {0, 255}) for label in labels]
    assert (min(digits), max(digits)) == (1, 4)
    assert len({image.numpy().tobytes() for image in images}) == 200


def test_digits_have_an_ignored_rim(data: DataSet) -> None:
    """No pixel of a digit touches the background or another digit, and few ignored ones are farther than 2 away."""
    for label in data.train.labels(range(40)).numpy():
        for row, column in np.argwhere((label > 0) & (label < 255)):
            around = label[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
            assert set(around.ravel().tolist()) <= {label[row, column], 255}
        near = ndimage.binary_dilation((label > 0) & (label < 255), iterations=2)
        assert ((label == 255) & ~near).sum() <= 0.05 * (label == 255).sum()


def test_digits_stand_out_from_what_is_beside_them(data: DataSet) -> None:
    images, labels = data.train.images(range(100)).numpy() / 255, data.train.labels(range(100)).numpy()
    for image, label in zip(images, labels, strict=True):
        ink = (label > 0) & (label < 255)
        beside = (label == 0) & ndimage.binary_dilation(label == 255, iterations=2)
        assert np.linalg.norm(image[:, ink].mean(axis=1) - image[:, beside].mean(axis=1)) > 0.4


def test_scenes_are_the_same_whatever_was_drawn_before(no_memory: None) -> None:
    first = scenes().train.images([5, 3])
    module._draw.cache_clear()
    torch.manual_seed(9)
    assert torch.equal(scenes().train.images([3, 4, 5])[[2, 0]], first)
    assert torch.equal(pickle.loads(pickle.dumps(scenes().train)).images([5, 3]), first)


def test_what_is_handed_out_is_a_copy(data: DataSet) -> None:
    before, label = data.train.images([0]), data.train.labels([0])
    data.train.images([0]).zero_()
    data.train.labels([0]).zero_()
    assert torch.equal(data.train.images([0]), before)
    assert torch.equal(data.train.labels([0]), label)


def test_first_scenes_are_pinned(data: DataSet) -> None:
    labels = data.train.labels(range(6))
    assert [sorted(set(label.unique().tolist()) - {0, 255}) for label in labels] == FIRST_CLASSES


def test_parts_share_no_handwriting(no_memory: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """With all of the first half called 3 and all of the second called 8, each part shows its own half only."""
    bunch = load_digits()
    middle = len(bunch.target) // 2
    named = Bunch(images=bunch.images, target=np.where(np.arange(len(bunch.target)) < middle, 3, 8))
    monkeypatch.setattr(module, "load_digits", lambda: named)
    data = scenes()
    assert data.test is not None
    assert set(data.train.labels(range(100)).unique().tolist()) == {0, 4, 255}
    assert set(data.test.labels(range(100)).unique().tolist()) == {0, 9, 255}
    halves = [{image.tobytes() for image in half} for half in (bunch.images[:middle], bunch.images[middle:])]
    assert not halves[0] & halves[1]


@pytest.mark.parametrize("size", [(32, 32), (96, 96), (48, 160), (160, 48)])
def test_other_sizes(size: tuple[int, int]) -> None:
    data = scenes(size)
    assert data.image_size == size
    images, labels = data.train.images(range(30)), data.train.labels(range(30))
    assert images.shape == (30, 3, *size)
    assert labels.shape == (30, *size)
    share = float(((labels > 0) & (labels < 255)).double().mean()) * size[0] * size[1] / min(size) ** 2
    assert 0.08 < share < 0.25
    # Neither tall in a tall scene nor wide in a wide one.
    heights, widths = np.array([extent for label in labels.numpy() for extent in extents(label)]).T / min(size)
    assert len(heights) > 30
    assert 0.4 < heights.max() < 0.55
    assert 0.3 < widths.max() < 0.4
    assert 1.4 < heights.mean() / widths.mean() < 1.7


def extents(label: np.ndarray) -> list[tuple[int, int]]:
    """Heights and widths of the digits in a scene that are not cut off by its border."""
    found = []
    for digit in range(1, 11):
        pieces, count = ndimage.label(label == digit, np.ones((3, 3)))
        for rows, columns in ndimage.find_objects(pieces, count):
            whole = (
                rows.start > 0 and columns.start > 0 and rows.stop < label.shape[0] and columns.stop < label.shape[1]
            )
            if whole and rows.stop - rows.start > 0.2 * min(label.shape):
                found.append((rows.stop - rows.start, columns.stop - columns.start))
    return found


def test_no_scene_asked_for(data: DataSet) -> None:
    assert data.train.images([]).shape == (0, 3, 64, 64)
    assert data.train.labels([]).shape == (0, 64, 64)


def test_index_outside(data: DataSet) -> None:
    with pytest.raises(IndexError):
        data.train.images([600])


def test_too_small_a_size() -> None:
    with pytest.raises(ConfigError, match=r"data\.image_size is \[64, 31\]; scenes need sides of 32 or more"):
        scenes((64, 31))
