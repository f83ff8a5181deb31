"""Images with one class each as files: the set that every reader of one's own images ends in."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dmt.data.image_files import Readable
from dmt.data.images import resize
from dmt.data.memory import TensorMemory
from dmt.data.pixels import RGB, PixelRule
from dmt.data.problems import refuse
from dmt.errors import DataError
from dmt.types import UNLABELED

Measured = tuple[str, tuple[int, int]]
"""An image's file, and its height and width."""


@dataclass(frozen=True)
class FilesBelow(Sequence[Path]):
    """Files by their names below a folder; paths are made when they are asked for, since a million of them is much."""

    folder: Path
    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Path:  # type: ignore[override]
        return self.folder / self.names[index]

    def __iter__(self) -> Iterator[Path]:
        return (self.folder / name for name in self.names)


@dataclass(frozen=True, kw_only=True)
class ListedImages:
    """Files with a class each, as an `ImageSet`; decoded when they are asked for, and kept while that is little.

    Attributes:
        keys: the images' names in split files.
        sources: their files.
        truth: `(N,)` int64, the class of each; -1 = none.
        rule: what the values in the files stand for.
        image_size: (height, width) to resize to; None where all images have one size.
    """

    keys: Sequence[str]
    sources: Sequence[Readable]
    truth: Tensor
    rule: PixelRule = RGB
    image_size: tuple[int, int] | None = None
    _sizes: dict[int, tuple[int, int]] = field(default_factory=dict, init=False, repr=False, compare=False)
    _memory: TensorMemory = field(default_factory=TensorMemory, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        assert len(self.keys) == len(self.sources) == len(self.truth)

    def __len__(self) -> int:
        return len(self.keys)

    def images(self, indices: Sequence[int]) -> Tensor:
        """`(n, channels, H, W)` uint8.

        Raises:
            DataError: a file cannot be read or does not fit the rule, or images differ in size.
        """
        images = [self._memory.recall(int(index), partial(self._image, int(index))) for index in indices]
        for index, image in zip(indices, images, strict=True):
            if image.shape != images[0].shape:
                raise different_sizes(
                    str(self.sources[index]), image.shape[-2:], str(self.sources[indices[0]]), images[0].shape[-2:]
                )
        empty = torch.empty(0, self.rule.channels, *(self.image_size or (0, 0)), dtype=torch.uint8)
        return torch.stack(images) if images else empty

    def labels(self, indices: Sequence[int]) -> Tensor:
        """`(n,)` int64."""
        return self.truth[torch.as_tensor(indices, dtype=torch.int64)]

    def key(self, index: int) -> str:
        """As the reader named it."""
        return self.keys[index]

    def size(self, index: int) -> tuple[int, int]:
        """Height and width as `images` gives them; of a file that is a picture only the header is read, once."""
        if self.image_size is not None:
            return self.image_size
        if index not in self._sizes:
            self._sizes[index] = self.rule.size(self.sources[index])
        return self._sizes[index]

    def source(self, index: int) -> Readable:
        """An image's file."""
        return self.sources[index]

    def known(self) -> np.ndarray:
        """Every image that has a class."""
        return (self.truth != UNLABELED).numpy()

    def check_sizes(self, first: Measured | None = None) -> Measured | None:
        """Refuse images of several sizes where nothing brings them to one; what cannot be read is found later.

        Args:
            first: an image of another part that these are held against.

        Returns:
            The image that all were held against.

        Raises:
            DataError: two images differ.
        """
        for index in range(len(self) if self.image_size is None else 0):
            source = str(self.sources[index])
            try:
                size = self.size(index)
            except DataError:
                continue
            first = first or (source, size)
            if size != first[1]:
                refuse(different_sizes(source, size, *first), "several-sizes", source)
        return first

    def _image(self, index: int) -> Tensor:
        image = self.rule.read(self.sources[index])
        return image if self.image_size is None else resize(image[None], self.image_size)[0]


def different_sizes(one: str, size: Sequence[int], other: str, other_size: Sequence[int]) -> DataError:
    """What to say of two images that should have one size."""
    return DataError(
        f"{one} is {size[0]} x {size[1]} (height x width), but {other} is {other_size[0]} x {other_size[1]}. Set "
        "data.image_size=[HEIGHT, WIDTH], which all images are resized to."
    )
