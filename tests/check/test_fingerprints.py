"""Fingerprints of images, and pairs that look alike against a loop over all pairs."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from dmt.check import fingerprints
from dmt.check.fingerprints import DISTANCE, LOOSE_DISTANCE, fingerprint, hamming, near_pairs


def photo(seed: int, size: tuple[int, int] = (48, 64)) -> torch.Tensor:
    """A smooth picture, which survives JPEG."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return torch.from_numpy(np.array(Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BICUBIC))).permute(
        2, 0, 1
    )


def bits(one: int, other: int) -> int:
    return (one ^ other).bit_count()


def slow_pairs(ours: np.ndarray, theirs: np.ndarray, distance: int) -> list[list[int]]:
    return [
        [i, j]
        for i, one in enumerate(ours.tolist())
        for j, other in enumerate(theirs.tolist())
        if bits(one, other) <= distance
    ]


def hashes(count: int, *, seed: int, spread: int) -> np.ndarray:
    """Numbers around a few centers, so that near ones are many."""
    stream = np.random.default_rng(seed)
    centers = np.random.default_rng(7).integers(0, 2**63, 8, dtype=np.uint64)
    values = centers[stream.integers(0, 8, count)]
    for _ in range(spread):
        values = values ^ (np.uint64(1) << stream.integers(0, 64, count).astype(np.uint64))
    return values


@pytest.mark.parametrize("distance", [0, 1, 3, 4])
@pytest.mark.parametrize("spread", [0, 1, 2, 3, 5])
def test_near_pairs_are_those_of_a_loop(distance: int, spread: int) -> None:
    ours, theirs = hashes(60, seed=1, spread=spread), hashes(90, seed=2, spread=spread)
    pairs, is_whole = near_pairs(ours, theirs, distance=distance)
    assert is_whole
    assert pairs.tolist() == slow_pairs(ours, theirs, distance)


def test_every_place_of_four_bits_is_found() -> None:
    stream = np.random.default_rng(0)
    one = np.array([0x0123456789ABCDEF], dtype=np.uint64)
    flipped = [sum(1 << int(place) for place in stream.choice(64, 4, replace=False)) for _ in range(500)]
    others = np.array([0x0123456789ABCDEF ^ change for change in flipped], dtype=np.uint64)
    assert len(near_pairs(one, others)[0]) == 500


def test_nothing_and_too_much() -> None:
    none = np.empty(0, dtype=np.uint64)
    assert near_pairs(none, hashes(5, seed=0, spread=0))[0].shape == (0, 2)
    alike = np.zeros(3000, dtype=np.uint64)
    found, is_whole = near_pairs(alike, alike, at_most=10_000)
    assert not is_whole
    assert len(found) > 10_000


def test_a_camera_that_stands_still_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    alike = np.zeros(300, dtype=np.uint64)
    assert (len(near_pairs(alike, alike)[0]), near_pairs(alike, alike)[1]) == (90_000, True)
    monkeypatch.setattr(fingerprints, "MAX_NEAR", 50_000)
    found, is_whole = near_pairs(alike, alike)
    assert not is_whole
    assert len(np.unique(found, axis=0)) == len(found) > 50_000


def test_distances_are_counted_bit_by_bit() -> None:
    stream = np.random.default_rng(0)
    one, other = (stream.integers(0, 2**63, 100, dtype=np.uint64) for _ in range(2))
    assert hamming(one, other).tolist() == [bits(a, b) for a, b in zip(one.tolist(), other.tolist(), strict=True)]


def test_equal_pixels_share_a_digest_and_others_do_not() -> None:
    one = photo(0)
    assert fingerprint(one) == fingerprint(one.clone())
    changed = one.clone()
    changed[0, 3, 3] ^= 1
    assert fingerprint(changed).digest != fingerprint(one).digest
    assert fingerprint(one.reshape(3, 64, 48)).digest != fingerprint(one).digest


@pytest.mark.parametrize("seed", range(20))
def test_another_format_size_and_brightness_look_alike_and_other_pictures_do_not(seed: int) -> None:
    one = photo(seed)
    image = Image.fromarray(one.permute(1, 2, 0).numpy())
    stream = io.BytesIO()
    image.save(stream, "jpeg", quality=75)
    jpeg = Image.open(stream)
    smaller, darker = image.resize((50, 40)), Image.fromarray((np.array(image) * 0.8).astype(np.uint8))
    for version in (jpeg, smaller, darker):
        again = fingerprint(torch.from_numpy(np.array(version)).permute(2, 0, 1))
        assert bits(again.across, fingerprint(one).across) <= DISTANCE
        assert bits(again.down, fingerprint(one).down) <= LOOSE_DISTANCE
    other = fingerprint(photo(seed + 100))
    assert bits(other.across, fingerprint(one).across) > DISTANCE


def test_pictures_without_shape_are_told() -> None:
    assert fingerprint(torch.full((3, 20, 20), 200, dtype=torch.uint8)).is_flat
    assert not fingerprint(photo(0)).is_flat


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 2, 5), (5, 8, 8), (1, 300, 7)])
def test_any_shape_has_fingerprints(shape: tuple[int, int, int]) -> None:
    image = torch.from_numpy(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))
    one = fingerprint(image)
    assert len(one.digest) == 16
    assert 0 <= one.across < 2**64
