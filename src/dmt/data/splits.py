"""Which training images are labeled, unlabeled or set aside for choices: drawn class-balanced and nested."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Literal, TypeAlias

import numpy as np

from dmt.errors import ConfigError, DataError
from dmt.types import UNLABELED

_ROUNDING = 1e-9
"""(1 - 0.7) * 10 is a little above 3 in floating point, and must not count as 4."""

ValidationSource: TypeAlias = Literal["extra", "cut", "cross_validation", "given", "none"]


@dataclass(frozen=True, kw_only=True)
class Split:
    """Indices of training images, no index twice; `labeled` in the order of drawing, the others sorted."""

    labeled: tuple[int, ...]
    unlabeled: tuple[int, ...]
    validation: tuple[int, ...] = ()


def draw_split(
    labels: np.ndarray,
    *,
    num_classes: int,
    num_labeled: int,
    num_unlabeled: int | None,
    validation_source: ValidationSource,
    validation_size: int | None,
    generator: np.random.Generator,
    class_names: Sequence[str],
) -> Split:
    """Draw a class-balanced split (spec, section 1.13).

    Under one state of the generator, the labeled set is a prefix of every larger labeled set, and neither the
    validation part nor the unlabeled part changes it, except that `cut` takes some away.

    Args:
        labels: `(N,)`, the true label of each training image; -1 where there is none.
        num_classes: C.
        num_labeled: labels to draw, those of `cut` included and those of `extra` not.
        num_unlabeled: None = all other images.
        validation_source: `extra` draws further labels, `cut` takes some of the labeled ones, of each class its share;
            the others set nothing aside.
        validation_size: images of `extra` and `cut`; None = a tenth of num_labeled, at least one a class.
        generator: the stream of the split.
        class_names: for messages.

    Raises:
        ConfigError: more is asked for than there is.
        DataError: a label lies outside the classes.
    """
    deck = _shuffle(labels, num_classes=num_classes, generator=generator, class_names=class_names)
    if num_labeled not in range(1, 1 + (known := np.count_nonzero(labels >= 0))):
        raise ConfigError(f"data.num_labeled is {num_labeled}; {known} training images have a label to choose from.")
    _check_shares(deck, deck.ranked, num_labeled, key="data.num_labeled")
    labeled = _interleave(deck.ranked, deck.order, num_labeled)
    _warn_missing(deck, labeled, what=f"data.num_labeled is {num_labeled}")
    return _deal(deck, labeled, num_unlabeled, validation_source, validation_size)


def split_known(
    known: np.ndarray,
    labels: np.ndarray,
    *,
    num_classes: int,
    num_unlabeled: int | None,
    validation_source: ValidationSource,
    validation_size: int | None,
    generator: np.random.Generator,
    class_names: Sequence[str],
) -> Split:
    """A split whose labeled images are given, balanced or not; the rest is as in `draw_split`.

    True labels of other images are looked at by `extra` alone, which draws from them.

    Args:
        known: indices of the labeled images.
        labels: `(N,)`, the true label of each training image; -1 where there is none.
        num_classes: C.
        num_unlabeled: None = all other images.
        validation_source: as in `draw_split`.
        validation_size: as in `draw_split`.
        generator: the stream of the split.
        class_names: for messages.

    Raises:
        ConfigError: more is asked for than there is.
        DataError: there is no labeled image, or a label lies outside the classes.
    """
    if len(known) == 0:
        raise DataError("No image has a label; dmt learns from a few labels and many images.")
    if validation_source != "extra":
        labels = np.where(np.isin(np.arange(len(labels)), known), labels, UNLABELED)
    deck = _shuffle(labels, num_classes=num_classes, generator=generator, class_names=class_names)
    own = [members[np.isin(members, known)] for members in deck.ranked]
    labeled = _interleave(own, deck.order, len(known))
    _warn_missing(deck, labeled, what=f"{len(known)} labels are given")
    return _deal(deck, labeled, num_unlabeled, validation_source, validation_size)


def difference_maximized(
    labeled: Sequence[int], *, share: float, generator: np.random.Generator
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Two samples of a labeled set, which overlap as little as they can (paper, section 4.1.2; spec, section 1.9).

    Each leaves out ceil((1 - share) n) images; so two samples of m images have max(0, 2m - n) in common.

    Args:
        labeled: n images.
        share: the size of each sample, as a part of all in (0, 1]; the paper has 0.8.
        generator: the stream of the samples.

    Raises:
        ConfigError: the share is out of range, or leaves no image.
    """
    if not 0 < share <= 1:
        raise ConfigError(f"rounds.dms_share is {share}; it must be above 0 and at most 1.")
    size = len(labeled) - math.ceil((1 - share) * len(labeled) - _ROUNDING)
    if size < 1:
        raise ConfigError(
            f"rounds.dms_share is {share}; of {len(labeled)} labeled images, that leaves none to start from. Raise it, "
            "or set it to null."
        )
    order: list[int] = generator.permutation(np.asarray(labeled, dtype=np.int64)).tolist()
    return tuple(order[:size]), tuple(order[-size:])


def folds(
    labels: np.ndarray, labeled: Sequence[int], *, num_folds: int, generator: np.random.Generator
) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Cut a labeled set into (labeled, held out) pairs for cross-validation; each index is held out exactly once.

    Each class is dealt out to the folds in turn, and the next class goes on where it stopped: folds differ by at most
    one image in all and by at most one a class. (scikit-learn's StratifiedKFold refuses more folds than every class has
    images.)

    Raises:
        ConfigError: fewer labels than folds.
    """
    if not 2 <= num_folds <= len(labeled):
        raise ConfigError(
            f"validation.num_folds is {num_folds}; of {len(labeled)} labels, each needs one. Or validation.source=none."
        )
    members = np.asarray(labeled, dtype=np.int64)
    shuffled = generator.permutation(members)
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    fold_of = dict(zip(by_class.tolist(), np.arange(len(members)) % num_folds, strict=True))
    _, counts = np.unique(labels[members], return_counts=True)
    if counts.min() < 2:
        warnings.warn(
            f"{np.count_nonzero(counts < 2)} of {len(counts)} classes have a single label: the fold that holds it out "
            "trains without the class.",
            stacklevel=2,
        )
    return [
        (
            tuple(index for index in labeled if fold_of[index] != fold),
            tuple(sorted(index for index in labeled if fold_of[index] == fold)),
        )
        for fold in range(num_folds)
    ]


def take_unlabeled(rest: Sequence[int], num_unlabeled: int | None) -> tuple[int, ...]:
    """The first `num_unlabeled` of the images that are neither labeled nor set aside, sorted; None = all.

    Raises:
        ConfigError: there are not so many.
    """
    count = len(rest) if num_unlabeled is None else num_unlabeled
    if not 0 <= count <= len(rest):
        raise ConfigError(
            f"data.num_unlabeled is {count}; {len(rest)} training images are neither labeled nor set aside."
        )
    return tuple(sorted(rest[:count]))


def check_validation_size(size: int) -> int:
    """The size itself.

    Raises:
        ConfigError: it is not above 0.
    """
    if size < 1:
        raise ConfigError(f"validation.size is {size}; it must be 1 or more.")
    return size


@dataclass(frozen=True, kw_only=True)
class _Deck:
    """The shuffles that a split is dealt from: each class's images, the order of classes, all images."""

    labels: np.ndarray
    ranked: list[np.ndarray]
    order: np.ndarray
    scattered: np.ndarray
    class_names: Sequence[str]


def _shuffle(
    labels: np.ndarray, *, num_classes: int, generator: np.random.Generator, class_names: Sequence[str]
) -> _Deck:
    wrong = np.flatnonzero((labels >= num_classes) | (labels < UNLABELED))
    if len(wrong):
        raise DataError(
            f"Training image {wrong[0]} has the label {labels[wrong[0]]}; the classes are 0..{num_classes - 1} "
            f"({class_names[0]} .. {class_names[-1]})."
        )
    return _Deck(
        labels=labels,
        ranked=[generator.permutation(np.flatnonzero(labels == k)) for k in range(num_classes)],
        order=generator.permutation(num_classes),
        scattered=generator.permutation(len(labels)),
        class_names=class_names,
    )


def _interleave(ranked: Sequence[np.ndarray], order: np.ndarray, count: int) -> tuple[int, ...]:
    """The first image of each class, then the second of each, ...: every prefix is balanced."""
    rows = zip_longest(*(ranked[k].tolist() for k in order))
    return tuple([index for row in rows for index in row if index is not None][:count])


def _check_shares(deck: _Deck, ranked: Sequence[np.ndarray], count: int, *, key: str) -> None:
    whole, left = divmod(count, len(ranked))
    for place, k in enumerate(deck.order.tolist()):
        share = whole + (place < left)
        if len(ranked[k]) < share:
            raise ConfigError(
                f"{key} is {count}, which takes {share} images of class '{deck.class_names[k]}', but only "
                f"{len(ranked[k])} are there to draw from. Lower {key}."
            )


def _warn_missing(deck: _Deck, labeled: tuple[int, ...], *, what: str) -> None:
    present = set(deck.labels[list(labeled)].tolist())
    missing = [name for k, name in enumerate(deck.class_names) if k not in present]
    if missing:
        warnings.warn(f"{what}: no label of {', '.join(missing)}.", UserWarning, stacklevel=3)


def _deal(
    deck: _Deck,
    labeled: tuple[int, ...],
    num_unlabeled: int | None,
    validation_source: ValidationSource,
    validation_size: int | None,
) -> Split:
    size = validation_size if validation_size is not None else max(len(deck.ranked), round(len(labeled) / 10))
    validation: tuple[int, ...] = ()
    if validation_source == "extra":
        validation = _extra(deck, labeled, size)
    elif validation_source == "cut":
        labeled, validation = _cut(deck, labeled, size)
    rest = deck.scattered[~np.isin(deck.scattered, labeled + validation)]
    return Split(labeled=labeled, unlabeled=take_unlabeled(rest.tolist(), num_unlabeled), validation=validation)


def _extra(deck: _Deck, labeled: tuple[int, ...], size: int) -> tuple[int, ...]:
    """Labels from the far end of each class's shuffle, so that the labeled set is the same whatever their number."""
    far_end = [own[~np.isin(own, labeled)][::-1] for own in deck.ranked]
    _check_shares(deck, far_end, check_validation_size(size), key="validation.size")
    return tuple(sorted(_interleave(far_end, deck.order, size)))


def _cut(deck: _Deck, labeled: tuple[int, ...], size: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    kept = len(labeled) - check_validation_size(size)
    num_present = len(np.unique(deck.labels[list(labeled)]))
    if kept < num_present:
        raise ConfigError(
            f"validation.size is {size} of {len(labeled)} labels, which leaves {max(kept, 0)} for training; at least "
            f"one a class ({num_present}) must stay. Lower it, or set validation.source to cross_validation or none."
        )
    depth = _depth_in_class(deck.labels[list(labeled)])
    last = set(np.argsort(depth, kind="stable")[kept:].tolist())
    rest = tuple(index for place, index in enumerate(labeled) if place not in last)
    return rest, tuple(sorted(labeled[place] for place in last))


def _depth_in_class(labels: np.ndarray) -> np.ndarray:
    """How far down its class each of n labels comes: 0 the first one, 1 the last of two or more.

    Cut from the deep end, every class of two or more is in both parts, and common and rare ones lose the same share.
    """
    depth = np.empty(len(labels))
    for k in np.unique(labels):
        places = np.flatnonzero(labels == k)
        depth[places] = (np.arange(len(places)) + 0.5) / len(places)
        depth[places[-1]] = 1
        depth[places[0]] = 0
    return depth
