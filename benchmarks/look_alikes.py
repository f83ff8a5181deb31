"""How long it takes to find the pairs that look alike among many images, against comparing each with each.

Usage: python benchmarks/look_alikes.py [--images 20000]

`random` hashes stand for pictures that have nothing in common; `alike` ones lie around a few hundred centers, as of a
camera that stands still; in both, one in a hundred of the second set is a copy of one of the first, three bits off.
"""

import argparse
import time

import numpy as np

from dmt.check.fingerprints import DISTANCE, hamming, near_pairs

CENTERS, SPREAD = 300, 10


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20_000, help="in each of the two sets")
    count = parser.parse_args().images
    print("| hashes | banded, s | each with each, s | pairs | the same |\n|---|---|---|---|---|")
    for name, centers in (("random", None), ("alike", CENTERS)):
        stream = np.random.default_rng(0)
        ours, theirs = (_hashes(stream, count, centers) for _ in range(2))
        copied = stream.choice(count, count // 100, replace=False)
        theirs[copied] = _flipped(stream, ours[copied], 3)
        start = time.perf_counter()
        found, is_whole = near_pairs(ours, theirs)
        middle = time.perf_counter()
        expected = _each_with_each(ours, theirs)
        end = time.perf_counter()
        is_same = is_whole and np.array_equal(found, expected)
        print(f"| {name} | {middle - start:.2f} | {end - middle:.1f} | {len(found):,} | {is_same} |")


def _hashes(stream: np.random.Generator, count: int, centers: int | None) -> np.ndarray:
    if centers is None:
        return stream.integers(0, 2**64, count, dtype=np.uint64)
    fixed = np.random.default_rng(1).integers(0, 2**64, centers, dtype=np.uint64)
    return _flipped(stream, fixed[stream.integers(0, centers, count)], SPREAD)


def _flipped(stream: np.random.Generator, hashes: np.ndarray, bits: int) -> np.ndarray:
    for _ in range(bits):
        hashes = hashes ^ (np.uint64(1) << stream.integers(0, 64, len(hashes)).astype(np.uint64))
    return hashes


def _each_with_each(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    rows = []
    for place, one in enumerate(ours):
        near = np.flatnonzero(hamming(np.full_like(theirs, one), theirs) <= DISTANCE)
        rows.append(np.stack([np.full_like(near, place), near], axis=1))
    return np.concatenate(rows)


if __name__ == "__main__":
    main()
