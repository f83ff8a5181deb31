"""A user's torch data sets as a data set of ours: `dmt.run(config, datasets=...)`."""

from collections.abc import Mapping
from typing import Any

from torch.utils.data import ConcatDataset, Dataset

from dmt.data.images import DataSet, pixel_statistics
from dmt.data.torch_images import TorchImages
from dmt.errors import DataError
from dmt.types import UNLABELED

KNOWN_PARTS = ("train", "labeled", "unlabeled", "validation", "test")
_NUM_MEASURED = 1000
"""Images that mean and standard deviation are measured on."""


class _WithoutLabels(Dataset[Any]):
    """The images of a data set whose items may or may not hold labels, each with the label "none"."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        item = self._dataset[index]
        return (item[0] if isinstance(item, tuple | list) else item), UNLABELED


def data_set_from_torch(
    datasets: Mapping[str, Dataset[Any]], *, name: str, image_size: tuple[int, int] | None
) -> DataSet:
    """Wrap map-style torch data sets.

    With `labeled` and `unlabeled`, all images of `labeled` are the labeled ones, and labels that items of `unlabeled`
    may hold are never read. With `train`, labels are drawn from it; items of label -1 are unlabeled.

    Raises:
        DataError: when parts are missing or unknown, or labels are not 0 .. C-1.
    """
    unknown = sorted(set(datasets) - set(KNOWN_PARTS))
    if unknown:
        raise DataError(f"datasets has the unknown part {unknown[0]!r}; allowed are {', '.join(KNOWN_PARTS)}.")
    if "test" not in datasets or ("train" in datasets) == ("labeled" in datasets):
        raise DataError("datasets needs `test`, and either `train` or `labeled` (with `unlabeled`).")
    for name_of_part, dataset in datasets.items():
        if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
            raise DataError(
                f"datasets[{name_of_part!r}] is a {type(dataset).__name__}; a map-style torch data set is needed."
            )
    pools = [datasets["train"]] if "train" in datasets else [datasets["labeled"]]
    if "unlabeled" in datasets:
        pools.append(_WithoutLabels(datasets["unlabeled"]))
    train = TorchImages(dataset=ConcatDataset(pools), prefix="train", image_size=image_size)
    test = TorchImages(dataset=datasets["test"], prefix="test", image_size=image_size)
    own = datasets.get("validation")
    validation = None if own is None else TorchImages(dataset=own, prefix="validation", image_size=image_size)
    names = _class_names(train)
    for part in (test, validation):
        if part is not None:
            _check_scored(part, train, num_classes=len(names))
    mean, std = pixel_statistics(train.images(range(min(len(train), _NUM_MEASURED))))
    return DataSet(
        name=name,
        class_names=names,
        train=train,
        test=test,
        validation=validation,
        mean=mean,
        std=std,
    )


def _check_scored(part: TorchImages, train: TorchImages, *, num_classes: int) -> None:
    """Refuse a part to be scored on that is empty, or differs from the training images in classes or channels."""
    if len(part) == 0:
        raise DataError(f"The part `{part.prefix}` of datasets is empty; leave it out or fill it.")
    labels = part.labels(range(len(part)))
    wrong = ((labels < 0) | (labels >= num_classes)).nonzero()
    if len(wrong):
        index = int(wrong[0])
        raise DataError(
            f"Image {index} of `{part.prefix}` has the label {int(labels[index])}; the labeled images have the classes "
            f"0 .. {num_classes - 1}."
        )
    found, expected = tuple(part.images([0]).shape[1:]), tuple(train.images([0]).shape[1:])
    if found != expected:
        raise DataError(
            f"Images of `{part.prefix}` are {found}, training images {expected} (channels, height, width). "
            "data.image_size brings them to one size."
        )


def _class_names(train: TorchImages) -> tuple[str, ...]:
    labels = train.labels(range(len(train)))
    known = labels[labels != UNLABELED]
    if len(known) == 0:
        raise DataError("No image of the data sets has a label; dmt learns from a few labels and many images.")
    found = sorted(set(known.tolist()))
    if found != list(range(len(found))):
        raise DataError(f"Labels must be 0 .. C-1 with each class present; found {found[:20]}.")
    if len(found) < 2:
        raise DataError("All labels are of one class; two or more are needed.")
    return tuple(str(label) for label in range(int(known.max()) + 1))
