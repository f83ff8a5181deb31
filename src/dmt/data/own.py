"""A user's torch data sets as a data set of ours: `dmt.run(config, datasets=...)`."""

from collections.abc import Mapping
from typing import Any

from torch.utils.data import ConcatDataset, Dataset

from dmt.data.catalog import pixel_statistics
from dmt.data.images import DataSet, TorchImages
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
    pools = [datasets["train"]] if "train" in datasets else [datasets["labeled"]]
    if "unlabeled" in datasets:
        pools.append(_WithoutLabels(datasets["unlabeled"]))
    train = TorchImages(dataset=ConcatDataset(pools), prefix="train", image_size=image_size)
    test = TorchImages(dataset=datasets["test"], prefix="test", image_size=image_size)
    own = datasets.get("validation")
    validation = None if own is None else TorchImages(dataset=own, prefix="validation", image_size=image_size)
    mean, std = pixel_statistics(train.images(range(min(len(train), _NUM_MEASURED))))
    return DataSet(
        name=name,
        class_names=_class_names(train),
        train=train,
        test=test,
        validation=validation,
        mean=mean,
        std=std,
    )


def _class_names(train: TorchImages) -> tuple[str, ...]:
    labels = train.labels(range(len(train)))
    known = labels[labels != UNLABELED]
    if len(known) == 0:
        raise DataError("No image of the data sets has a label; dmt learns from a few labels and many images.")
    found = sorted(set(known.tolist()))
    if found != list(range(len(found))):
        raise DataError(f"Labels must be 0 .. C-1 with each class present; found {found[:20]}.")
    return tuple(str(label) for label in range(int(known.max()) + 1))
