"""One's own images with shapes in COCO's JSON: `data.name=coco`, for segmentation by class."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import BaseModel, Field, ValidationError
from torch import Tensor

from dmt.config_sections import DataConfig
from dmt.data.class_lists import ClassList
from dmt.data.image_files import IMAGE_SUFFIXES, left_out, list_files, tell_other_images
from dmt.data.images import DataSet
from dmt.data.mask_coding import MAX_CLASSES, MaskCoding
from dmt.data.mask_folder import listed_parts
from dmt.data.mask_listing import MaskListing, segmented
from dmt.data.mask_sets import root_folder
from dmt.data.masked_images import ImageFile
from dmt.errors import ConfigError, DataError

BACKGROUND = "background"
"""Class 0: what no shape covers."""
_ANNOTATIONS = "annotations.json"
_FARTHEST = 10
"""Image sides that a corner may lie outside; pycocotools fills memory on its way to one that is farther."""


class _Rle(BaseModel):
    size: Annotated[list[int], Field(min_length=2, max_length=2)]
    counts: str | list[int]


class _Image(BaseModel):
    id: int
    file_name: str
    height: Annotated[int, Field(gt=0)]
    width: Annotated[int, Field(gt=0)]


class _Shape(BaseModel):
    image_id: int
    category_id: int
    segmentation: list[Annotated[list[float], Field(min_length=6)]] | _Rle


class _Category(BaseModel):
    id: int
    name: str


class _File(BaseModel):
    images: list[_Image]
    annotations: list[_Shape]
    categories: list[_Category]

    @cached_property
    def class_of(self) -> dict[int, int]:
        """Class by category id: 1, 2, ... in the order of the ids."""
        ordered = sorted(category.id for category in self.categories)
        return {category: k for k, category in enumerate(ordered, start=1)}


@dataclass(frozen=True)
class ShapesMask:
    """The mask that an image's shapes make: the larger first, so that a small thing on a large one shows.

    Attributes:
        origin: where the shapes are, for messages.
        height, width: of the image.
        shapes: class and shape of each thing.
    """

    origin: str
    height: int
    width: int
    shapes: Sequence[tuple[int, Any]]

    def __str__(self) -> str:
        return self.origin

    def size(self) -> tuple[int, int]:
        """As the JSON says."""
        return self.height, self.width

    def read(self, coding: MaskCoding) -> Tensor:
        """The class of each pixel, `(H, W)` uint8; 0 where there is no shape.

        Raises:
            DataError: a shape that is none.
        """
        # Filled twice, since all of them at once would take a byte a pixel each.
        areas = [int(self._filled(shape).sum()) for _, shape in self.shapes]
        mask = np.zeros((self.height, self.width), dtype=np.uint8)
        for number in sorted(range(len(areas)), key=lambda number: -areas[number]):
            k, shape = self.shapes[number]
            mask[self._filled(shape)] = k
        return torch.from_numpy(mask)

    def _filled(self, shape: Any) -> np.ndarray:
        if isinstance(shape, list):
            return self._inside(shape)
        if tuple(shape.size) != self.size():
            raise DataError(
                f"{self.origin} has a shape for {shape.size[0]} x {shape.size[1]} pixels, but is {self.height} x "
                f"{self.width}. Mend or delete it."
            )
        runs = _unpacked(shape.counts) if isinstance(shape.counts, str) else shape.counts
        # In Python's numbers, which have no largest one to wrap around at.
        if min(runs, default=0) < 0 or sum(runs) != self.height * self.width:
            raise DataError(
                f"{self.origin} has a shape whose run lengths do not come to {self.height} x {self.width} pixels. Mend "
                "or delete it."
            )
        area = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
        return area.reshape(self.width, self.height).T  # runs go down the columns

    def _inside(self, polygons: list[list[float]]) -> np.ndarray:
        coder = _coder()
        farthest = _FARTHEST * max(self.height, self.width)
        # Asked so, NaN is refused, too.
        if not all(abs(value) <= farthest for polygon in polygons for value in polygon):
            raise DataError(f"{self.origin} has a polygon whose corners lie far outside the image. Mend or delete it.")
        if not polygons:
            return np.zeros(self.size(), dtype=bool)
        try:
            runs = coder.merge(coder.frPyObjects(polygons, self.height, self.width))
            return np.array(coder.decode([runs])[:, :, 0], dtype=bool)
        except (ValueError, TypeError, OverflowError, MemoryError) as error:
            raise DataError(f"{self.origin} has a polygon that cannot be read ({error}). Mend it.") from error


def coco(config: DataConfig, image_size: tuple[int, int] | None) -> DataSet:
    """Images below data.root (or its `images`), shapes in `annotations.json` or the file of data.annotations.

    Images that the file lists are labeled, all others unlabeled. Class 0 is the background; the categories follow by
    their ids. Lists of names say what is for choices and what for reported figures, as in `folder`.

    Raises:
        ConfigError: data.root is not given, or pycocotools is not installed.
        DataError: files are missing, damaged or contradict each other.
    """
    root = root_folder(config)
    path = root / (config.annotations or _ANNOTATIONS)
    content = _load(path)
    _check(content, path)
    images = root / "images" if (root / "images").is_dir() else root
    tell_other_images(images, IMAGE_SUFFIXES)
    names = (BACKGROUND, *(category.name for category in sorted(content.categories, key=lambda one: one.id)))
    if config.class_names is not None:
        raise ConfigError(f"data.class_names has no effect on coco: the categories of {path} are the classes.")
    listing = MaskListing(
        files=_files(content, path, images),
        classes=ClassList(names=names),
        origin=path,
        hint="Its `images` name the labeled ones.",
        root=root,
    )
    return segmented(listing, config, image_size, parts=listed_parts(config, root, masks=path))


def _load(path: Path) -> _File:
    try:
        return _File.model_validate(json.loads(path.read_text(encoding="utf-8-sig")))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise DataError(f"{path} is no COCO file: {place}: {first['msg']}. Export it again.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read as JSON ({error}). Get the file again.") from error


def _check(content: _File, path: Path) -> None:
    """Refuse ids that clash or lead nowhere, and more classes than a mask can hold."""
    for what, ids in (
        ("image", [image.id for image in content.images]),
        ("category", [category.id for category in content.categories]),
    ):
        if len(set(ids)) < len(ids):
            twice = next(one for one in ids if ids.count(one) > 1)
            raise DataError(f"{path} has two of the {what} id {twice}. Give each its own.")
    names = [BACKGROUND, *(category.name for category in content.categories)]
    if len(set(names)) < len(names) or not 2 <= len(names) <= MAX_CLASSES:
        raise DataError(
            f"{path} has {len(names) - 1} categories; 1 to {MAX_CLASSES - 1} with names of their own are needed, none "
            f"of them {BACKGROUND!r}."
        )
    images = {image.id for image in content.images}
    for number, shape in enumerate(content.annotations):
        if shape.image_id not in images or shape.category_id not in content.class_of:
            raise DataError(
                f"{path}: annotation {number} is for image {shape.image_id} and category {shape.category_id}, one of "
                "which the file does not have. Export it again."
            )


def _files(content: _File, path: Path, images: Path) -> tuple[ImageFile, ...]:
    found, masks = list_files(images, IMAGE_SUFFIXES), _masks(content, path)
    left_out(images, IMAGE_SUFFIXES, set(found.values()))
    names = {key: file.relative_to(images).as_posix() for key, file in found.items()}
    missing = sorted(set(masks) - set(names.values()))
    if missing:
        raise DataError(f"{path} lists {missing[0]!r}, but there is no file {images / missing[0]}.")
    return tuple(ImageFile(key, file, masks.get(names[key])) for key, file in found.items())


def _masks(content: _File, path: Path) -> Mapping[str, ShapesMask]:
    shapes: dict[int, list[tuple[int, Any]]] = defaultdict(list)
    for one in content.annotations:
        shapes[one.image_id].append((content.class_of[one.category_id], one.segmentation))
    masks: dict[str, ShapesMask] = {}
    for image in content.images:
        if image.file_name in masks:
            raise DataError(f"{path} lists {image.file_name!r} twice. Name each image once.")
        origin = f"{path}, image {image.file_name!r}"
        masks[image.file_name] = ShapesMask(origin, image.height, image.width, shapes[image.id])
    return masks


def _unpacked(text: str) -> list[int]:
    """COCO's compressed run lengths, or [-1] for what is none.

    Each is five bits a character, lowest first; from the third on, a difference to the run before the last one.
    """
    runs: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        value |= (bits & 0x1F) << shift
        shift += 5
        if not 0 <= bits < 64 or shift > 60:
            return [-1]
        if bits & 0x20:
            continue
        if bits & 0x10:
            value -= 1 << shift  # negative
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    return runs


def _coder() -> Any:
    try:
        from pycocotools import mask
    except ImportError as error:
        raise ConfigError("data.name=coco needs pycocotools: pip install 'dmt-ssl[coco]'.") from error
    return mask
