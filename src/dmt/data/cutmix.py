"""CutMix for pseudo-labeled images (French et al., 2020): a part of one image, with its labels, covers that of another.

What a student sees around a pixel is then not what its teacher saw, while the label stays the teacher's. Not in the
paper; labeled images are left as they are.
"""

from dataclasses import replace

import numpy as np
import torch

from dmt.types import Batch

COVERED = 0.5
"""Share of an image that a part of another covers."""


def cutmix(batch: Batch, generator: np.random.Generator, *, probability: float) -> Batch:
    """Cover a rectangle of some pseudo-labeled images with the same rectangle of other ones.

    Args:
        batch: of maps: targets and confidence `(N, H, W)`.
        generator: where partners, rectangles and the choice of images come from.
        probability: share of the pseudo-labeled images that are covered.
    """
    positions = torch.nonzero(~batch.is_labeled).squeeze(1).cpu().numpy()
    partner = np.arange(len(batch.images))
    partner[positions] = generator.permutation(positions)
    height, width = batch.targets.shape[-2:]
    inside = np.zeros((len(partner), height, width), dtype=bool)
    for position in positions:
        chosen, aspect, down, across = generator.random(4)
        rows, columns = _rectangle(height, width, aspect, down, across)
        inside[position, rows, columns] = chosen < probability
    covered = torch.from_numpy(inside).to(batch.images.device, non_blocking=True)
    other = torch.from_numpy(partner).to(batch.images.device, non_blocking=True)
    return replace(
        batch,
        images=torch.where(covered[:, None], batch.images[other], batch.images),
        targets=torch.where(covered, batch.targets[other], batch.targets),
        confidence=torch.where(covered, batch.confidence[other], batch.confidence),
    )


def _rectangle(height: int, width: int, aspect: float, down: float, across: float) -> tuple[slice, slice]:
    """Of `COVERED` of the image, anywhere in it; draws are from [0, 1)."""
    share = COVERED ** (1 - aspect)  # of the height, from COVERED to 1, evenly in logarithms
    rows, columns = round(height * share), round(width * COVERED / share)
    top, left = int(down * (height - rows + 1)), int(across * (width - columns + 1))
    return slice(top, top + rows), slice(left, left + columns)
