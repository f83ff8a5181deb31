from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, TensorDataset

from dmt.data.own import data_set_from_torch
from dmt.data.torch_images import TorchImages
from dmt.errors import DataError


def some(labels: list[int], *, channels: int = 1) -> TensorDataset:
    pixels = torch.randint(256, (len(labels), channels, 4, 6), generator=torch.Generator().manual_seed(0))
    return TensorDataset(pixels.to(torch.uint8), torch.tensor(labels))


class Unreadable(Dataset[Any]):
    """Images whose labels must not be looked at."""

    class Label:
        def __index__(self) -> int:
            raise AssertionError("a label of an unlabeled image was read")

        __int__ = __array__ = __float__ = __index__

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> tuple[torch.Tensor, Any]:
        return torch.full((1, 4, 6), index, dtype=torch.uint8), self.Label()


class ImagesOnly(Dataset[Any]):
    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.full((1, 4, 6), index, dtype=torch.uint8)


def wrap(**parts: Dataset[Any]) -> Any:
    return data_set_from_torch(parts, name="mine", image_size=None)


def arrays(*labels: int) -> tuple[np.ndarray, np.ndarray]:
    """The same as `some`, as a pair of arrays."""
    pixels = np.stack([some(list(labels))[i][0].numpy()[0] for i in range(len(labels))])
    return pixels, np.array(labels)


def test_a_pair_of_arrays_is_what_a_torch_data_set_is() -> None:
    torch_data = wrap(train=some([0, 1, -1, 1]), test=some([0, 1]))
    data = wrap(train=arrays(0, 1, -1, 1), test=arrays(0, 1))
    assert torch.equal(data.train.images(range(4)), torch_data.train.images(range(4)))
    assert torch.equal(data.train.labels(range(4)), torch_data.train.labels(range(4)))
    assert (data.mean, data.std) == (torch_data.mean, torch_data.std)


def test_labels_of_one_number_each_may_have_a_dimension_more() -> None:
    """As Keras has those of CIFAR-10; scores or ones and zeros for each class are no classes."""
    pixels, labels = arrays(0, 1, 1, 2)
    assert wrap(train=(pixels, labels[:, None])).train.labels(range(4)).tolist() == [0, 1, 1, 2]
    with pytest.raises(DataError, match=r"item 0 of 'train' has the shape \(3,\); a class is one whole number"):
        wrap(train=(pixels, np.eye(3, dtype=np.int64)[labels]))


@pytest.mark.parametrize("form", [np.asarray, torch.as_tensor])
def test_an_array_alone_is_unlabeled(form: Any) -> None:
    pixels, labels = arrays(0, 1, 1)
    data = wrap(labeled=(pixels, labels), unlabeled=form(pixels[:2]))
    assert data.train.labels(range(5)).tolist() == [0, 1, 1, -1, -1]
    assert torch.equal(data.train.images([0, 1]), data.train.images([3, 4]))


def test_the_test_part_may_be_absent() -> None:
    assert wrap(train=some([0, 1])).test is None


def test_a_train_part_is_taken_as_it_is() -> None:
    data = wrap(train=some([0, 1, -1, 2, 1]), test=some([0, 1]))
    assert data.train.labels(range(5)).tolist() == [0, 1, -1, 2, 1]
    assert data.class_names == ("0", "1", "2")
    assert data.validation is None
    assert len(data.test) == 2
    assert data.image_size == (4, 6)


@pytest.mark.parametrize("unlabeled", [Unreadable(), ImagesOnly()])
def test_labels_of_the_unlabeled_part_are_never_read(unlabeled: Dataset[Any]) -> None:
    data = wrap(labeled=some([0, 1, 1]), unlabeled=unlabeled, test=some([0, 1]))
    assert len(data.train) == 8
    assert data.train.labels(range(8)).tolist() == [0, 1, 1, *[-1] * 5]
    assert data.train.images([4])[0, 0, 0, 0] == 1


def test_classes_have_the_names_that_the_config_gives_them() -> None:
    parts, names = {"train": some([0, 1, -1, 2])}, ["cat", "dog", "eel"]
    data = data_set_from_torch(parts, name="mine", image_size=None, class_names=names)
    assert data.class_names == ("cat", "dog", "eel")
    for wrong in (names[:2], [*names, "fox"], ["cat", "dog", "cat"]):
        with pytest.raises(DataError, match=r"data\.class_names is cat, dog.*, and the labels are 0 \.\. 2; a name"):
            data_set_from_torch(parts, name="mine", image_size=None, class_names=wrong)


def test_keys_are_unique() -> None:
    data = wrap(labeled=some([0, 1, 1]), unlabeled=ImagesOnly(), test=some([0, 1]), validation=some([1, 0]))
    keys = [part.key(i) for part in (data.train, data.test, data.validation) for i in range(len(part))]
    assert len(set(keys)) == len(keys) == 12


@pytest.mark.parametrize("channels", [1, 3])
def test_statistics_are_those_of_the_training_images(channels: int) -> None:
    train = some([0, 1, 0, 1], channels=channels)
    data = wrap(train=train, test=some([0, 1], channels=channels))
    pixels = np.stack([train[i][0].numpy() for i in range(4)]) / 255
    np.testing.assert_allclose(data.mean, pixels.mean(axis=(0, 2, 3)))
    np.testing.assert_allclose(data.std, pixels.std(axis=(0, 2, 3)))


def test_images_are_resized_in_every_part() -> None:
    parts = {name: some([0, 1]) for name in ("train", "test", "validation")}
    data = data_set_from_torch(parts, name="mine", image_size=(8, 5))
    assert data.validation is not None
    for part in (data.train, data.test, data.validation):
        assert part.images([0, 1]).shape == (2, 1, 8, 5)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"test": some([0, 1])}, "either `train` or `labeled`"),
        ({"train": some([0, 1]), "labeled": some([0, 1]), "test": some([0, 1])}, "either `train` or `labeled`"),
        ({"train": some([0, 1]), "test": some([0, 1]), "val": some([0, 1])}, "unknown part 'val'"),
        ({"train": some([0, 1]), "test": some([])}, "`test` of datasets is empty"),
        ({"train": (np.zeros((2, 4, 6), np.uint8), [0, 1, 1])}, "has 2 images in X and 3 labels in y"),
        ({"train": (np.zeros((2, 4, 6), np.uint8), [0, 1], 5)}, "is a tuple of 3; a pair of arrays"),
        ({"train": (np.zeros((2, 4, 6), np.uint8), 1)}, r"y of datasets\['train'\] is a int"),
        ({"train": (np.zeros((2, 9), np.uint8), [0, 1])}, r"\(H, W\) or \(H, W, channels\) is needed"),
        ({"train": (np.zeros((2, 4, 6), np.uint8), ["cat", "dog"])}, "is 'cat', no whole number"),
        ({"train": some([-1, -1]), "test": some([0, 1])}, "No image .* has a label"),
        ({"train": some([0, 2]), "test": some([0, 1])}, r"found \[0, 2\]"),
        ({"train": some([1, 2]), "test": some([0, 1])}, r"found \[1, 2\]"),
        ({"train": some([0, 0]), "test": some([0, 1])}, "two or more"),
        ({"train": some([0, 1]), "test": ImagesOnly()}, "without a label"),
        ({"train": some([0, 1]), "test": some([0, 1, 2])}, "2"),
        ({"train": some([0, 1]), "test": some([0, 1]), "validation": some([0, 5])}, "5"),
        ({"train": some([0, 1], channels=3), "test": some([0, 1], channels=1)}, "channels|shape"),
    ],
)
def test_parts_that_do_not_fit_are_refused(parts: dict[str, Dataset[Any]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        wrap(**parts)


def test_an_image_is_opened_once_for_its_label() -> None:
    """Labels are asked for many times in a run; decoding a photo each time would cost more than the training."""
    opened: list[int] = []

    class Counted(Dataset[Any]):
        def __len__(self) -> int:
            return 4

        def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
            opened.append(index)
            return torch.zeros(1, 4, 4, dtype=torch.uint8), index % 2

    images = TorchImages(dataset=Counted())
    for _ in range(3):
        assert images.labels(range(4)).tolist() == [0, 1, 0, 1]
    assert opened == [0, 1, 2, 3]


def test_what_is_no_data_set_or_of_another_size_is_refused() -> None:
    with pytest.raises(DataError, match=r"datasets\['labeled'\] is a int; a map-style torch data set is needed"):
        data_set_from_torch({"labeled": 5, "test": some([0, 1])}, name="mine", image_size=None)  # type: ignore[dict-item]
    small = [(torch.zeros(1, 4, 4, dtype=torch.uint8), 0), (torch.zeros(1, 4, 4, dtype=torch.uint8), 1)]
    with pytest.raises(DataError, match=r"Images of `test` are \(1, 4, 4\), training images .* data.image_size"):
        data_set_from_torch({"train": some([0, 1]), "test": small}, name="mine", image_size=None)  # type: ignore[dict-item]
