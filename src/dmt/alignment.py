"""Teachers whose labels come in the shares that the labeled set has (distribution alignment; not in the paper)."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor, nn

from dmt.data.parts import UnlabeledPart
from dmt.engine import Engine
from dmt.inference import infer
from dmt.randomness import generator
from dmt.types import Observer

MAX_IMAGES = 10_000
"""Of more unlabeled images, as many at random speak for all: a class of a tenth is then known to 3 % of its share."""
SUSPICIOUS = 0.25
"""Of the labels: when more than this are changed, the shares may be wrong rather than the teacher."""


@dataclass(frozen=True)
class Alignment:
    """What a teacher is moved by.

    Attributes:
        offsets: `(C,)`, added to its logits.
        moved: share of the images looked at whose label that changes, 0 to 1.
    """

    offsets: tuple[float, ...]
    moved: float


def align(
    teacher: nn.Module,
    unlabeled: UnlabeledPart,
    shares: list[float],
    *,
    seed: int,
    engine: Engine,
    batch_size: int,
    workers: int,
    title: str,
    observer: Observer,
) -> Alignment:
    """What moves a teacher's mean probabilities over the unlabeled images to the classes' shares.

    ReMixMatch (Berthelot et al., 2020) multiplies probabilities by the quotient of the two once; here the means fit,
    which corrects a teacher of few labels further.

    Args:
        teacher: images -> logits `(N, C)`.
        unlabeled: what it will label; `MAX_IMAGES` of them are looked at.
        shares: that the classes are believed to have, adding up to 1; 0 = unknown, as the teacher has it.
        seed: of the run, which draws the images that are looked at.
        engine: see `infer`, as the others.
        batch_size: images a batch.
        workers: processes that load images.
        title: the piece of work in words.
        observer: told of the progress.

    Raises:
        StoppedError: a signal came in.
    """
    batches = infer(
        [teacher],
        unlabeled.subset(sample(len(unlabeled), seed=seed)),
        engine=engine,
        batch_size=batch_size,
        workers=workers,
        title=title,
        observer=observer,
    )
    logits = torch.cat(engine.gather([of_batch[0].double().cpu() for _, of_batch in batches]))
    offsets = class_offsets(logits, shares)
    moved = float((logits.argmax(dim=1) != (logits + offsets).argmax(dim=1)).double().mean())
    if moved > SUSPICIOUS:
        observer.message(
            f"{title}: rounds.alignment=labeled_shares changes {moved:.0%} of the labels. If the unlabeled images "
            "are not of the same shares of classes as the labeled ones, use rounds.alignment=none."
        )
    return Alignment(tuple(offsets.tolist()), moved)


def sample(count: int, *, seed: int) -> list[int]:
    """The positions of the images that speak for `count` unlabeled ones, in order."""
    return sorted(generator(seed, "alignment").permutation(count)[:MAX_IMAGES].tolist())


def class_offsets(logits: Tensor, shares: list[float]) -> Tensor:
    """What to add to the logits so that the mean probability of each class is its share.

    These are the b of the least mean(logsumexp(logits + b)) - shares . b, a convex function whose gradient is the means
    less the shares.

    Args:
        logits: `(n, C)` float64; rows that are not finite do not count.
        shares: `(C,)`; 0 = unknown: such a class keeps its mean, and the others share what it leaves.

    Returns:
        `(C,)` float64, whose mean is 0; 0 throughout where no row is finite, or no share is known.
    """
    logits, wanted = logits[logits.isfinite().all(dim=1)], torch.tensor(shares, dtype=torch.float64)
    if len(logits) == 0 or not wanted.any():
        return torch.zeros_like(wanted)
    means = logits.softmax(dim=1).mean(dim=0)
    wanted = torch.where(wanted > 0, wanted * means[wanted > 0].sum(), means)

    def loss(offsets: np.ndarray) -> tuple[float, np.ndarray]:
        moved = logits + torch.from_numpy(offsets)
        value = moved.logsumexp(dim=1).mean() - wanted @ torch.from_numpy(offsets)
        return float(value), (moved.softmax(dim=1).mean(dim=0) - wanted).numpy()

    found = minimize(loss, np.zeros(len(wanted)), jac=True, method="L-BFGS-B", options={"ftol": 0, "gtol": 1e-6}).x
    return torch.from_numpy(found - found.mean())
