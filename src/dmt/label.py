"""Labeling: one pass of the teacher over the unlabeled images, kept in a store (paper, Algorithm 1 line 5)."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor, nn

from dmt.data.parts import UnlabeledPart
from dmt.data.pseudo_labels import PseudoStore
from dmt.engine import Engine
from dmt.errors import NonFiniteError
from dmt.files import sha256
from dmt.inference import infer
from dmt.selection import confidence_code, decode_confidence, finite_sites, top_class
from dmt.types import UNLABELED, Observer, Prediction

MAX_NONFINITE_SHARE = 0.01
"""A teacher that answers NaN for more sites than this is broken, not unlucky."""

Predict: TypeAlias = Callable[[Tensor], Prediction]
"""Logits `(n, C, *S)` -> hard labels and confidence codes."""


def label(
    teacher: nn.Module,
    part: UnlabeledPart,
    store: PseudoStore,
    *,
    predict: Predict | None = None,
    engine: Engine,
    batch_size: int,
    workers: int,
    title: str,
    observer: Observer,
) -> None:
    """Fill a store with the teacher's answers for every unlabeled image; nothing to do where it is whole.

    `predict` says how logits become labels: by the largest one, unless told otherwise.

    Raises:
        NonFiniteError: when more than one site in a hundred gets NaN or infinite logits.
        CheckpointError: when the store holds labels of another teacher, run or set of images.
    """
    if engine.told_by_main(store.is_whole):
        return
    predict = predict or most_probable
    batches = infer(
        [teacher], part, engine=engine, batch_size=batch_size, workers=workers, title=title, observer=observer
    )
    num_broken, num_sites = 0, 0
    for positions, logits in batches:
        store.add(positions, predict(logits[0]))
        finite = finite_sites(logits[0])
        num_broken, num_sites = num_broken + int((~finite).sum()), num_sites + finite.numel()
    _refuse_broken(engine.gather([(num_broken, num_sites)]))
    store.finish(engine.gather, is_main=engine.is_main)
    engine.wait()


def most_probable(logits: Tensor) -> Prediction:
    """Label and code of each site; label -1 where the logits are not finite."""
    label = torch.where(finite_sites(logits), top_class(logits), UNLABELED)
    return Prediction(label=label, code=confidence_code(logits))


def renormalized_by(thresholds: Sequence[float | None]) -> Predict:
    """CBST's own ranking: probabilities are divided by their classes' thresholds before the class is decided.

    What is not above its threshold after that gets label -1 (paper, section 4.2.2).

    Args:
        thresholds: the lowest confidence that direct ranking keeps of each class; None for a class it keeps none of.
    """
    limits = [torch.inf if one is None else one for one in thresholds]
    return partial(_renormalize, thresholds=torch.tensor(limits, dtype=torch.float64))


def _renormalize(logits: Tensor, thresholds: Tensor) -> Prediction:
    thresholds = thresholds.to(logits.device)
    shares = logits.double().softmax(dim=1) / thresholds.reshape(-1, *[1] * (logits.dim() - 2))
    chosen = top_class(shares)
    code = confidence_code(logits, chosen)
    # Compared as stored: thresholds are codes, and a rounded-down code must not fall below its own threshold.
    kept = finite_sites(logits) & (decode_confidence(code) >= thresholds[chosen])
    return Prediction(label=torch.where(kept, chosen, UNLABELED), code=code)


def _refuse_broken(counts: Sequence[tuple[int, int]]) -> None:
    broken, total = (sum(column) for column in zip(*counts, strict=True))
    if broken > MAX_NONFINITE_SHARE * total:
        raise NonFiniteError(
            f"The teacher gives NaN or infinite values at {broken} of {total} places to label. Lower optimizer.lr, or "
            "use precision=fp32."
        )


def weights_hash(path: Path) -> str:
    """Names the weights that a teacher labels with."""
    return sha256(path)[:16]
