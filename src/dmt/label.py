"""Labeling: one pass of the teacher over the unlabeled images, kept in a store (paper, Algorithm 1 line 5)."""

import hashlib
from pathlib import Path

import torch
from torch import Tensor, nn

from dmt.data.parts import UnlabeledPart
from dmt.data.pseudo_labels import Provenance, read_store, write_store
from dmt.engine import Engine
from dmt.errors import NonFiniteError
from dmt.inference import infer
from dmt.selection import confidence_code
from dmt.types import UNLABELED, Observer, Prediction

MAX_NONFINITE_SHARE = 0.01
"""A teacher that answers NaN for more images than this is broken, not unlucky."""


def label(
    teacher: nn.Module,
    part: UnlabeledPart,
    folder: Path,
    provenance: Provenance,
    *,
    engine: Engine,
    batch_size: int,
    workers: int,
    title: str,
    observer: Observer,
) -> Prediction:
    """The teacher's hard label and confidence code for every unlabeled image; from the store when it is whole.

    Raises:
        NonFiniteError: when more than one image in a hundred gets NaN or infinite logits.
        CheckpointError: when `folder` holds labels of another teacher, run or set of images.
    """
    stored = read_store(folder, part.keys, provenance)
    if stored is not None:
        return stored
    labels, codes = infer(
        [teacher], part, _predict, engine=engine, batch_size=batch_size, workers=workers, title=title, observer=observer
    )
    broken = int((labels == UNLABELED).sum())
    if broken > MAX_NONFINITE_SHARE * len(labels):
        raise NonFiniteError(
            f"The teacher ({provenance.teacher}) gives NaN or infinite values for {broken} of {len(labels)} unlabeled "
            "images. Lower optimizer.lr, or use precision=fp32."
        )
    prediction = Prediction(label=labels, code=codes)
    if engine.is_main:
        write_store(folder, part.keys, prediction, provenance)
    engine.wait()
    return prediction


def weights_hash(path: Path) -> str:
    """Names the weights that a teacher labels with."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _predict(logits: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Label and code of each site; label -1 where the logits are not finite."""
    finite = logits[0].isfinite().all(dim=1)
    return torch.where(finite, logits[0].argmax(dim=1), UNLABELED), confidence_code(logits[0])
