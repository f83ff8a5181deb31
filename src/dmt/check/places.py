"""The parts of a run as a check walks through them: every image decoded once, and nothing of it kept but numbers."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dmt.check.findings import Findings
from dmt.check.fingerprints import Fingerprint, FingerprintList, Fingerprints, fingerprint
from dmt.data.bands import read_bands
from dmt.data.image_files import Readable, opened
from dmt.data.images import DataSet, ImageSet
from dmt.data.orientation import orientation, upright_size
from dmt.data.pixels import RGB, PixelRule
from dmt.data.problems import Problem
from dmt.data.splits import Split
from dmt.errors import DataError
from dmt.types import IGNORE_INDEX, Observer

_ADVANCE = 64
"""Images between two words to the observer."""
_SHOWN = 8
"""Sizes and modes that are told one by one."""


@dataclass(kw_only=True)
class Place:
    """A part of a run.

    Attributes:
        part: labeled, unlabeled, validation or test.
        images: the set that its images are in.
        indices: which of them; of a sample, those that are looked at.
        num_images: all of them.
        class_names: of class 0, 1, ...
        is_dense: whether labels are masks.
        counts: `(C,)`, images or pixels of each class; of unlabeled images nothing is looked at.
        is_counted: whether every label of every image could be.
        sizes: how many images have which (height, width) in their files.
        modes: how many are stored how, in Pillow's words, or by type and bands.
        num_rotated: how many files ask, by EXIF, to be shown in another orientation.
        num_bytes: of all images as they are decoded.
        prints: fingerprints.
    """

    part: str
    images: ImageSet
    indices: Sequence[int]
    num_images: int
    class_names: tuple[str, ...]
    is_dense: bool
    counts: np.ndarray
    is_counted: bool = True
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    modes: Counter[str] = field(default_factory=Counter)
    num_rotated: int = 0
    num_bytes: int = 0
    prints: Fingerprints = field(default_factory=lambda: FingerprintList(0).finish())

    @property
    def has_labels(self) -> bool:
        """Whether labels may be looked at."""
        return self.part != "unlabeled"

    def name(self, index: int) -> str:
        """Where an image is, for messages."""
        return self.images.key(index)

    def class_of(self, index: int) -> str:
        """The name of an image's class."""
        return self.class_names[int(self.images.labels([index])[0])]

    def differ(self, one: int, other: int) -> bool:
        """Whether the labels of two images do."""
        if not self.has_labels:
            return False
        try:
            ours, theirs = (self.images.labels([index]).numpy() for index in (one, other))
        except DataError:
            return False
        return not np.array_equal(ours, theirs)

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        by_class = dict(zip(self.class_names, self.counts.tolist(), strict=True)) if self.has_labels else None
        sizes = {f"{height}x{width}": count for (height, width), count in self.sizes.most_common(_SHOWN)}
        return {
            "images": self.num_images,
            "looked_at": len(self.indices),
            "readable": len(self.prints),
            "pixels_per_class" if self.is_dense else "images_per_class": by_class,
            "sizes": sizes,
            "num_sizes": len(self.sizes),
            "modes": dict(self.modes.most_common(_SHOWN)),
        }


def places_of(
    data: DataSet, split: Split, *, gives_validation: bool, is_dense: bool, sample: int | None
) -> dict[str, Place]:
    """The parts that are not empty, by their names.

    Args:
        data: the images.
        split: which training images are in which part.
        gives_validation: whether choices are made by the validation part that the data bring.
        is_dense: whether labels are masks.
        sample: images of each part to look at, evenly chosen; None = all.
    """
    members: dict[str, tuple[ImageSet | None, Sequence[int]]] = {
        "labeled": (data.train, sorted(split.labeled)),
        "unlabeled": (data.train, split.unlabeled),
        "validation": (data.train, split.validation),
        "test": (data.test, range(len(data.test or ()))),
    }
    if gives_validation and data.validation is not None:
        members["validation"] = (data.validation, range(len(data.validation)))
    return {
        part: Place(
            part=part,
            images=images,
            indices=_evenly(indices, sample),
            num_images=len(indices),
            class_names=data.class_names,
            is_dense=is_dense,
            counts=_class_counts(images, () if is_dense or part == "unlabeled" else indices, data.num_classes),
        )
        for part, (images, indices) in members.items()
        if images is not None and len(indices)
    }


def walk(place: Place, findings: Findings, observer: Observer, *, tolerated: bool) -> None:
    """Decode every image and every mask of a part, note what cannot be read, and count the rest.

    Args:
        place: filled in.
        findings: where to.
        observer: told of the progress.
        tolerated: whether images that cannot be read are left out of the run, and so no error.
    """
    observer.task_started(f"{place.part} images", len(place.indices))
    prints = FingerprintList(len(place.indices))
    for done, index in enumerate(place.indices, start=1):
        try:
            prints.add(index, _look_at(place, index))
        except DataError as error:
            problem = Problem("unreadable-image", _source_name(place.images, index), str(error))
            findings.add_problem("warning" if tolerated else "error", problem)
        if place.has_labels and place.is_dense:
            _count_pixels(place, index, findings)
        if done % _ADVANCE == 0 or done == len(place.indices):
            observer.task_advanced(done)
    place.prints = prints.finish()
    observer.task_finished()


def _look_at(place: Place, index: int) -> Fingerprint:
    image = place.images.images([index])[0]
    size, mode, is_rotated = _described(place.images, index, channels=len(image))
    place.sizes[size] += 1
    place.num_rotated += is_rotated
    place.modes[mode] += 1
    place.num_bytes += image.nbytes
    return fingerprint(image)


def _class_counts(images: ImageSet, indices: Sequence[int], num_classes: int) -> np.ndarray:
    """How many images of each class; of all, even where a sample is looked at, since their labels are at hand."""
    labels = images.labels(indices).numpy() if len(indices) else np.empty(0, dtype=np.int64)
    return np.bincount(labels[labels >= 0], minlength=num_classes)


def _count_pixels(place: Place, index: int, findings: Findings) -> None:
    """Read a mask and add its pixels to the counts."""
    try:
        labels = place.images.labels([index]).flatten()
    except DataError as error:
        place.is_counted = False
        findings.add_problem("error", Problem("bad-mask", _mask_name(place.images, index), str(error)))
        return
    counts = np.bincount(labels.numpy(), minlength=IGNORE_INDEX + 1)[: len(place.counts)]
    place.counts += counts
    if not counts.any():
        message = f"The mask of {place.name(index)} holds ignored pixels alone."
        findings.add("note", "empty-mask", message, where=place.name(index))


def _described(images: ImageSet, index: int, *, channels: int) -> tuple[tuple[int, int], str, bool]:
    """Size, kind of pixels as they are stored, and whether EXIF asks for another orientation."""
    source = _source(images, index)
    if source is None:
        return images.size(index), f"{channels} channel{'s' * (channels > 1)} in memory", False
    rule: PixelRule = getattr(images, "rule", RGB)
    if rule.is_picture and source.suffix.lower() != ".npy":
        with opened(source) as image:
            size = upright_size(image) if rule.exif_orientation else (image.height, image.width)
            return size, image.mode, orientation(image) != 1
    bands = read_bands(source)
    return bands.shape[:2], f"{bands.dtype} x {bands.shape[2]}", False


def _source(images: ImageSet, index: int) -> Readable | None:
    """An image's file, where it has one."""
    source: Readable | None = images.source(index) if hasattr(images, "source") else None
    return source


def _source_name(images: ImageSet, index: int) -> str:
    source = _source(images, index)
    return images.key(index) if source is None else str(source)


def _mask_name(images: ImageSet, index: int) -> str:
    files = getattr(images, "files", None)
    return images.key(index) if files is None else str(files[index].mask)


def _evenly(indices: Sequence[int], count: int | None) -> Sequence[int]:
    if count is None or len(indices) <= count:
        return indices
    return [indices[place] for place in np.linspace(0, len(indices) - 1, count).round().astype(int).tolist()]
