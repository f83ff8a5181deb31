"""Teachers whose labels come in the shares that the labeled set has (distribution alignment; not in the paper)."""

import torch
from torch import Tensor, nn

from dmt.data.parts import UnlabeledPart
from dmt.engine import Engine
from dmt.inference import infer
from dmt.models.aligned import Aligned
from dmt.types import Observer

MAX_IMAGES = 10_000
"""Of more unlabeled images, evenly spaced ones speak for all: a class of a tenth is then known to 3 % of its share."""
SUSPICIOUS = 0.25
"""Of the labels: when more than this are changed, the shares may be wrong rather than the teacher."""
_MAX_PASSES = 1000
_CLOSE = 1e-4
"""Of the share that is wanted: what a mean may be off."""


def aligned(
    teacher: nn.Module,
    unlabeled: UnlabeledPart,
    shares: list[float],
    *,
    engine: Engine,
    batch_size: int,
    workers: int,
    title: str,
    observer: Observer,
) -> Aligned:
    """A teacher whose mean probabilities over the unlabeled images are the classes' shares.

    ReMixMatch (Berthelot et al., 2020) multiplies probabilities by the quotient of the two once; here that is repeated
    until the means fit, which corrects a teacher of few labels further.

    Args:
        teacher: images -> logits `(N, C)`.
        unlabeled: what it will label; a sample of it is looked at.
        shares: that the classes are believed to have, adding up to 1; 0 = unknown, left as the teacher has it.
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
        unlabeled.subset(sample(len(unlabeled))),
        engine=engine,
        batch_size=batch_size,
        workers=workers,
        title=title,
        observer=observer,
    )
    logits = torch.cat(engine.gather([of_batch[0].double().cpu() for _, of_batch in batches]))
    offsets = class_offsets(logits, shares)
    changed = float((logits.argmax(dim=1) != (logits + offsets).argmax(dim=1)).double().mean())
    if changed > SUSPICIOUS:
        observer.message(
            f"{title}: rounds.alignment=labeled_shares changes {changed:.0%} of the labels. If the unlabeled images "
            "are not of the same shares of classes as the labeled ones, use rounds.alignment=none."
        )
    return Aligned(teacher, offsets)


def sample(count: int) -> list[int]:
    """The positions of the images that speak for `count` unlabeled ones."""
    return list(range(0, count, -(-count // MAX_IMAGES)))


def class_offsets(logits: Tensor, shares: list[float]) -> Tensor:
    """What to add to the logits so that the mean probability of each class is its share.

    Each pass moves every class by the logarithm of what its mean lacks (iterative proportional fitting, which
    converges: the offsets are the minimum of a convex function).

    Args:
        logits: `(n, C)` float64; rows that are not finite do not count.
        shares: `(C,)`; 0 = unknown: the class's offset is 0, and the others share what it leaves.

    Returns:
        `(C,)` float64; 0 throughout where no row is finite.
    """
    logits, wanted = logits[logits.isfinite().all(dim=1)], torch.tensor(shares, dtype=torch.float64)
    offsets, known = torch.zeros_like(wanted), wanted > 0
    if len(logits) == 0 or not known.any():
        return offsets
    for _ in range(_MAX_PASSES):
        means = (logits + offsets).softmax(dim=1).mean(dim=0)
        lacking = torch.where(known, wanted * means[known].sum() / means.clamp(min=1e-300), 1.0)
        offsets += lacking.log()
        if (lacking - 1).abs().max() < _CLOSE:
            break
    return offsets
