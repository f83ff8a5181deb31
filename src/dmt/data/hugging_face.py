"""One's own images in a folder that Hugging Face's `datasets` saved: `data.name=huggingface`."""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Literal

from dmt.config_sections import DataConfig
from dmt.data.class_lists import load_class_list
from dmt.data.images import DataSet
from dmt.data.listing import Listing, classified
from dmt.data.mask_listing import MaskListing, segmented
from dmt.data.mask_sets import root_folder
from dmt.data.mask_sources import MaskFile
from dmt.data.masked_images import ImageFile
from dmt.errors import ConfigError, DataError
from dmt.types import UNLABELED

_PART_OF = {
    "train": "train",
    "labeled": "train",
    "unlabeled": "train",
    "validation": "validation",
    "val": "validation",
    "test": "test",
}
_UNLABELED = "unlabeled"
_IMAGE, _LABEL, _MASKS = "image", "label", ("mask", "annotation", "segmentation", "label")


@dataclass(frozen=True)
class _Cell:
    """An image in a row of a table: its bytes, or the file that the row names."""

    table: Any
    row: int
    column: str
    split: str
    root: Path

    def __str__(self) -> str:
        return f"{self.root}, {self.split}, row {self.row}, column {self.column}"

    @property
    def suffix(self) -> str:
        """Of the file that the row was made from."""
        return PurePosixPath(self._value().get("path") or "").suffix

    def open(self, mode: Literal["rb"], /) -> BinaryIO:
        """Its bytes, in memory."""
        value = self._value()
        if value.get("bytes") is not None:
            return io.BytesIO(value["bytes"])
        raise DataError(f"{self} names a file and holds no bytes. Save the data set with its images in it.")

    def _value(self) -> Mapping[str, Any]:
        return self.table[self.row][self.column] or {}


@dataclass(frozen=True)
class _Row:
    key: str
    part: str
    image: _Cell
    label: str | None
    mask: _Cell | None


def hugging_face_classes(config: DataConfig, image_size: tuple[int, int] | None) -> DataSet:
    """Images of the column `image` with the classes of `label`; splits train (or labeled), unlabeled, validation, test.

    A label that is None, NaN, -1 or empty is none.

    Raises:
        ConfigError: data.root is not given, or `datasets` is not installed.
        DataError: the folder cannot be read, or a column is missing.
    """
    root = root_folder(config)
    rows = list(_rows(root, masks=False))
    listing = Listing(
        keys=[row.key for row in rows],
        sources=[row.image for row in rows],
        labels=[row.label for row in rows],
        parts=[row.part for row in rows],
        origin=root,
        place=lambda index: str(rows[index].image),
        root=root,
    )
    return classified(listing, config, image_size)


def hugging_face_masks(config: DataConfig, image_size: tuple[int, int] | None) -> DataSet:
    """Images of the column `image` with masks in a second column of images, `mask` for instance.

    Raises:
        ConfigError: data.root is not given, lists are, or `datasets` is not installed.
        DataError: the folder cannot be read, or a column is missing.
    """
    root = root_folder(config)
    for key in ("validation", "test"):
        if getattr(config, key) is not None:
            raise ConfigError(
                f"data.{key} has no effect on masks that `datasets` saved: their splits say what is what."
            )
    rows = list(_rows(root, masks=True))
    listing = MaskListing(
        files=tuple(ImageFile(row.key, row.image, None if row.mask is None else MaskFile(row.mask)) for row in rows),
        classes=load_class_list(config, root),
        origin=root,
        hint=f"A column of images named {', '.join(_MASKS)} holds them.",
        root=root,
    )
    members = {part: [index for index, row in enumerate(rows) if row.part == part] for part in ("validation", "test")}
    return segmented(listing, config, image_size, parts=lambda _: members)


def _rows(root: Path, *, masks: bool) -> Iterator[_Row]:
    for split, table in _tables(root).items():
        labels = _labels(table, root, split) if not masks and split != _UNLABELED else [None] * len(table)
        column = next((name for name in _MASKS if name in _image_columns(table)), None) if masks else None
        if _IMAGE not in _image_columns(table):
            raise DataError(
                f"{root}, {split}: there is no column `{_IMAGE}` of images; the columns are "
                f"{', '.join(table.column_names)}."
            )
        bare = _undecoded(table)
        present = [False] * len(table) if column is None or split == _UNLABELED else _present(bare, column)
        for row, label in enumerate(labels):
            mask = _Cell(bare, row, str(column), split, root) if present[row] else None
            yield _Row(f"{split}/{row:06d}", _PART_OF[split], _Cell(bare, row, _IMAGE, split, root), label, mask)


def _tables(root: Path) -> dict[str, Any]:
    """The tables by their split."""
    library = _library()
    try:
        loaded = library.load_from_disk(str(root))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"data.root is {root}, which `datasets` cannot load ({error}). It is a folder that save_to_disk wrote."
        ) from error
    tables = dict(loaded) if isinstance(loaded, library.DatasetDict) else {"train": loaded}
    unknown = next((split for split in tables if split not in _PART_OF), None)
    if unknown is not None:
        raise DataError(f"{root} has the split {unknown!r}; allowed are {', '.join(_PART_OF)}.")
    return tables


def _image_columns(table: Any) -> list[str]:
    image = _library().Image
    return [name for name, feature in table.features.items() if isinstance(feature, image)]


def _undecoded(table: Any) -> Any:
    """The table whose images are bytes, so that ours is the only reader of images."""
    image = _library().Image
    for name in _image_columns(table):
        table = table.cast_column(name, image(decode=False))
    return table


def _present(table: Any, column: str) -> list[bool]:
    return [bool(valid) for valid in table.data.column(column).is_valid().to_pylist()]


def _labels(table: Any, root: Path, split: str) -> Sequence[str | None]:
    if _LABEL not in table.column_names:
        raise DataError(f"{root}, {split}: there is no column `{_LABEL}`; it has {', '.join(table.column_names)}.")
    names = getattr(table.features[_LABEL], "names", None)
    values = table[_LABEL]
    return [_label(value, names) for value in values]


def _label(value: Any, names: Sequence[str] | None) -> str | None:
    """The name of a class; None for what says that there is none."""
    if value is None or value in (UNLABELED, "") or value != value:  # only NaN differs from itself
        return None
    if names is not None:
        return str(names[value])
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _library() -> Any:
    try:
        import datasets
    except ImportError as error:
        raise ConfigError("data.name=huggingface needs `datasets`: pip install 'dmt-ssl[huggingface]'.") from error
    return datasets
