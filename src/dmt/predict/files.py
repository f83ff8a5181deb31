"""Answers about image files as they come: nothing but a few images stands in memory, however many files there are."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.utils.data import Dataset

from dmt.data.input_files import InputFile
from dmt.data.loaders import load_in_order
from dmt.errors import DataError
from dmt.predict.answers import Answer
from dmt.predict.given import ImageReader
from dmt.predict.predictor import Predictor
from dmt.types import Observer

_LEAST_READ = 8
"""Files that are read together: among so many, some may be of one size and go through the network together."""
_NOT_FINITE = "{} cannot be answered about: the network gives NaN or infinite values for it."


@dataclass(frozen=True, kw_only=True)
class FileAnswer:
    """What became of a file.

    Attributes:
        file: which one.
        answer: what the network says of it; None where it could not be read.
        image: `(channels, H, W)` uint8, at its own size where each pixel is answered about, else at the size that the
            network sees; None likewise.
        problem: why there is no answer, in a sentence; empty where there is one.
    """

    file: InputFile
    answer: Answer | None = None
    image: Tensor | None = None
    problem: str = ""


@dataclass(frozen=True)
class _Chunks(Dataset[list[Tensor | str]]):
    """Item i is the i-th few files, read; in place of one that cannot be read stands the reason."""

    files: Sequence[InputFile]
    reader: ImageReader
    size: int
    keeps_size: bool

    def __len__(self) -> int:
        return math.ceil(len(self.files) / self.size)

    def of(self, number: int) -> Sequence[InputFile]:
        """The files of an item."""
        return self.files[number * self.size : (number + 1) * self.size]

    def __getitem__(self, number: int) -> list[Tensor | str]:
        return [self._read(file) for file in self.of(number)]

    def _read(self, file: InputFile) -> Tensor | str:
        try:
            image = self.reader.rule.read(file.path)
            # A photo of 12 million pixels is 36 MB, and many are read together.
            return image if self.keeps_size else self.reader.sized(image)
        except DataError as error:
            return str(error)


def predict_files(
    predictor: Predictor,
    files: Sequence[InputFile],
    *,
    batch_size: int | None = None,
    workers: int = 0,
    keep_probabilities: bool = False,
    observer: Observer,
) -> Iterator[FileAnswer]:
    """Answer about each file, in their order, a few at a time; those of one size among them go through together.

    Args:
        predictor: who answers.
        files: what about.
        batch_size: images that go through the network together; None = the predictor's own.
        workers: processes that read files.
        keep_probabilities: give those of all classes.
        observer: told of the progress.
    """
    batch_size = predictor.batch_size if batch_size is None else batch_size
    chunks = _Chunks(files, predictor.reader, max(batch_size, _LEAST_READ), keeps_size=predictor.is_dense)
    observer.task_started("prediction", len(files))
    done = 0
    for number, read in enumerate(load_in_order(chunks, range(len(chunks)), workers=workers)):
        answers = predictor.answers(
            [image for image in read if isinstance(image, Tensor)],
            batch_size=batch_size,
            keep_probabilities=keep_probabilities,
        )
        for file, image in zip(chunks.of(number), read, strict=True):
            yield FileAnswer(file=file, problem=image) if isinstance(image, str) else _told(file, image, next(answers))
            done += 1
            observer.task_advanced(done)
    observer.task_finished()


def _told(file: InputFile, image: Tensor, answer: Answer) -> FileAnswer:
    if not answer.is_finite:
        return FileAnswer(file=file, problem=_NOT_FINITE.format(file.shown))
    return FileAnswer(file=file, answer=answer, image=image)
