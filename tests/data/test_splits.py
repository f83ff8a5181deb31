import itertools
import warnings

import numpy as np
import pytest
import torch

from dmt.data.images import ArrayImages
from dmt.data.splits import Split, difference_maximized, draw_split, folds, split_known
from dmt.errors import ConfigError, DataError

NAMES = tuple("abcdefghij")
LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(10), [30, 40, 35, 33, 50, 30, 31, 32, 40, 29]))


def stream(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def draw(num_labeled: int, *, labels: np.ndarray = LABELS, seed: int = 0, **changes) -> Split:
    settings = {"num_unlabeled": None, "validation_source": "none", "validation_size": None} | changes
    return draw_split(
        labels, num_classes=10, num_labeled=num_labeled, generator=stream(seed), class_names=NAMES, **settings
    )


def image_set(labels: np.ndarray = LABELS, prefix: str = "train") -> ArrayImages:
    return ArrayImages(torch.zeros(len(labels), 1, 2, 2, dtype=torch.uint8), torch.from_numpy(labels), prefix)


def counts(indices: tuple[int, ...]) -> np.ndarray:
    return np.bincount(LABELS[list(indices)], minlength=10)


def check_partition(split: Split, *, whole: bool = True) -> None:
    everything = [*split.labeled, *split.unlabeled, *split.validation]
    assert len(set(everything)) == len(everything)
    assert not whole or len(everything) == len(LABELS)
    assert list(split.unlabeled) == sorted(split.unlabeled)
    assert list(split.validation) == sorted(split.validation)


@pytest.mark.parametrize("num_labeled", [10, 20, 23, 50, 100, 290])
@pytest.mark.parametrize("seed", range(4))
def test_balanced_partition(num_labeled: int, seed: int) -> None:
    split = draw(num_labeled, seed=seed)
    check_partition(split)
    assert len(split.labeled) == num_labeled
    assert set(counts(split.labeled)) <= {num_labeled // 10, -(-num_labeled // 10)}
    assert split == draw(num_labeled, seed=seed)
    assert split != draw(num_labeled, seed=seed + 100)


def test_nested_in_both_sizes() -> None:
    sizes = [10, 13, 20, 50, 100, 250]
    for small, large in itertools.pairwise(sizes):
        assert draw(large).labeled[:small] == draw(small).labeled
    few, many = draw(20, num_unlabeled=50), draw(20, num_unlabeled=120)
    assert set(few.unlabeled) < set(many.unlabeled) < set(draw(20).unlabeled)
    assert few.labeled == many.labeled
    assert (len(few.unlabeled), len(many.unlabeled)) == (50, 120)


def test_leftover_labels_do_not_favor_low_classes() -> None:
    extra = sum(counts(draw(15, seed=seed).labeled) - 1 for seed in range(200))
    assert extra.min() > 60
    assert extra.max() < 140


def test_unlabeled_part_is_a_fair_sample() -> None:
    labels = np.repeat(np.arange(10), 1000)
    chosen = labels[list(draw(10, labels=labels, num_unlabeled=5000).unlabeled)]
    assert np.abs(np.bincount(chosen) - 500).max() < 80


@pytest.mark.parametrize("size", [1, 10, 20, 25])
def test_extra_leaves_the_labeled_set_alone(size: int) -> None:
    split = draw(50, validation_source="extra", validation_size=size)
    check_partition(split)
    assert split.labeled == draw(50).labeled
    assert len(split.validation) == size
    assert np.ptp(counts(split.validation)) <= 1
    larger = draw(100, validation_source="extra", validation_size=size)
    assert larger.validation == split.validation


def test_cut_takes_the_end_of_the_labeled_set() -> None:
    split = draw(50, validation_source="cut", validation_size=20)
    check_partition(split)
    drawn = draw(50).labeled
    assert split.labeled == drawn[:30]
    assert split.validation == tuple(sorted(drawn[30:]))
    assert counts(split.labeled).tolist() == [3] * 10
    assert counts(split.validation).tolist() == [2] * 10
    assert split.unlabeled == draw(50).unlabeled


@pytest.mark.parametrize(
    ("numbers", "cut"), [((500, 50, 50), [50, 5, 5]), ((40, 3, 2), [2, 1, 1]), ((9, 1, 1), [3, 0, 0])]
)
def test_cut_takes_each_class_in_its_share_and_leaves_none_without_a_label(
    numbers: tuple[int, ...], cut: list[int]
) -> None:
    labels = np.repeat(np.arange(3), numbers)
    split = split_known(
        np.arange(len(labels)),
        labels,
        num_classes=3,
        num_unlabeled=None,
        validation_source="cut",
        validation_size=None,
        generator=np.random.default_rng(0),
        class_names="abc",
    )
    assert np.bincount(labels[list(split.validation)], minlength=3).tolist() == cut
    assert sorted(split.labeled + split.validation) == list(range(len(labels)))


def test_default_validation_size() -> None:
    assert len(draw(50, validation_source="cut").validation) == 10
    assert len(draw(250, validation_source="cut").validation) == 25
    assert len(draw(50, validation_source="extra").validation) == 10


def test_cross_validation_sets_nothing_aside() -> None:
    assert draw(50, validation_source="cross_validation") == draw(50)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_labeled": 351}, r"data\.num_labeled is 351; 350 training images have a label"),
        ({"num_labeled": 0}, r"data\.num_labeled is 0"),
        ({"num_labeled": 300}, r"data\.num_labeled is 300, which takes 30 images of class 'j', but only 29"),
        ({"num_labeled": 20, "num_unlabeled": 331}, r"data\.num_unlabeled is 331; 330"),
        ({"num_labeled": 20, "num_unlabeled": -1}, r"data\.num_unlabeled is -1"),
        (
            {"num_labeled": 250, "validation_source": "extra", "validation_size": 50},
            r"validation\.size is 50, which takes 5 images of class 'j', but only 4",
        ),
        (
            {"num_labeled": 20, "validation_source": "cut", "validation_size": 11},
            r"validation\.size is 11 of 20 labels",
        ),
        ({"num_labeled": 20, "validation_source": "cut", "validation_size": 0}, r"validation\.size is 0"),
    ],
)
def test_more_than_there_is(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        draw(**changes)


def test_fewer_labels_than_classes_only_warns() -> None:
    with pytest.warns(UserWarning, match=r"data\.num_labeled is 7: no label of \w, \w, \w\."):
        split = draw(7)
    assert len(split.labeled) == len(set(LABELS[list(split.labeled)])) == 7


def test_images_without_a_label_are_never_labeled() -> None:
    labels = np.where(np.arange(len(LABELS)) % 2, LABELS, -1)
    split = draw(20, labels=labels)
    assert (labels[list(split.labeled)] >= 0).all()
    assert len(split.unlabeled) == len(labels) - 20
    with pytest.raises(DataError, match=r"image 3 has the label 10; the classes are 0\.\.9"):
        draw(20, labels=np.where(np.arange(len(LABELS)) == 3, 10, LABELS))


@pytest.mark.parametrize(("num_labeled", "num_folds"), [(20, 2), (50, 5), (23, 2), (100, 3), (20, 3)])
def test_folds(num_labeled: int, num_folds: int) -> None:
    labeled = draw(num_labeled).labeled
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parts = folds(LABELS, labeled, num_folds=num_folds, generator=stream(3))
    assert len(parts) == num_folds
    assert sorted(index for _, held_out in parts for index in held_out) == sorted(labeled)
    sizes = [len(held_out) for _, held_out in parts]
    assert max(sizes) - min(sizes) <= 1
    for train, held_out in parts:
        assert set(train) | set(held_out) == set(labeled)
        assert not set(train) & set(held_out)
        assert counts(train).min() >= 1
    per_class = np.array([counts(held_out) for _, held_out in parts])
    assert np.ptp(per_class, axis=0).max() <= 1
    assert parts == folds(LABELS, labeled, num_folds=num_folds, generator=stream(3))
    assert parts != folds(LABELS, labeled, num_folds=num_folds, generator=stream(4))


def test_folds_of_single_labels() -> None:
    labeled = draw(10).labeled
    with pytest.warns(UserWarning, match="10 of 10 classes have a single label"):
        parts = folds(LABELS, labeled, num_folds=2, generator=stream())
    assert [len(held_out) for _, held_out in parts] == [5, 5]
    with pytest.raises(ConfigError, match=r"validation\.num_folds is 11; of 10 labels, each needs one"):
        folds(LABELS, labeled, num_folds=11, generator=stream())


@pytest.mark.parametrize(
    ("count", "size", "overlap"), [(100, 80, 60), (211, 168, 125), (530, 424, 318), (1322, 1057, 792)]
)
def test_difference_maximized_sampling_of_the_paper(count: int, size: int, overlap: int) -> None:
    labeled = stream(1).permutation(5000)[:count].tolist()
    first, second = difference_maximized(labeled, share=0.8, generator=stream())
    assert (len(first), len(set(first)), len(second), len(set(second))) == (size,) * 4
    assert len(set(first) & set(second)) == overlap
    assert set(first) | set(second) == set(labeled)
    assert (first, second) == difference_maximized(labeled, share=0.8, generator=stream())
    assert (first, second) != difference_maximized(labeled, share=0.8, generator=stream(1))
    assert all(type(index) is int for index in first)


@pytest.mark.parametrize("percent", [10, 25, 33, 50, 60, 70, 75, 90, 99, 100])
@pytest.mark.parametrize("count", [2, 3, 10, 97])
def test_difference_maximized_sampling_of_any_share(count: int, percent: int) -> None:
    """Against whole-number arithmetic; samples that overlap do so by no more than they must."""
    left_out = -(-(100 - percent) * count // 100)
    labeled = list(range(7, 7 + count))
    if left_out == count:
        with pytest.raises(ConfigError, match=rf"of {count} labeled images, that leaves none"):
            difference_maximized(labeled, share=percent / 100, generator=stream())
        return
    first, second = difference_maximized(labeled, share=percent / 100, generator=stream())
    assert len(first) == len(second) == count - left_out
    assert len(set(first) & set(second)) == max(0, count - 2 * left_out)


@pytest.mark.parametrize("share", [0.0, -0.5, 1.01, float("nan")])
def test_shares_out_of_range(share: float) -> None:
    with pytest.raises(ConfigError, match=r"rounds\.dms_share is .*; it must be above 0 and at most 1"):
        difference_maximized([1, 2, 3], share=share, generator=stream())
    with pytest.raises(ConfigError, match=r"rounds\.dms_share is 0\.8; of 1 labeled images"):
        difference_maximized([1], share=0.8, generator=stream())
