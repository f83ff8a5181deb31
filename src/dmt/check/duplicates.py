"""Images that are there twice, in one part or in two: equal pixels, and pictures that look alike."""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch.nn import functional

from dmt.check.findings import Findings, Level
from dmt.check.fingerprints import DISTANCE, LOOSE_DISTANCE, Fingerprints, hamming, near_pairs
from dmt.check.places import Place
from dmt.errors import DataError

_EQUAL: dict[tuple[str, str], tuple[Level, str, str]] = {
    ("labeled", "validation"): ("error", "leak", "choices would be made by what was learned by heart"),
    ("labeled", "test"): ("error", "leak", "its figure would be of what was learned by heart"),
    ("validation", "test"): ("error", "leak", "what is reported must not choose"),
    ("unlabeled", "validation"): ("warning", "leak-unlabeled", "training sees it, though not its label"),
    ("unlabeled", "test"): ("warning", "leak-unlabeled", "training sees it, though not its label"),
    ("labeled", "unlabeled"): ("note", "labeled-and-unlabeled", "its pseudo label teaches nothing new"),
}
"""What equal pixels in two parts mean: level, code and why."""

_ALIKE: dict[tuple[str, str], Level] = {
    pair: "warning" if level == "error" else "note" for pair, (level, _, _) in _EQUAL.items()
}

CORRELATION, STRICT_CORRELATION = 0.98, 0.998
"""Of the cells of two pictures from which they count as one, since hashes alone call many a plain picture alike; the
second of tiny ones, such as digits, many of which are nearly the same without being copies."""
_CELLS, _TINY = 24, 40
MAX_COMPARED = 2000
"""Pairs of two parts that are read again to be compared cell by cell."""


def find_equal(places: Mapping[str, Place], findings: Findings) -> None:
    """Note images of equal pixels in the parts of a run, which have been walked through."""
    names = list(places)
    parts = np.concatenate([np.full(len(place.prints), k) for k, place in enumerate(places.values())])
    indices = np.concatenate([place.prints.indices for place in places.values()])
    for members in _groups(np.concatenate([place.prints.digests for place in places.values()])):
        of_part = {names[k]: indices[members[parts[members] == k]].tolist() for k in np.unique(parts[members])}
        _tell_parts(of_part, places, findings)
        _tell_repeats(of_part, places, findings)


def find_alike(places: Mapping[str, Place], findings: Findings) -> None:
    """Note pictures in two parts that look alike and are not equal; those in one part tell little."""
    for pair, level in _ALIKE.items():
        if pair[0] not in places or pair[1] not in places:
            continue
        one, other = places[pair[0]], places[pair[1]]
        candidates, is_whole = _candidates(one.prints, other.prints)
        for ours, theirs in candidates[:MAX_COMPARED].tolist():
            if _look_alike(one, ours, other, theirs):
                findings.add(
                    level,
                    "look-alikes" if level == "warning" else "look-alikes-unlabeled",
                    f"{one.name(ours)} ({pair[0]}) and {other.name(theirs)} ({pair[1]}) look alike: perhaps one "
                    "picture, saved twice.",
                    where=one.name(ours),
                )
        if not is_whole or len(candidates) > MAX_COMPARED:
            findings.add(
                "note",
                "look-alikes-cut",
                f"So many {pair[0]} and {pair[1]} images look alike at first sight that only "
                f"{min(len(candidates), MAX_COMPARED):,} pairs "
                "were compared.",
                where=pair[0],
            )


def _groups(digests: np.ndarray) -> Iterator[np.ndarray]:
    """Positions of rows `(n, 2)` that are equal, at least two at a time, the groups by their first position."""
    order = np.lexsort((digests[:, 1], digests[:, 0]))
    changes = np.flatnonzero((digests[order[1:]] != digests[order[:-1]]).any(axis=1)) + 1
    starts = np.concatenate([[0], changes])
    ends = np.concatenate([changes, [len(order)]])
    several = np.flatnonzero(ends - starts > 1)
    groups = [np.sort(order[starts[k] : ends[k]]) for k in several]
    return iter(sorted(groups, key=lambda group: int(group[0])))


def _tell_parts(of_part: Mapping[str, list[int]], places: Mapping[str, Place], findings: Findings) -> None:
    """Of one picture, in which two parts it is."""
    for pair, (level, code, why) in _EQUAL.items():
        if pair[0] in of_part and pair[1] in of_part:
            one, other = (places[part].name(of_part[part][0]) for part in pair)
            findings.add(
                level, code, f"{one} ({pair[0]}) and {other} ({pair[1]}) are the same picture: {why}.", where=one
            )


def _tell_repeats(of_part: Mapping[str, list[int]], places: Mapping[str, Place], findings: Findings) -> None:
    """Of one picture, that a part has it several times; with two labels, one is wrong."""
    for part, members in of_part.items():
        place, first = places[part], members[0]
        if len(members) < 2:
            continue
        other = next((index for index in members[1:] if place.differ(first, index)), None)
        if other is None:
            findings.add(
                "note",
                f"repeated-{part}",
                f"{place.name(first)} is there {len(members)} times in the {part} part, for instance as "
                f"{place.name(members[1])}.",
                where=place.name(first),
                count=len(members) - 1,
            )
        elif place.is_dense:
            message = f"{place.name(first)} and {place.name(other)} are the same picture with two masks."
            findings.add("warning", "two-masks", message, where=place.name(first))
        else:
            findings.add(
                "error",
                "two-labels",
                f"{place.name(first)} ({place.class_of(first)}) and {place.name(other)} ({place.class_of(other)}) are "
                "the same picture with two labels. Mend or remove one.",
                where=place.name(first),
            )


def _candidates(ours: Fingerprints, theirs: Fingerprints) -> tuple[np.ndarray, bool]:
    """Indices `(k, 2)` of images whose hashes are near and whose pixels differ; and whether that are all of them."""
    mine, others = _by_hash(ours), _by_hash(theirs)
    pairs, is_whole = near_pairs(ours.across[mine], theirs.across[others], distance=DISTANCE)
    one, other = mine[pairs[:, 0]], others[pairs[:, 1]]
    is_near = hamming(ours.down[one], theirs.down[other]) <= LOOSE_DISTANCE
    is_equal = (ours.digests[one] == theirs.digests[other]).all(axis=1)
    chosen = is_near & ~is_equal
    return np.stack([ours.indices[one[chosen]], theirs.indices[other[chosen]]], axis=1), is_whole


def _by_hash(prints: Fingerprints) -> np.ndarray:
    """Positions of one image for each pair of hashes, without flat ones: copies of a copy are one."""
    shaped = np.flatnonzero(~prints.is_flat)
    hashes = np.stack([prints.across[shaped], prints.down[shaped]], axis=1)
    _, first = np.unique(hashes, axis=0, return_index=True)
    return np.sort(shaped[first])


def _look_alike(one: Place, ours: int, other: Place, theirs: int) -> bool:
    """Whether two pictures agree cell by cell, whatever their brightness and contrast."""
    try:
        pictures = [place.images.images([index])[0] for place, index in ((one, ours), (other, theirs))]
    except DataError:
        return False
    is_tiny = min(min(picture.shape[1:]) for picture in pictures) < _TINY
    agreement = torch.dot(*(_cells(picture) for picture in pictures))
    return float(agreement) >= (STRICT_CORRELATION if is_tiny else CORRELATION)


def _cells(image: torch.Tensor) -> torch.Tensor:
    gray = functional.adaptive_avg_pool2d(image.float().mean(dim=0)[None], _CELLS).flatten()
    return functional.normalize(gray - gray.mean(), dim=0)
