"""A user's torch data sets and arrays as a data set of ours: `dmt.run(config, datasets=...)`."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch.utils.data import ConcatDataset, Dataset

from dmt.data.arrays import as_dataset
from dmt.data.images import DataSet, measured
from dmt.data.torch_images import TorchImages
from dmt.data.torch_masks import TorchMasks
from dmt.errors import DataError
from dmt.types import IGNORE_INDEX, UNLABELED

KNOWN_PARTS = ("train", "labeled", "unlabeled", "validation", "test")
_NUM_MEASURED = 1000
"""Images that mean and standard deviation are measured on."""


class _WithoutLabels(Dataset[Any]):
    """The images of a data set whose items may or may not hold labels, each with the label `label`."""

    def __init__(self, dataset: Any, label: Any) -> None:
        self._dataset = dataset
        self._label = label

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        item = self._dataset[index]
        return (item[0] if isinstance(item, tuple | list) else item), self._label


def data_set_from_torch(
    datasets: Mapping[str, Any],
    *,
    name: str,
    image_size: tuple[int, int] | None,
    class_names: Sequence[str] | None = None,
) -> DataSet:
    """Wrap map-style torch data sets and arrays for classification.

    With `labeled` and `unlabeled`, all images of `labeled` are the labeled ones, and labels that items of `unlabeled`
    may hold are never read. With `train`, labels are drawn from it; items of label -1 are unlabeled.

    Args:
        datasets: by part; each a torch data set, a pair of arrays `(X, y)`, or an array of images alone.
        name: of the whole.
        image_size: (height, width) to resize to; None where all images have one size.
        class_names: what class 0, 1, ... are called; None = their numbers.

    Raises:
        DataError: when parts are missing or unknown, labels are not 0 .. C-1, or there is not a name for each.
    """
    parts = _joined(datasets, without=UNLABELED)
    sets = {part: TorchImages(dataset=one, prefix=part, image_size=image_size) for part, one in parts.items()}
    train = sets["train"]
    names = _class_names(train, class_names)
    for part, images in sets.items():
        if part != "train":
            _check_scored(images, train, num_classes=len(names))
    mean, std = measured(train, at_most=_NUM_MEASURED)
    return _as_data_set(sets, name, names, mean, std)


def masked_data_set(
    datasets: Mapping[str, Any],
    *,
    name: str,
    image_size: tuple[int, int] | None,
    class_names: Sequence[str] | None = None,
    ignore_index: int = IGNORE_INDEX,
) -> DataSet:
    """Wrap map-style torch data sets and arrays for segmentation.

    Parts are as in `data_set_from_torch`; a label is a mask, and None or a mask that ignores every pixel says that
    there is none.

    Args:
        datasets: by part; each a torch data set, a pair of arrays or lists `(X, y)`, or images alone.
        name: of the whole.
        image_size: (height, width) to resize to; None leaves every image its own size.
        class_names: what class 0, 1, ... are called; None = 0 .. the largest value in training masks.
        ignore_index: the value in masks that counts nothing.

    Raises:
        DataError: when parts are missing or unknown, or masks hold other values than classes.
    """
    parts = _joined(datasets, without=None)
    sets = {
        part: TorchMasks(dataset=one, prefix=part, image_size=image_size, ignore_index=ignore_index)
        for part, one in parts.items()
    }
    train = sets["train"]
    names = tuple(class_names) if class_names is not None else _names_of_masks(train)
    for part, images in sets.items():
        _check_masks(images, num_classes=len(names), all_known=part != "train")
        _check_channels(images, train)
    mean, std = measured(train, at_most=_NUM_MEASURED)
    return _as_data_set(sets, name, names, mean, std)


def _as_data_set(
    sets: Mapping[str, TorchImages], name: str, names: tuple[str, ...], mean: tuple[float, ...], std: tuple[float, ...]
) -> DataSet:
    return DataSet(
        name=name,
        class_names=names,
        train=sets["train"],
        test=sets.get("test"),
        validation=sets.get("validation"),
        mean=mean,
        std=std,
    )


def _joined(datasets: Mapping[str, Any], *, without: Any) -> dict[str, Any]:
    """The parts `train`, `validation` and `test`; what comes without a label has the label `without`."""
    unknown = sorted(set(datasets) - set(KNOWN_PARTS))
    if unknown:
        raise DataError(f"datasets has the unknown part {unknown[0]!r}; allowed are {', '.join(KNOWN_PARTS)}.")
    if ("train" in datasets) == ("labeled" in datasets):
        raise DataError("datasets needs either `train` or `labeled` (with `unlabeled`).")
    parts = {part: as_dataset(one, name=part) for part, one in datasets.items()}
    pools = [parts["train"] if "train" in parts else parts["labeled"]]
    if "unlabeled" in parts:
        pools.append(_WithoutLabels(parts["unlabeled"], without))
    kept: dict[str, Any] = {part: parts[part] for part in ("validation", "test") if part in parts}
    for part, one in kept.items():
        if len(one) == 0:
            raise DataError(f"The part `{part}` of datasets is empty; leave it out or fill it.")
    return {"train": ConcatDataset(pools), **kept}


def _check_scored(part: TorchImages, train: TorchImages, *, num_classes: int) -> None:
    """Refuse a part to be scored on that differs from the training images in classes, size or channels."""
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


def _class_names(train: TorchImages, given: Sequence[str] | None) -> tuple[str, ...]:
    labels = train.labels(range(len(train)))
    known = labels[labels != UNLABELED]
    if len(known) == 0:
        raise DataError("No image of the data sets has a label; dmt learns from a few labels and many images.")
    found = sorted(set(known.tolist()))
    if found != list(range(len(found))):
        raise DataError(f"Labels must be 0 .. C-1 with each class present; found {found[:20]}.")
    if len(found) < 2:
        raise DataError("All labels are of one class; two or more are needed.")
    if given is None:
        return tuple(map(str, found))
    if len(set(given)) < len(given) or len(given) != len(found):
        raise DataError(
            f"data.class_names is {', '.join(given)}, and the labels are 0 .. {len(found) - 1}; a name of its own for "
            "each is needed, in their order."
        )
    return tuple(given)


def _names_of_masks(train: TorchMasks) -> tuple[str, ...]:
    largest = [int(mask[mask != IGNORE_INDEX].max()) for mask in map(train.mask, range(len(train))) if mask is not None]
    if not largest:
        raise DataError("No image of the data sets has a mask; dmt learns from a few masks and many images.")
    if max(largest) < 1:
        raise DataError("All masks are of one class, 0; two or more are needed. Or name the classes: data.class_names.")
    return tuple(str(label) for label in range(max(largest) + 1))


def _check_masks(part: TorchMasks, *, num_classes: int, all_known: bool) -> None:
    """Refuse masks that hold a class which there is not, and missing ones where images are scored."""
    for index in range(len(part)):
        mask = part.mask(index)
        if mask is None:
            if all_known:
                raise DataError(f"Item {index} of `{part.prefix}` has no mask; what is scored on needs masks.")
            continue
        wrong = mask[(mask >= num_classes) & (mask != IGNORE_INDEX)]
        if len(wrong):
            raise DataError(
                f"The mask of item {index} of `{part.prefix}` holds the class {int(wrong[0])}; the classes are "
                f"0 .. {num_classes - 1}, by the training masks or data.class_names."
            )


def _check_channels(part: TorchMasks, train: TorchMasks) -> None:
    found, expected = part.images([0]).shape[1], train.images([0]).shape[1]
    if found != expected:
        raise DataError(f"Images of `{part.prefix}` have {found} channels, training images {expected}.")
