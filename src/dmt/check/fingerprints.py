"""Fingerprints of images: one that equal pixels share, and one that pictures share which look alike.

The second is the difference hash: the picture is averaged down to 9 x 8 cells, and each bit says whether a cell is
brighter than the one before it. It survives another format, another size and another brightness.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import NamedTuple

import numpy as np
from torch import Tensor
from torch.nn import functional

DISTANCE, LOOSE_DISTANCE = 4, 8
"""Bits that the hashes of two pictures which look alike may differ in: across, which they are looked up by, and down,
which only sorts out more of what differs."""

_CELLS = (9, 8)
_FLAT = 2.0
"""Levels of 255: a picture whose cells vary less has no shape that a hash could tell."""
_BANDS = 6
_CHUNK = 2**20
MAX_NEAR = 100_000
"""Pairs of like pictures to look for; frames of a camera that stands still are all alike."""
MAX_COMPARED = 2 * 10**8
"""Pairs whose bits are counted at most: a set in which everything looks alike has no use for a full list."""

_POPCOUNT = np.array([bin(value).count("1") for value in range(2**16)], dtype=np.uint8)


class Fingerprint(NamedTuple):
    """Of one image.

    Attributes:
        digest: 16 bytes of the SHA-256 of its shape and pixels.
        across, down: difference hashes of 64 bits, along rows and along columns.
        is_flat: whether the hashes say nothing.
    """

    digest: bytes
    across: int
    down: int
    is_flat: bool


@dataclass(frozen=True, kw_only=True)
class Fingerprints:
    """Of the images of a part, 33 bytes each; what could not be read is left out.

    Attributes:
        indices: `(n,)` int64, of the images in their set.
        digests: `(n, 2)` uint64.
        across, down: `(n,)` uint64.
        is_flat: `(n,)` bool.
    """

    indices: np.ndarray
    digests: np.ndarray
    across: np.ndarray
    down: np.ndarray
    is_flat: np.ndarray

    def __len__(self) -> int:
        return len(self.indices)


def fingerprint(image: Tensor) -> Fingerprint:
    """Of an image `(channels, H, W)` uint8."""
    array = image.contiguous().numpy()
    digest = hashlib.sha256(repr(array.shape).encode() + array.tobytes()).digest()[:16]
    gray = image.float().mean(dim=0)[None]
    long, short = _CELLS
    rows = functional.adaptive_avg_pool2d(gray, (short, long))[0].numpy()
    columns = functional.adaptive_avg_pool2d(gray, (long, short))[0].numpy()
    is_flat = bool(rows.std() < _FLAT)
    return Fingerprint(digest, _packed(np.diff(rows, axis=1) > 0), _packed(np.diff(columns, axis=0) > 0), is_flat)


class FingerprintList:
    """Fingerprints of a part in the making."""

    def __init__(self, capacity: int) -> None:
        self._indices = np.empty(capacity, dtype=np.int64)
        self._hashes = np.empty((capacity, 4), dtype=np.uint64)
        self._is_flat = np.empty(capacity, dtype=bool)
        self._count = 0

    def add(self, index: int, one: Fingerprint) -> None:
        """Append an image's."""
        place = self._count
        self._indices[place], self._is_flat[place] = index, one.is_flat
        self._hashes[place] = (*np.frombuffer(one.digest, dtype=np.uint64), one.across, one.down)
        self._count += 1

    def finish(self) -> Fingerprints:
        """What was added."""
        hashes = self._hashes[: self._count]
        return Fingerprints(
            indices=self._indices[: self._count],
            digests=hashes[:, :2],
            across=hashes[:, 2],
            down=hashes[:, 3],
            is_flat=self._is_flat[: self._count],
        )


def near_pairs(
    ours: np.ndarray, theirs: np.ndarray, *, distance: int = DISTANCE, at_most: int = MAX_COMPARED
) -> tuple[np.ndarray, bool]:
    """All pairs of hashes that differ in few bits, without comparing each with each.

    Of six bands of bits, four that differ leave two bands as they are: pairs are looked for among those that share two
    whole bands, for every choice of two.

    Args:
        ours: `(n,)` uint64.
        theirs: `(m,)` uint64.
        distance: bits that may differ, up to 4.
        at_most: pairs to compare.

    Returns:
        `(k, 2)` int64, positions in `ours` and in `theirs`, sorted; and whether that are all of them, which it is not
        where there were more to compare, or many more than `MAX_NEAR` are near.
    """
    assert distance <= _BANDS - 2
    width = max(1, len(theirs))
    found = np.empty(0, dtype=np.int64)  # a pair as one number
    compared, is_whole = 0, True
    for mask in _band_masks():
        near, num_near = [found], 0
        for pairs in _sharing(ours & mask, theirs & mask):
            compared += len(pairs)
            alike = pairs[hamming(ours[pairs[:, 0]], theirs[pairs[:, 1]]) <= distance]
            near.append(alike[:, 0] * width + alike[:, 1])
            num_near += len(alike)
            is_whole = compared <= at_most and num_near <= MAX_NEAR
            if not is_whole:
                break
        found = np.unique(np.concatenate(near))
        if not is_whole:
            break
    return np.stack(np.divmod(found, width), axis=1), is_whole


def hamming(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """In how many bits two arrays `(n,)` of uint64 differ, `(n,)`."""
    words = np.ascontiguousarray(one ^ other).view(np.uint16).reshape(-1, 4)
    counts: np.ndarray = _POPCOUNT[words].sum(axis=1, dtype=np.int64)
    return counts


def _band_masks() -> list[np.uint64]:
    """Masks of every two of six bands of neighboring bits."""
    edges = np.linspace(0, 64, _BANDS + 1).round().astype(int).tolist()
    bands = [(1 << high) - (1 << low) for low, high in pairwise(edges)]
    return [np.uint64(one | other) for one, other in combinations(bands, 2)]


def _sharing(ours: np.ndarray, theirs: np.ndarray) -> Iterator[np.ndarray]:
    """Pairs of positions `(k, 2)` whose values are equal, some at a time."""
    order = np.argsort(theirs, kind="stable")
    in_order = theirs[order]
    starts = np.searchsorted(in_order, ours, side="left")
    counts = np.searchsorted(in_order, ours, side="right") - starts
    partners = np.flatnonzero(counts)
    chunks = np.cumsum(counts[partners]) // _CHUNK
    for members in np.split(partners, np.flatnonzero(np.diff(chunks)) + 1):
        repeats = counts[members]
        steps = np.arange(repeats.sum()) - np.repeat(np.cumsum(repeats) - repeats, repeats)
        yield np.stack([np.repeat(members, repeats), order[np.repeat(starts[members], repeats) + steps]], axis=1)


def _packed(bits: np.ndarray) -> int:
    """64 bits as one number."""
    return int.from_bytes(np.packbits(bits).tobytes(), "big")
