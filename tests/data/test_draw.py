"""From what a config says of labeled and unlabeled images to a split."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dmt.config import Config
from dmt.config_files import load_config
from dmt.data.draw import num_labels, split_classes, split_masks
from dmt.data.images import ArrayImages, DataSet
from dmt.data.splits import Split
from dmt.errors import ConfigError, DataError
from dmt.randomness import generator
from tiny_runs import masked_images, striped_images, tiny_masks

NUM_TRAIN = 24


def config(task: str = "segmentation", *, seed: int = 0, **changes: Any) -> Config:
    """`changes` are those of the section `data`; `source` and `size` those of `validation`."""
    validation = {"source": changes.pop("source", "none"), "size": changes.pop("size", None)}
    return load_config({"task": task, "seed": seed, "validation": validation, "data": {"name": "own"} | changes})


def masks(hidden: Sequence[int] = (), **changes: Any) -> DataSet:
    train = replace(masked_images(NUM_TRAIN, seed=1), hidden=frozenset(hidden))
    return tiny_masks(train=train, **changes)


def stripes(labels: Sequence[int] | None = None) -> DataSet:
    images, truth = striped_images(NUM_TRAIN, seed=1)
    truth = truth if labels is None else torch.tensor(labels)
    return DataSet(
        name="stripes",
        class_names=("a", "b", "c"),
        train=ArrayImages(images[: len(truth)], truth, "train"),
        test=None,
        mean=(0.3,),
        std=(0.2,),
    )


def write_list(path: Path, data: DataSet, indices: Sequence[int]) -> str:
    path.write_text("".join(f"{data.train.key(index)}\n" for index in indices))
    return str(path)


def shuffled(seed: int) -> list[int]:
    order: list[int] = generator(seed, "split").permutation(NUM_TRAIN).tolist()
    return order


def parts_of(split: Split) -> list[int]:
    return [*split.labeled, *split.unlabeled, *split.validation]


@pytest.mark.parametrize("seed", [0, 3])
@pytest.mark.parametrize("num_labeled", [1, 5, 23])
def test_masks_are_the_first_of_a_random_order(num_labeled: int, seed: int) -> None:
    split = split_masks(config(num_labeled=num_labeled, seed=seed), masks())
    order = shuffled(seed)
    assert split.labeled == tuple(order[:num_labeled])
    assert split.unlabeled == tuple(sorted(order[num_labeled:]))
    assert split.validation == ()


def test_the_order_follows_the_seed_of_the_split_alone() -> None:
    splits = [split_masks(config(num_labeled=5, seed=seed, split_seed=3), masks()) for seed in (0, 1)]
    assert splits[0] == splits[1] == split_masks(config(num_labeled=5, seed=3), masks())
    assert splits[0] != split_masks(config(num_labeled=5, seed=0), masks())


@pytest.mark.parametrize("num_labeled", [None, 4])
def test_only_images_with_a_mask_are_labeled(num_labeled: int | None) -> None:
    hidden = tuple(range(0, NUM_TRAIN, 3))
    split = split_masks(config(num_labeled=num_labeled), masks(hidden))
    known = [index for index in shuffled(0) if index not in hidden]
    assert split.labeled == tuple(known[:num_labeled])
    assert sorted(parts_of(split)) == list(range(NUM_TRAIN))


@pytest.mark.parametrize("source", ["cut", "extra"])
def test_masks_set_aside_for_choices(source: str) -> None:
    plain = split_masks(config(num_labeled=8), masks())
    split = split_masks(config(num_labeled=8, source=source, size=3), masks())
    assert sorted(parts_of(split)) == list(range(NUM_TRAIN))
    assert len(split.validation) == 3
    if source == "cut":
        assert split.labeled == plain.labeled[:5]
        assert set(split.validation) == set(plain.labeled[5:])
        assert split.unlabeled == plain.unlabeled
    else:
        assert split.labeled == plain.labeled
        assert set(split.validation) <= set(plain.unlabeled)


def test_fewer_unlabeled_images_are_a_sample() -> None:
    everything = split_masks(config(num_labeled=4), masks())
    split = split_masks(config(num_labeled=4, num_unlabeled=7), masks())
    assert split.labeled == everything.labeled
    assert set(split.unlabeled) == set(shuffled(0)[4:11])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_labeled": NUM_TRAIN + 1}, r"data\.num_labeled is 25; there are 24"),
        ({"num_labeled": 20, "num_unlabeled": 5}, r"data\.num_unlabeled is 5; 4 training images"),
        ({"num_labeled": 3, "source": "cut", "size": 3}, r"validation\.size is 3 of 3 labels"),
        ({"num_labeled": 22, "source": "extra", "size": 3}, r"validation\.size is 3, but .* only 2 have a mask"),
    ],
)
def test_more_masks_than_there_are(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        split_masks(config(**changes), masks())


def test_without_any_mask_there_is_nothing_to_learn_from() -> None:
    with pytest.raises(DataError, match="No image has a mask"):
        split_masks(config(), masks(range(NUM_TRAIN)))


def published_for(seed: int, order: Sequence[int]) -> Callable[[int], Sequence[int] | None]:
    return lambda wanted: order if wanted == seed else None


def test_a_published_split_comes_before_ours() -> None:
    backwards = list(reversed(range(NUM_TRAIN)))
    data = masks(reference_splits=published_for(2, backwards))
    assert split_masks(config(num_labeled=3, split_seed=2), data).labeled == (23, 22, 21)
    assert split_masks(config(num_labeled=3, split_seed=1), data).labeled == tuple(shuffled(1)[:3])


def test_a_data_set_may_settle_who_is_labeled() -> None:
    data = masks(labeled=(1, 4, 9), unlabeled=(2, 3, 5))
    split = split_masks(config(), data)
    assert set(split.labeled) == {1, 4, 9}
    assert split.unlabeled == (2, 3, 5)
    assert len(split_masks(config(num_labeled=2), data).labeled) == 2
    with pytest.raises(ConfigError, match=r"data\.num_labeled is 4; there are 3"):
        split_masks(config(num_labeled=4), data)


def test_lists_of_the_config_name_the_images(tmp_path: Path) -> None:
    data = masks(labeled=(1, 4), unlabeled=(2, 3))
    labeled = write_list(tmp_path / "l.txt", data, [7, 5, 20])
    unlabeled = write_list(tmp_path / "u.txt", data, [6, 8, 0, 2])
    split = split_masks(config(labeled=labeled, unlabeled=unlabeled), data)
    assert set(split.labeled) == {7, 5, 20}
    assert split.unlabeled == (0, 2, 6, 8)
    only_labeled = split_masks(config(labeled=labeled), masks())
    assert set(only_labeled.unlabeled) == set(range(NUM_TRAIN)) - {7, 5, 20}
    only_unlabeled = split_masks(config(unlabeled=unlabeled, num_labeled=20), masks())
    assert set(only_unlabeled.labeled) == set(range(NUM_TRAIN)) - {6, 8, 0, 2}


def test_a_list_of_labeled_images_must_name_masks(tmp_path: Path) -> None:
    data = masks(hidden=(3,))
    with pytest.raises(DataError, match="train/003, which has no label"):
        split_masks(config(labeled=write_list(tmp_path / "l.txt", data, [2, 3])), data)


def test_an_image_in_both_lists_is_refused(tmp_path: Path) -> None:
    data = masks()
    labeled = write_list(tmp_path / "l.txt", data, [7, 5, 20])
    unlabeled = write_list(tmp_path / "u.txt", data, [6, 5, 0])
    with pytest.raises(DataError, match="train/005"):
        split_masks(config(labeled=labeled, unlabeled=unlabeled), data)


def test_no_mask_is_opened_to_draw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A draw knows which images have masks, and nothing of what they hold."""

    def closed(*_: object) -> None:
        raise AssertionError("a mask was opened")

    data = masks(hidden=(3,))
    listed = write_list(tmp_path / "l.txt", data, [7, 5, 20])
    monkeypatch.setattr(type(data.train), "labels", closed)
    for source in ("none", "cut", "extra"):
        assert len(split_masks(config(num_labeled=6, source=source), data).labeled) in (5, 6)
    assert len(split_masks(config(labeled=listed), data).labeled) == num_labels(config(labeled=listed), data) == 3


def test_classes_are_drawn_in_balance() -> None:
    data = stripes()
    split = split_classes(config("classification", num_labeled=9), data)
    assert np.bincount(data.train.labels(split.labeled).numpy()).tolist() == [3, 3, 3]
    assert sorted(parts_of(split)) == list(range(NUM_TRAIN))


@pytest.mark.parametrize(
    ("rounds", "num_labeled", "warns"),
    [
        ({"alignment": "labeled_shares"}, 4, True),
        ({"selection": "class_prior"}, 5, True),
        ({"selection": "class_share"}, 5, True),
        ({"selection": "class_prior"}, 6, False),
        ({"selection": "per_class"}, 5, False),
    ],
)
def test_labels_that_cannot_be_even_are_warned_of_where_they_count_as_shares(
    rounds: dict[str, str], num_labeled: int, warns: bool
) -> None:
    chosen = config("classification", num_labeled=num_labeled)
    chosen = chosen.model_copy(update={"rounds": chosen.rounds.model_copy(update=rounds)})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        split_classes(chosen, stripes())
    found = [str(one.message) for one in caught if "Use a multiple of 3" in str(one.message)]
    assert len(found) == warns
    assert all(f"data.num_labeled is {num_labeled} of 3 classes" in one for one in found)


def test_without_a_number_every_known_class_is_used() -> None:
    labels = [0, -1, 1, 2, -1, 0, 1, 0]
    split = split_classes(config("classification"), stripes(labels))
    assert set(split.labeled) == {0, 2, 3, 5, 6, 7}
    assert split.unlabeled == (1, 4)


def test_labels_that_a_data_set_does_not_count_as_labels_are_hidden() -> None:
    data = replace(stripes(), labeled=(0, 1, 2, 3, 4, 5))
    split = split_classes(config("classification"), data)
    assert set(split.labeled) == set(data.labeled or ())
    assert num_labels(config("classification"), data) == 6
    drawn = split_classes(config("classification", num_labeled=3), data)
    assert len(drawn.labeled) == 3
    assert set(drawn.labeled) <= set(data.labeled or ())


def test_an_image_in_both_lists_of_a_classification_is_named(tmp_path: Path) -> None:
    data = stripes()
    lists = {name: write_list(tmp_path / name, data, range(4)) for name in ("labeled", "unlabeled")}
    with pytest.raises(DataError, match="is in the labeled list and in the unlabeled list, and 3 more are"):
        split_classes(config("classification", **lists), data)


def test_a_list_names_the_labeled_images_of_a_classification(tmp_path: Path) -> None:
    data = stripes()
    listed = [2, 11, 5, 7]
    labels = data.train.labels(listed).tolist()
    assert set(labels) == {0, 1, 2}, "a class of which nothing is listed would warn"
    split = split_classes(config("classification", labeled=write_list(tmp_path / "l.txt", data, listed)), data)
    assert set(split.labeled) == set(listed)
    assert set(split.unlabeled) == set(range(NUM_TRAIN)) - set(listed)


def test_a_list_of_unlabeled_images_counts_in_classification_too(tmp_path: Path) -> None:
    data = stripes()
    unlabeled = write_list(tmp_path / "u.txt", data, [9, 12, 15])
    split = split_classes(config("classification", num_labeled=6, unlabeled=unlabeled), data)
    assert split.unlabeled == (9, 12, 15)


def test_of_a_list_of_unlabeled_images_the_seed_draws_a_sample(tmp_path: Path) -> None:
    """Lists are often sorted by class: their first lines would be one class, and the same for every seed."""
    data = stripes([*[0] * 8, *[1] * 8, *[2] * 8])
    rest = [index for index in range(NUM_TRAIN) if index % 4]
    unlabeled = write_list(tmp_path / "u.txt", data, rest)

    def draw(seed: int, count: int | None) -> tuple[int, ...]:
        changes = {"num_labeled": 3, "unlabeled": unlabeled} | ({} if count is None else {"num_unlabeled": count})
        return split_classes(config("classification", seed=seed, **changes), data).unlabeled

    assert draw(0, None) == tuple(rest)
    samples = [draw(seed, 9) for seed in range(5)]
    assert len(set(samples)) > 1
    assert draw(0, 9) == samples[0]
    assert set(draw(0, 4)) <= set(samples[0])
    assert set().union(*samples) > set(rest[:9])


def test_the_number_of_labels_that_a_config_asks_for(tmp_path: Path) -> None:
    data = masks(hidden=range(4))
    listed = write_list(tmp_path / "l.txt", data, [7, 5, 20])
    assert num_labels(config(num_labeled=6, source="cut", size=2), data) == 6
    assert num_labels(config(labeled=listed), data) == 3
    assert num_labels(config(), data) == NUM_TRAIN - 4
    assert num_labels(config(), masks(labeled=(1, 2))) == 2
    assert num_labels(config(num_labeled=1), masks(labeled=(1, 2))) == 1
    assert num_labels(config("classification"), stripes([0, -1, 1, 2])) == 3


@pytest.mark.parametrize("changes", [{}, {"num_labeled": 5}, {"num_labeled": 7, "source": "cut", "size": 2}])
@pytest.mark.parametrize("hidden", [(), (1, 2, 3)])
def test_the_number_of_labels_is_that_of_the_split(changes: dict[str, Any], hidden: tuple[int, ...]) -> None:
    split = split_masks(config(**changes), masks(hidden))
    assert num_labels(config(**changes), masks(hidden)) == len(split.labeled) + len(split.validation)


def test_images_that_are_listed_as_unlabeled_are_no_labels(tmp_path: Path) -> None:
    """Else 4 masks of 24 would be held for 24, and choices made by `cut` instead of by folds."""
    chosen = config(unlabeled=write_list(tmp_path / "u.txt", masks(), range(20)))
    assert num_labels(chosen, masks()) == len(split_masks(chosen, masks()).labeled) == 4


def test_lists_are_looked_for_here_and_then_beside_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, root = tmp_path / "here", tmp_path / "root"
    for folder in (here, root):
        folder.mkdir()
    monkeypatch.chdir(here)
    data = masks(root=root)

    def labeled(name: str, data: DataSet = data) -> tuple[int, ...]:
        chosen = config(labeled=name)
        split = split_masks(chosen, data)
        assert num_labels(chosen, data) == len(split.labeled)
        return split.labeled

    (root / "l.txt").write_text("train/001\n")
    assert labeled("l.txt") == labeled(str(root / "l.txt")) == (1,)
    (here / "l.txt").write_text("train/002\n")
    assert labeled("l.txt") == labeled("l.txt", masks()) == (2,)
    (here / "l.txt").unlink()
    (here / "l.txt").mkdir()
    assert labeled("l.txt") == (1,), "a folder is no list"
    monkeypatch.setenv("HOME", str(root))
    assert labeled("~/l.txt") == (1,)


@pytest.mark.parametrize("key", ["labeled", "unlabeled"])
def test_a_list_that_is_nowhere_is_named_with_its_key(tmp_path: Path, key: str) -> None:
    with pytest.raises(DataError, match=rf"data\.{key} is nowhere\.txt"):
        split_masks(config(**{key: "nowhere.txt"}), masks(root=tmp_path))
