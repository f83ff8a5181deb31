"""Splits in segmentation: images are drawn in a given order, since no mask has a class to balance by."""

from collections.abc import Collection, Sequence

from dmt.data.splits import Split, ValidationSource, check_validation_size, take_unlabeled
from dmt.errors import ConfigError, DataError


def draw_masks(
    order: Sequence[int],
    *,
    labeled: Collection[int],
    unlabeled: Collection[int] | None,
    num_labeled: int | None,
    num_unlabeled: int | None,
    validation_source: ValidationSource,
    validation_size: int | None,
) -> Split:
    """Deal a split from an order (spec, section 1.13).

    Under one order, the labeled set is a prefix of every larger labeled set, and neither the validation part nor the
    unlabeled part changes it, except that `cut` takes its end away.

    Args:
        order: all training images, in the order of drawing: a permutation, or a published order.
        labeled: the candidates: images that have a mask, or those that the user names.
        unlabeled: the images to be used without labels, which then are no candidates; None = all that are neither
            labeled nor set aside.
        num_labeled: masks to use, those of `cut` included and those of `extra` not; None = all candidates.
        num_unlabeled: None = all.
        validation_source: `extra` takes further candidates, from the end of the order, `cut` the last of the labeled
            images; the other two set nothing aside.
        validation_size: images of `extra` and `cut`; None = a tenth of num_labeled, at least one.

    Raises:
        ConfigError: more is asked for than there is.
        DataError: there is no candidate.
    """
    without = set(() if unlabeled is None else unlabeled)
    candidates = _in_order(order, set(labeled) - without)
    chosen, spare = _choose(candidates, num_labeled)
    size = validation_size if validation_size is not None else max(1, round(len(chosen) / 10))
    validation: tuple[int, ...] = ()
    if validation_source == "extra":
        validation = _extra(spare, size)
    elif validation_source == "cut":
        chosen, validation = _cut(chosen, size)
    pool = set(order) if unlabeled is None else without
    rest = _in_order(order, pool - set(chosen) - set(validation))
    return Split(labeled=chosen, unlabeled=take_unlabeled(rest, num_unlabeled), validation=tuple(sorted(validation)))


def _in_order(order: Sequence[int], members: Collection[int]) -> tuple[int, ...]:
    return tuple(int(index) for index in order if index in members)


def _choose(candidates: tuple[int, ...], num_labeled: int | None) -> tuple[tuple[int, ...], tuple[int, ...]]:
    if not candidates:
        raise DataError("No image has a mask; dmt learns from a few masks and many images.")
    count = len(candidates) if num_labeled is None else num_labeled
    if not 1 <= count <= len(candidates):
        raise ConfigError(
            f"data.num_labeled is {count}; there are {len(candidates)} training images with a mask to choose from."
        )
    return candidates[:count], candidates[count:]


def _extra(spare: tuple[int, ...], size: int) -> tuple[int, ...]:
    """Masks from the far end of the order, so that they are the same whatever the number of labeled images."""
    if check_validation_size(size) > len(spare):
        raise ConfigError(
            f"validation.size is {size}, but beyond the labeled images only {len(spare)} have a mask. Lower "
            "validation.size or data.num_labeled, or set validation.source to cut."
        )
    return spare[-size:]


def _cut(chosen: tuple[int, ...], size: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    kept = len(chosen) - check_validation_size(size)
    if kept < 1:
        raise ConfigError(
            f"validation.size is {size} of {len(chosen)} labels, which leaves {max(kept, 0)} for training; at least "
            "one must stay. Lower it, or set validation.source to cross_validation or none."
        )
    return chosen[:kept], chosen[kept:]
