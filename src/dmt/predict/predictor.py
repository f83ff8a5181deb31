"""A trained model that answers about images: `dmt.load(...).predict(images)`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor, nn

from dmt.engine import Engine
from dmt.errors import ConfigError, DataError, RunFolderError
from dmt.inference import infer
from dmt.models.bundle import Bundle, is_bundle, read_bundle
from dmt.models.description import DESCRIPTION, Description
from dmt.models.ensemble import Ensemble
from dmt.models.own import ModelFactory
from dmt.models.windowed import OVERLAP, windowed
from dmt.predict.answers import Answer, Predictions
from dmt.predict.given import ImageReader, TensorPart
from dmt.predict.run_bundle import bundle_of_run
from dmt.progress import Silent
from dmt.selection import top_class
from dmt.tasks import TASKS

_OF_PICTURES = (1, 3, 4)
"""Channels."""
_BATCH_SIZE = {"classification": 64, "segmentation": 1}


@dataclass(frozen=True, kw_only=True)
class Window:
    """How large images are seen.

    Attributes:
        size: height and width of what is looked at at once; None = the model's own, or else of the very large ones
            alone (`LARGE_AREA`).
        whole: look at each image as a whole, however large.
        overlap: least share of a window that two neighbors have in common; None = a quarter.
    """

    size: tuple[int, int] | None = None
    whole: bool = False
    overlap: float | None = None

    def __post_init__(self) -> None:
        """Check what a user gives.

        Raises:
            ConfigError: sides below 1, or an overlap outside [0, 1) or of nothing.
        """
        if self.size is not None and min(self.size) < 1:
            raise ConfigError(f"The window is {self.size[0]} x {self.size[1]}; its height and width are 1 or more.")
        if self.overlap is not None and not 0 <= self.overlap < 1:
            raise ConfigError(f"The overlap of windows is {self.overlap}; allowed is 0 up to below 1.")
        if self.overlap is not None and self.whole:
            raise ConfigError("An overlap is of windows, and whole images are asked for. Leave one of both out.")

    def over(self, network: nn.Module, description: Description) -> nn.Module:
        """The network, looking through these windows."""
        size = self.size or description.input.window
        if description.task != "segmentation":
            if self != Window():
                raise ConfigError("Windows are for segmentation; this model says one class an image.")
            return network
        if self.whole:
            return network
        return windowed(network, size, overlap=OVERLAP if self.overlap is None else self.overlap)


@dataclass(frozen=True, kw_only=True)
class Predictor:
    """A trained model.

    Attributes:
        description: its classes, figures and preprocessing.
        what: which network of its run it is, in words.
        network: images `(N, channels, H, W)` in [0, 1] -> logits, on the device, in eval mode.
        engine: where it is.
    """

    description: Description
    what: str
    network: nn.Module
    engine: Engine

    @property
    def class_names(self) -> tuple[str, ...]:
        """The name of class 0, 1, ..."""
        return self.description.class_names

    @property
    def is_dense(self) -> bool:
        """Whether it says a class for every pixel."""
        return TASKS[self.description.task].is_dense

    @property
    def reader(self) -> ImageReader:
        """Brings images into the form that it was trained on."""
        return ImageReader(self.description.input)

    @property
    def batch_size(self) -> int:
        """Images that go through the network together, unless told otherwise."""
        return _BATCH_SIZE[self.description.task]

    def predict(self, images: Sequence[Any], *, batch_size: int | None = None) -> Predictions:
        """Answers about images, all of which are held in memory; for many files there is `dmt predict`.

        Args:
            images: paths, uint8 or float tensors `(channels, H, W)` or `(H, W)`, arrays `(H, W)` or `(H, W, channels)`,
                or PIL images; floats in [0, 1]. They are resized as in training. A map of classes has the image's own
                size again: each pixel has the answer of the nearest one.
            batch_size: images that go through the network together.

        Raises:
            DataError: an image cannot be read, or has other channels than those of training; an array looks like one
                image.
        """
        images = _one_by_one(images, channels=self.description.input.channels)
        read = [self.reader.read(image, where=f"Image {number}") for number, image in enumerate(images)]
        size = self.batch_size if batch_size is None else batch_size
        answers = list(self.answers(read, batch_size=size, keep_probabilities=True))
        return Predictions(tuple(answers), self.class_names)

    def answers(self, images: Sequence[Tensor], *, batch_size: int, keep_probabilities: bool) -> Iterator[Answer]:
        """Answers about images in memory, `(channels, H, W)` uint8 at their own sizes, in their order."""
        part, found = TensorPart([self.reader.sized(image) for image in images]), dict[int, Answer]()
        batches = infer(
            [self.network],
            part,
            engine=self.engine,
            batch_size=batch_size,
            workers=0,
            title="prediction",
            observer=Silent(),
        )
        for positions, logits in batches:
            probabilities = logits[0].softmax(dim=1)
            kept = {"label": top_class(probabilities), "confidence": probabilities.amax(dim=1)}
            if keep_probabilities:
                kept["probabilities"] = probabilities
            arrays = {name: tensor.cpu().numpy() for name, tensor in kept.items()}
            for number, position in enumerate(positions):
                found[position] = _answer({name: array[number] for name, array in arrays.items()})
        for position, image in enumerate(images):
            answer = found.pop(position)
            yield answer.at_size((image.shape[1], image.shape[2])) if self.is_dense else answer


def load(
    path: str | Path,
    *,
    ensemble: bool = False,
    window: Window | tuple[int, int] | None = None,
    models: Mapping[str, nn.Module | ModelFactory] | None = None,
) -> Predictor:
    """A model from a bundle, or from the folder of a finished run.

    Args:
        path: the folder.
        ensemble: let the networks of the last round answer together, instead of the picked one alone.
        window: how large images are seen, in segmentation; a height and width are those of its windows.
        models: own networks by label, for a run that was given such.

    Raises:
        RunFolderError: the folder holds neither.
        CheckpointError: its files are missing, broken or changed.
        ConfigError: a network that cannot be built here, or an ensemble of one.
    """
    bundle = open_bundle(Path(path))
    if not isinstance(window, Window):
        window = Window() if window is None else Window(size=(window[0], window[1]))
    return predictor_of(bundle, ensemble=ensemble, window=window, models=models)


def open_bundle(folder: Path) -> Bundle:
    """A bundle, or a finished run as one.

    Raises:
        RunFolderError, CheckpointError, ConfigError: as `load`.
    """
    if is_bundle(folder):
        return read_bundle(folder)
    if not (folder / "result.json").is_file():
        raise RunFolderError(
            f"{folder} is neither a bundle (there is no {DESCRIPTION} in it) nor a finished run (nor a result.json)."
        )
    return bundle_of_run(folder)


def predictor_of(
    bundle: Bundle,
    *,
    ensemble: bool,
    window: Window,
    models: Mapping[str, nn.Module | ModelFactory] | None = None,
) -> Predictor:
    """The model of a bundle, ready to answer; see `load`."""
    description, engine = bundle.description, Engine("fp32", alone=True)
    names = description.ensemble if ensemble else (description.picked,)
    if not names:
        raise ConfigError(f"{bundle.source} has one network alone, so that there is no ensemble; leave that out.")
    networks = [bundle.network(name, models) for name in names]
    network = window.over(Ensemble(networks) if ensemble else networks[0], description)
    what = " and ".join(description.networks[name].what for name in names)
    return Predictor(description=description, what=what, network=engine.place(network).eval(), engine=engine)


def _one_by_one(images: Any, *, channels: int) -> Sequence[Any]:
    """One path or picture as a list of it; of an array, its first dimension is the images.

    Raises:
        DataError: it is no sequence, or an array whose shape is rather one image's.
    """
    if isinstance(images, str | Path | Image.Image):
        return [images]
    if not hasattr(images, "__iter__"):
        raise DataError(f"The images are a {type(images).__name__}; give a list of them, also for one.")
    shape = tuple(getattr(images, "shape", ()))
    is_one = len(shape) == 2
    if len(shape) == 3:
        is_one = shape[0] == channels > 1 if isinstance(images, Tensor) else shape[2] in (*_OF_PICTURES, channels)
    if is_one:
        raise DataError(f"The images are an array of the shape {shape}, which looks like one image; give a list of it.")
    return images if isinstance(images, Sequence) else list(images)


def _answer(arrays: Mapping[str, np.ndarray]) -> Answer:
    # Copies: one image's answer must not hold those of its whole batch.
    own = {name: np.array(array) for name, array in arrays.items()}
    return Answer(label=own["label"], confidence=own["confidence"], probabilities=own.get("probabilities"))
