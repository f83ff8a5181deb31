"""The order in which the authors draw labeled images for segmentation (spec, section 1.13)."""

# Python's own shuffle, which numpy cannot repeat; nothing else draws from it.
import random

_SEED = 7777
_NUM_SPLITS = 3


def reference_order(num_images: int, split_seed: int) -> tuple[int, ...] | None:
    """The authors' order of the training images; labeled are the first ones.

    Args:
        num_images: all training images, which stand in the order of the published list (VOC), or are sorted by city
            and then by file (Cityscapes).
        split_seed: 0, 1 and 2 are the three splits that the paper averages over.

    Returns:
        Indices of the training images; None for another seed, since nothing was published for it.
    """
    if not 0 <= split_seed < _NUM_SPLITS:
        return None
    stream = random.Random(_SEED)  # noqa: S311
    order = list(range(num_images))
    for _ in range(split_seed + 1):
        stream.shuffle(order)
    return tuple(order)
