"""Splits in segmentation, dealt from an order."""

import itertools

import numpy as np
import pytest

from dmt.data.mask_splits import draw_masks
from dmt.data.splits import Split
from dmt.errors import ConfigError, DataError

ORDER = np.random.default_rng(0).permutation(60).tolist()
LABELED = tuple(range(0, 60, 2))


def draw(*, order: list[int] = ORDER, **changes) -> Split:
    settings = {
        "labeled": LABELED,
        "unlabeled": None,
        "num_labeled": None,
        "num_unlabeled": None,
        "validation_source": "none",
        "validation_size": None,
    }
    return draw_masks(order, **settings | changes)


CANDIDATES = [index for index in ORDER if index % 2 == 0]


@pytest.mark.parametrize("num_labeled", [1, 7, 30, None])
def test_labeled_images_are_the_first_candidates(num_labeled: int | None) -> None:
    split = draw(num_labeled=num_labeled)
    assert split.labeled == tuple(CANDIDATES[: num_labeled or 30])
    assert list(split.unlabeled) == sorted(set(range(60)) - set(split.labeled))
    assert split.validation == ()
    assert all(type(index) is int for index in split.labeled + split.unlabeled)


def test_nested_in_both_sizes() -> None:
    for small, large in itertools.pairwise([1, 5, 13, 30]):
        assert draw(num_labeled=large).labeled[:small] == draw(num_labeled=small).labeled
    few, many = draw(num_labeled=5, num_unlabeled=10), draw(num_labeled=5, num_unlabeled=30)
    assert set(few.unlabeled) < set(many.unlabeled)
    assert set(few.unlabeled) == set([index for index in ORDER if index not in few.labeled][:10])
    assert (len(few.unlabeled), len(many.unlabeled)) == (10, 30)


@pytest.mark.parametrize("size", [1, 4, 20])
def test_extra_takes_the_last_candidates(size: int) -> None:
    split = draw(num_labeled=10, validation_source="extra", validation_size=size)
    assert split.labeled == tuple(CANDIDATES[:10])
    assert split.validation == tuple(sorted(CANDIDATES[30 - size :]))
    assert sorted(split.labeled + split.validation + split.unlabeled) == list(range(60))


@pytest.mark.parametrize("size", [1, 4, 9])
def test_cut_takes_the_last_labeled_images(size: int) -> None:
    split = draw(num_labeled=10, validation_source="cut", validation_size=size)
    assert split.labeled == tuple(CANDIDATES[: 10 - size])
    assert split.validation == tuple(sorted(CANDIDATES[10 - size : 10]))
    assert split.unlabeled == draw(num_labeled=10).unlabeled


def test_default_validation_size() -> None:
    for num_labeled, size in ((2, 1), (10, 1), (26, 3)):
        assert len(draw(num_labeled=num_labeled, validation_source="cut").validation) == size
    assert len(draw(num_labeled=26, validation_source="extra").validation) == 3
    assert draw(num_labeled=26, validation_source="cross_validation") == draw(num_labeled=26)


def test_a_given_unlabeled_list() -> None:
    split = draw(unlabeled=(1, 3, CANDIDATES[0], 5), num_labeled=6)
    assert split.labeled == tuple(CANDIDATES[1:7]), "what is to be unlabeled is no candidate"
    assert split.unlabeled == tuple(sorted((1, 3, 5, CANDIDATES[0])))
    assert len(draw(unlabeled=(1, 3, 5), num_unlabeled=2).unlabeled) == 2
    assert draw(unlabeled=()).unlabeled == ()


def test_orders_of_numpy() -> None:
    order = np.random.default_rng(0).permutation(60)
    assert draw(order=order, num_labeled=4) == draw(num_labeled=4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_labeled": 31}, r"data\.num_labeled is 31; there are 30 training images with a mask"),
        ({"num_labeled": 0}, r"data\.num_labeled is 0"),
        ({"num_labeled": 20, "num_unlabeled": 41}, r"data\.num_unlabeled is 41; 40 training images are neither"),
        ({"unlabeled": (1, 3), "num_unlabeled": 3}, r"data\.num_unlabeled is 3; 2 "),
        (
            {"num_labeled": 25, "validation_source": "extra", "validation_size": 6},
            r"validation\.size is 6, but beyond the labeled images only 5 have a mask",
        ),
        ({"validation_source": "extra"}, r"validation\.size is 3, but beyond the labeled images only 0"),
        (
            {"num_labeled": 4, "validation_source": "cut", "validation_size": 4},
            r"validation\.size is 4 of 4 labels, which leaves 0 for training; at least one must stay",
        ),
        ({"num_labeled": 4, "validation_source": "cut", "validation_size": 0}, r"validation\.size is 0"),
        ({"num_labeled": 4, "validation_source": "extra", "validation_size": 0}, r"validation\.size is 0"),
    ],
)
def test_more_than_there_is(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        draw(**changes)


def test_no_mask_at_all() -> None:
    with pytest.raises(DataError, match="No image has a mask"):
        draw(labeled=())
    with pytest.raises(DataError, match="No image has a mask"):
        draw(unlabeled=LABELED)
