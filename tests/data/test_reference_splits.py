"""The authors' orders: against a plain shuffle of names, and against what they published."""

import random

import numpy as np
import pytest

from dmt.data.reference_splits import reference_order

# How the first 20 names of two published lists rank by name; both data sets are sorted by name.
VOC_SPLIT_2 = [17, 8, 12, 0, 3, 4, 7, 1, 16, 5, 2, 11, 15, 9, 19, 13, 6, 10, 18, 14]
CITYSCAPES_SPLIT_1 = [2, 14, 9, 7, 6, 5, 0, 13, 12, 1, 10, 4, 16, 11, 18, 19, 15, 17, 3, 8]


@pytest.mark.parametrize("num_images", [1, 2, 7, 100, 2975])
def test_successive_shuffles_of_one_list(num_images: int) -> None:
    names = [f"image {index}" for index in range(num_images)]
    shuffled = list(names)
    stream = random.Random(7777)
    for split_seed in range(3):
        stream.shuffle(shuffled)
        order = reference_order(num_images, split_seed)
        assert order is not None
        assert [names[index] for index in order] == shuffled


def test_other_seeds_were_not_published() -> None:
    assert reference_order(10, 3) is None
    assert reference_order(10, -1) is None


@pytest.mark.parametrize(
    ("num_images", "split_seed", "ranks"), [(10_582, 2, VOC_SPLIT_2), (2_975, 1, CITYSCAPES_SPLIT_1)]
)
def test_as_published(num_images: int, split_seed: int, ranks: list[int]) -> None:
    order = reference_order(num_images, split_seed)
    assert order is not None
    first = np.array(order[: len(ranks)])
    assert first.argsort().argsort().tolist() == ranks


def test_labeled_sets_are_nested_and_splits_differ() -> None:
    orders = [reference_order(2975, split_seed) for split_seed in range(3)]
    assert len({order[:100] for order in orders if order}) == 3
    assert all(order is not None and sorted(order) == list(range(2975)) for order in orders)
