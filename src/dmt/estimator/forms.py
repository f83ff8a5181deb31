"""What training has learned of the form of X, so that later images are read by the same rule."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from dmt.data.image_list import ListedImages
from dmt.data.images import ArrayImages, ImageSet, measured, pixel_statistics, resize
from dmt.data.pixels import PixelRule
from dmt.data.torch_images import tensor_of
from dmt.data.with_masks import LooseImages, WithMasks
from dmt.errors import DataError
from dmt.estimator.given import Pictures, kind_of, paths_in, pictures_in, rows_as_pictures
from dmt.types import UNLABELED

Size: TypeAlias = tuple[int, int]
Statistics: TypeAlias = tuple[tuple[float, ...], tuple[float, ...]]


@dataclass(frozen=True, kw_only=True)
class TableForm:
    """A table of features, each a channel of an image of one pixel, standardized in double precision.

    Attributes:
        center: what is subtracted from each feature: its mean in training.
        scale: what each is then divided by: its standard deviation, or 1 where it never changes.
    """

    center: tuple[float, ...]
    scale: tuple[float, ...]

    def read(self, X: np.ndarray, prefix: str) -> ArrayImages:
        """`(N, features)` -> `(N, features, 1, 1)` float32, without labels."""
        if kind_of(X) != "rows":
            raise DataError("X holds images, but this estimator was fitted on a table of features.")
        standardized = (np.asarray(X, dtype=np.float64) - self.center) / self.scale
        return _unlabeled(torch.from_numpy(standardized.astype(np.float32))[:, :, None, None], prefix)

    def statistics(self, images: ImageSet) -> Statistics:
        """Mean and standard deviation for the network: what is standardized already."""
        del images
        return (0.0,) * len(self.center), (1.0,) * len(self.center)


@dataclass(frozen=True, kw_only=True)
class ImageForm:
    """Images, as rows, arrays or files.

    Attributes:
        channels: 1 gray, 3 RGB, others are bands.
        size: height and width of all images; None where they may differ.
        image_size: what they are resized to; None = they have `size` as they come.
        value_range: the numbers that networks get as 0 and 1; none is cut off. None = uint8 levels.
        row_shape: what rows of a table are reshaped to.
    """

    channels: int
    size: Size | None
    image_size: Size | None
    value_range: tuple[float, float] | None
    row_shape: tuple[int, ...] | None

    def read(self, X: Any, prefix: str) -> ImageSet:
        """X as images without labels.

        Raises:
            DataError: X does not fit the form.
        """
        if kind_of(X) == "paths":
            return self._read_files(paths_in(X), prefix)
        pictures = self.pictures(X)
        self._check_numbers(pictures)
        if isinstance(pictures, np.ndarray):
            return _unlabeled(self._ready(pictures), prefix)
        ready = [self._ready(picture[None])[0] for picture in pictures]
        return _unlabeled(torch.stack(ready), prefix) if self.image_size else LooseImages(ready, prefix)

    def original_sizes(self, X: Any) -> list[Size]:
        """Height and width of each image as it comes."""
        if kind_of(X) == "paths":
            return [self._rule.size(path) for path in paths_in(X)]
        return [(picture.shape[0], picture.shape[1]) for picture in self.pictures(X)]

    def pictures(self, X: Any) -> Pictures:
        """X, which holds no paths, as arrays with channels last."""
        if kind_of(X) == "arrays":
            return pictures_in(X)
        if self.row_shape is None:
            raise DataError("X is a table, but this estimator takes images; image_shape says how rows become images.")
        return rows_as_pictures(np.asarray(X), self.row_shape)

    def statistics(self, images: ImageSet) -> Statistics:
        """Mean and standard deviation of each channel; 1 in place of 0."""
        images = images.source if isinstance(images, WithMasks) else images
        if isinstance(images, ArrayImages):
            mean, std = pixel_statistics(images.pixels)
        elif isinstance(images, LooseImages):
            mean, std = pixel_statistics(torch.cat([one.flatten(1) for one in images.pixels], dim=1)[None, :, :, None])
        else:
            mean, std = measured(images)
        return mean, tuple(one if one > 0 else 1.0 for one in std)

    @property
    def _rule(self) -> PixelRule:
        return PixelRule(channels=self.channels)

    def _read_files(self, paths: list[Path], prefix: str) -> ListedImages:
        if self.value_range is not None:
            raise DataError("X holds paths, but this estimator was fitted on real numbers, which files have none of.")
        images = ListedImages(
            keys=[f"{prefix}/{index:05d}" for index in range(len(paths))],
            sources=paths,
            truth=torch.full((len(paths),), UNLABELED),
            rule=self._rule,
            image_size=self.image_size,
        )
        for path in paths if self.size is not None else ():
            self._check_size(str(path), self._rule.size(path))
        return images

    def _check_numbers(self, pictures: Pictures) -> None:
        for index, picture in enumerate([pictures] if isinstance(pictures, np.ndarray) else pictures):
            what = "X" if isinstance(pictures, np.ndarray) else f"X[{index}]"
            if picture.shape[-1] != self.channels:
                raise DataError(f"{what} has {picture.shape[-1]} channels; the training images have {self.channels}.")
            if self.value_range is None and picture.dtype != np.uint8:
                raise DataError(f"{what} is {picture.dtype}, but the training images are uint8, levels from 0 to 255.")
            self._check_size(what, (picture.shape[-3], picture.shape[-2]))

    def _check_size(self, what: str, found: Size) -> None:
        if self.image_size is None and self.size is not None and found != self.size:
            raise DataError(
                f"{what} has images of {found[0]} x {found[1]} (height x width), but training images are "
                f"{self.size[0]} x {self.size[1]}. Give image_size=(HEIGHT, WIDTH), which all images are resized to."
            )

    def _ready(self, pictures: np.ndarray) -> Tensor:
        """`(n, H, W, channels)` -> `(n, channels, H, W)` as networks want it."""
        if self.value_range is not None:
            low, high = self.value_range
            pictures = ((pictures.astype(np.float64) - low) / (high - low)).astype(np.float32)
        images = tensor_of(np.moveaxis(pictures, -1, 1))
        return images if self.image_size is None else resize(images, self.image_size)


Form: TypeAlias = TableForm | ImageForm


def learn_table(X: np.ndarray) -> TableForm:
    """The form of a table of features."""
    scaler = StandardScaler().fit(np.asarray(X, dtype=np.float64))
    return TableForm(center=tuple(scaler.mean_.tolist()), scale=tuple(scaler.scale_.tolist()))


def learn_images(
    X: Any,
    *,
    image_shape: Sequence[int] | None,
    image_size: Sequence[int] | None,
    may_differ: bool,
) -> ImageForm:
    """The form of images.

    Args:
        X: rows, arrays or paths.
        image_shape: (height, width) or (height, width, channels): of rows; of files, what they are brought to.
        image_size: (height, width) to resize to.
        may_differ: whether images may be of several sizes without `image_size`.

    Raises:
        DataError: they cannot be images of one data set.
    """
    shape = _checked(image_shape, "image_shape", (2, 3))
    resized = _checked(image_size, "image_size", (2,))
    if kind_of(X) == "paths":
        return _learn_files(paths_in(X), shape, resized or (shape and shape[:2]), may_differ=may_differ)
    form = ImageForm(channels=1, size=None, image_size=_pair(resized), value_range=None, row_shape=shape)
    pictures = form.pictures(X)
    sizes = {(one.shape[0], one.shape[1]) for one in pictures}
    if len(sizes) > 1 and resized is None and not may_differ:
        raise DataError(f"Images in X differ in size: {sorted(sizes)[:3]}. Give image_size=(HEIGHT, WIDTH).")
    return ImageForm(
        channels=pictures[0].shape[-1],
        size=next(iter(sizes)) if len(sizes) == 1 and not may_differ else None,
        image_size=_pair(resized),
        value_range=_value_range(pictures),
        row_shape=shape,
    )


def _learn_files(
    paths: list[Path], shape: tuple[int, ...] | None, resized: tuple[int, ...] | None, *, may_differ: bool
) -> ImageForm:
    rule = PixelRule(channels=shape[2] if shape is not None and len(shape) == 3 else 3)
    size = None if resized is not None or may_differ else rule.size(paths[0])
    return ImageForm(channels=rule.channels, size=size, image_size=_pair(resized), value_range=None, row_shape=shape)


def _value_range(pictures: Pictures) -> tuple[float, float] | None:
    """The lowest and the highest number in training; None where all are uint8."""
    if all(one.dtype == np.uint8 for one in pictures):
        return None
    low, high = (float(pick([pick(one) for one in pictures])) for pick in (np.min, np.max))
    return (low, high) if high > low else (low, low + 1.0)


def _checked(numbers: Sequence[int] | None, name: str, lengths: tuple[int, ...]) -> tuple[int, ...] | None:
    if numbers is None:
        return None
    try:
        found = tuple(numbers)
    except TypeError:
        found = ()
    if len(found) not in lengths or not all(isinstance(one, int | np.integer) and one > 0 for one in found):
        wanted = "(HEIGHT, WIDTH)" if lengths == (2,) else "(HEIGHT, WIDTH) or (HEIGHT, WIDTH, CHANNELS)"
        raise DataError(f"{name} is {numbers!r}; {wanted} is needed, whole numbers above 0.")
    return tuple(int(one) for one in found)


def _pair(numbers: tuple[int, ...] | None) -> Size | None:
    return None if numbers is None else (numbers[0], numbers[1])


def _unlabeled(pixels: Tensor, prefix: str) -> ArrayImages:
    return ArrayImages(pixels, torch.full((len(pixels),), UNLABELED), prefix)
