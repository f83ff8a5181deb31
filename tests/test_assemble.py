"""Which labels a run trains on and chooses by, from what the config leaves open."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import Subset, TensorDataset

from dmt.assemble import build_arms, has_split, resolve_validation
from dmt.config import Config
from dmt.config_files import load_config
from dmt.data.images import DataSet
from dmt.data.parts import Part
from dmt.errors import ConfigError, DataError
from dmt.loading import load_data
from dmt.methods import build_method
from dmt.networks import network_builder
from dmt.run import run
from tiny_runs import (
    TINY_MASK_NETWORKS,
    TINY_NETWORKS,
    masked_images,
    striped_images,
    striped_set,
    tiny_config,
    tiny_mask_config,
    tiny_masks,
    tiny_parts,
)

SHORT = {"duration": {"steps": 2}, "supervised": {"steps": 2}, "data": {"name": "stripes"}}


def uneven(counts: Sequence[int]) -> Subset[Any]:
    """Images of which class k has `counts[k]`."""
    images, labels = striped_images(3 * max(counts), seed=1)
    chosen = [i for k, count in enumerate(counts) for i in (labels == k).nonzero().squeeze(1).tolist()[:count]]
    return Subset(TensorDataset(images, labels), chosen)


def test_all_of_an_own_labeled_part_is_used_however_uneven(tmp_path: Path) -> None:
    parts = {"labeled": uneven([9, 4, 2]), "unlabeled": striped_set(12, seed=3), "test": striped_set(6, seed=2)}
    result = run(tiny_config(**SHORT), parts, TINY_NETWORKS, run_dir=tmp_path / "run")
    assert (result["num_labeled"], result["num_unlabeled"]) == (15, 12)


def test_without_a_number_all_labels_there_are_are_used(tmp_path: Path) -> None:
    config = tiny_config(**SHORT, method="supervised")
    parts = {"train": uneven([5, 3, 4]), "test": striped_set(6, seed=2)}
    assert run(config, parts, TINY_NETWORKS, run_dir=tmp_path / "run")["num_labeled"] == 12


def test_labels_for_choices_that_leave_no_image_unlabeled_make_it_supervised(tmp_path: Path) -> None:
    sizes = {"data": {"name": "stripes", "num_labeled": 9}, "validation": {"source": "extra", "size": 3}}
    parts = {"train": uneven([4, 4, 4]), "test": striped_set(6, seed=2)}
    with pytest.warns(UserWarning, match="There is no unlabeled image"):
        result = run(tiny_config(**{**SHORT, **sizes}), parts, TINY_NETWORKS, run_dir=tmp_path / "run")
    assert (result["method"], result["num_labeled"], result["num_validation"]) == ("supervised", 9, 3)


def test_the_oracle_uses_every_label(tmp_path: Path) -> None:
    config = tiny_config(**SHORT, method="oracle")
    parts = {"train": uneven([5, 3, 4]), "test": striped_set(6, seed=2)}
    assert run(config, parts, TINY_NETWORKS, run_dir=tmp_path / "run")["num_labeled"] == 12


def test_the_oracle_is_refused_where_labels_are_missing(tmp_path: Path) -> None:
    parts = {"labeled": striped_set(9, seed=1), "unlabeled": striped_set(12, seed=3), "test": striped_set(6, seed=2)}
    with pytest.raises(ConfigError, match="12 of 21 have none"):
        run(tiny_config(**SHORT, method="oracle"), parts, TINY_NETWORKS, run_dir=tmp_path / "run")


@pytest.mark.parametrize(("num_labeled", "source"), [(29, "cross_validation"), (30, "cut"), (60, "cut")])
@pytest.mark.parametrize("named", [True, False])
def test_choices_are_made_by_folds_under_ten_labels_a_class(num_labeled: int, source: str, named: bool) -> None:
    """Also where the number of labels is not in the config, but is all that the own labeled part holds."""
    config = load_config(tiny_config(validation={}, data={"name": "x", "num_labeled": num_labeled if named else None}))
    parts: dict[str, Any] = {"unlabeled": striped_set(12, seed=3), "test": striped_set(6, seed=2)}
    parts["labeled"] = striped_set(60 if named else num_labeled, seed=1)
    resolved = resolve_validation(config, load_data(config, parts), plan=build_method(config).plan())
    assert resolved.validation.source == source


def test_a_validation_part_that_the_data_bring_is_taken() -> None:
    config = load_config(tiny_config(validation={}))
    parts = {name: striped_set(30, seed=1) for name in ("train", "validation", "test")}
    resolved = resolve_validation(config, load_data(config, parts), plan=build_method(config).plan())
    assert resolved.validation.source == "given"


def test_class_prior_counts_exactly(tmp_path: Path) -> None:
    """A third of 51 images is 17, not 18."""
    config = tiny_config(
        data={"name": "stripes"},
        rounds={"top_fractions": [1.0], "selection": "class_prior"},
        supervised={"steps": 80},
        duration={"steps": 2},
    )
    parts = {"labeled": striped_set(9, seed=1), "unlabeled": uneven([27, 12, 12]), "test": striped_set(6, seed=2)}
    result = run(config, parts, TINY_NETWORKS, run_dir=tmp_path / "run")
    assert result["rounds"][1]["pseudo_labels_per_class"][0] == 17


def masks(count: int = 30, hidden: Sequence[int] = (), **changes: Any) -> DataSet:
    return tiny_masks(train=replace(masked_images(count, seed=1), hidden=frozenset(hidden)), num_test=3, **changes)


def mask_config(**changes: Any) -> Config:
    return load_config(tiny_mask_config(**changes))


def resolved(config: Config, data: DataSet) -> str | None:
    return resolve_validation(config, data, plan=build_method(config).plan()).validation.source


@pytest.mark.parametrize(
    ("num_labeled", "source"),
    [(1, "none"), (2, "cross_validation"), (19, "cross_validation"), (20, "cut"), (29, "cut")],
)
@pytest.mark.parametrize("named", [True, False])
def test_choices_between_networks_for_masks_are_made_by_folds_under_twenty_masks(
    num_labeled: int, source: str, named: bool
) -> None:
    """Also where the number of labels is how many masks there are."""
    config = mask_config(validation={}, data={"name": "bands", "num_labeled": num_labeled if named else None})
    data = masks() if named else masks(hidden=range(num_labeled, 30))
    assert resolved(config, data) == source


def test_masks_that_the_data_bring_for_choices_are_taken() -> None:
    data = masks(validation=masked_images(4, seed=5))
    assert resolved(mask_config(validation={}), data) == "given"
    assert resolved(mask_config(validation={}, method="supervised"), data) == "given"
    assert resolved(mask_config(validation={"source": "given"}), data) == "given"
    for source in ("extra", "cut", "cross_validation"):
        with pytest.raises(ConfigError, match=f"is '{source}', but the data bring a validation part; .* to none"):
            resolved(mask_config(validation={"source": source}), data)
    with pytest.raises(ConfigError, match=r"is 'given', but the data bring no validation part\. Add one, or set"):
        resolved(mask_config(validation={"source": "given"}), masks())


@pytest.mark.parametrize("needs_all_labels", [False, True])
def test_an_explicit_none_leaves_out_the_part_that_the_data_bring(tmp_path: Path, needs_all_labels: bool) -> None:
    data = masks(validation=masked_images(4, seed=5, prefix="val"))
    for source, keys in (("given", [f"val/{index:03d}" for index in range(4)]), ("none", [])):
        config = mask_config(validation={"source": source})
        assert resolved(config, data) == source
        main, folds = build_arms(config, data, tmp_path / source, needs_all_labels=needs_all_labels)
        assert folds == []
        assert ([] if main.parts.validation is None else main.parts.validation.keys) == keys
        assert (tmp_path / source / "splits/validation.txt").read_text().split() == keys


def test_a_resume_refuses_another_validation_part(tmp_path: Path) -> None:
    config = mask_config(validation={"source": "given"})
    for count in (4, 4, 5):
        data, has_begun = masks(validation=masked_images(count, seed=5, prefix="val")), has_split(tmp_path)
        if count == 4:
            build_arms(config, data, tmp_path, needs_all_labels=False, has_begun=has_begun)
            continue
        with pytest.raises(DataError, match=r"the number of validation images differs \(4 there and 5 here\)"):
            build_arms(config, data, tmp_path, needs_all_labels=False, has_begun=has_begun)


def test_classes_that_no_drawn_mask_shows_are_warned_of(tmp_path: Path) -> None:
    """The masks that are trained on count, and not those of images that were not drawn."""
    train = masked_images(30, seed=1)
    config = mask_config(data={"name": "bands", "num_labeled": 7})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        main, _ = build_arms(config, masks(), tmp_path / "all", needs_all_labels=False)
    drawn = set(main.parts.labeled.indices)
    without_green = [
        torch.where(mask == 1, 0, mask) if index in drawn else mask for index, mask in enumerate(train.masks)
    ]
    data = tiny_masks(train=replace(train, masks=without_green))
    with pytest.warns(UserWarning, match="None of the 7 labeled masks shows green: nothing") as caught:
        build_arms(config, data, tmp_path / "some", needs_all_labels=False)
    assert len(caught) == 1


def test_views_of_images_of_several_sizes_need_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dmt.loading.load_dataset", lambda *_, **__: masks())
    message = r"crop\.size is not set.* train/000 is 10 x 12 .*, train/002 is 9 x 14\. Set crop\.size=\["
    with pytest.raises(ConfigError, match=message):
        load_data(mask_config(crop={}), None)
    assert len(load_data(mask_config(), None).train) == 30
    even = tiny_masks(train=masked_images(4, seed=1, sizes=[(10, 12)]))
    monkeypatch.setattr("dmt.loading.load_dataset", lambda *_, **__: even)
    assert load_data(mask_config(crop={}), None) is even


def test_a_single_stage_leaves_nothing_to_choose() -> None:
    assert resolved(mask_config(validation={}, method="supervised"), masks()) == "none"


def indices(part: Part | None) -> tuple[int, ...]:
    assert part is not None
    return part.indices


@pytest.mark.parametrize("num_folds", [2, 3])
def test_folds_of_masks_hold_out_each_labeled_image_once(tmp_path: Path, num_folds: int) -> None:
    validation = {"source": "cross_validation", "num_folds": num_folds}
    config = mask_config(validation=validation, data={"name": "bands", "num_labeled": 7})
    main, folds = build_arms(config, masks(), tmp_path, needs_all_labels=False)
    labeled = main.parts.labeled.indices
    assert (len(labeled), main.parts.validation, len(folds)) == (7, None, num_folds)
    held_out = [index for fold in folds for index in indices(fold.parts.validation)]
    assert sorted(held_out) == sorted(labeled)
    for fold in folds:
        assert set(fold.parts.labeled.indices) == set(labeled) - set(indices(fold.parts.validation))
        assert fold.parts.test is None, "folds decide, and are not reported"
        assert len(fold.parts.unlabeled) == len(main.parts.unlabeled) == 23
    assert len({fold.name for fold in folds}) == len({fold.folder for fold in folds}) == num_folds


def test_parts_of_masks(tmp_path: Path) -> None:
    config = mask_config(validation={"source": "cut", "size": 2}, data={"name": "bands", "num_labeled": 7})
    data = masks()
    main, folds = build_arms(config, data, tmp_path, needs_all_labels=False)
    assert folds == []
    assert (len(main.parts.labeled), len(indices(main.parts.validation)), len(main.parts.unlabeled)) == (5, 2, 23)
    assert indices(main.parts.test) == (0, 1, 2)
    assert main.parts.unlabeled.truth is not None
    assert has_split(tmp_path)
    again, _ = build_arms(config, data, tmp_path, needs_all_labels=False, has_begun=True)
    assert again.parts.labeled.indices == main.parts.labeled.indices, "the split is kept as text"
    assert again.parts.unlabeled.keys == main.parts.unlabeled.keys


def test_one_unlabeled_image_without_mask_closes_the_truth(tmp_path: Path) -> None:
    config = mask_config(data={"name": "bands", "num_labeled": 4})
    main, _ = build_arms(config, masks(hidden=(29,)), tmp_path, needs_all_labels=False)
    assert 29 not in main.parts.labeled.indices
    assert main.parts.unlabeled.truth is None


@pytest.mark.parametrize(("num_labeled", "share", "size", "common"), [(10, 0.8, 8, 6), (5, 0.5, 2, 0), (5, 1.0, 5, 5)])
def test_samples_for_the_two_networks(tmp_path: Path, num_labeled: int, share: float, size: int, common: int) -> None:
    """Difference-maximized sampling (spec 1.9); each fold draws from its own labels."""
    config = mask_config(
        data={"name": "bands", "num_labeled": num_labeled},
        rounds={"dms_share": share},
        validation={"source": "cross_validation"},
    )
    main, folds = build_arms(config, masks(), tmp_path, needs_all_labels=False)
    first, second = (set(main.parts.labeled_for(subset).indices) for subset in ("dms_a", "dms_b"))  # type: ignore[arg-type]
    assert (len(first), len(second), len(first & second)) == (size, size, common)
    assert first | second <= set(main.parts.labeled.indices)
    assert main.parts.labeled_for("all").indices == main.parts.labeled.indices
    for fold in folds:
        own = set(fold.parts.labeled.indices)
        assert set(fold.parts.labeled_for("dms_a").indices) | set(fold.parts.labeled_for("dms_b").indices) <= own


def test_samples_follow_the_seed_of_the_split_alone(tmp_path: Path) -> None:
    drawn = []
    for number, seeds in enumerate(({"seed": 1, "split": 0}, {"seed": 2, "split": 0}, {"seed": 1, "split": 1})):
        data = {"name": "bands", "num_labeled": 10, "split_seed": seeds["split"]}
        config = mask_config(seed=seeds["seed"], data=data, rounds={"dms_share": 0.8})
        main, _ = build_arms(config, masks(), tmp_path / str(number), needs_all_labels=False)
        drawn.append((main.parts.labeled_for("dms_a").indices, main.parts.labeled_for("dms_b").indices))
    assert drawn[0] == drawn[1] != drawn[2]


def test_the_oracle_of_masks_needs_every_mask(tmp_path: Path) -> None:
    config = mask_config(method="oracle")
    main, folds = build_arms(config, masks(), tmp_path / "all", needs_all_labels=True)
    assert (len(main.parts.labeled), len(main.parts.unlabeled), folds) == (30, 0, [])
    with pytest.raises(ConfigError, match="2 of 30 have none"):
        build_arms(config, masks(hidden=(3, 4)), tmp_path / "some", needs_all_labels=True)


def test_classes_of_whole_images_are_no_masks() -> None:
    with pytest.raises(DataError, match=r"The mask of item 0 of 'train' is int64 .* \(H, W\) are needed"):
        load_data(mask_config(), tiny_parts())


def test_a_ready_data_set_is_taken_as_it_is() -> None:
    data = masks()
    assert load_data(mask_config(), data) is data


def test_networks_for_masks_are_tried_before_any_training() -> None:
    config, data = mask_config(), masks()
    plan = build_method(config).plan()
    network_builder(config, data, TINY_MASK_NETWORKS, plan=plan)

    def whole_images() -> nn.Module:
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3))

    def four_classes() -> nn.Module:
        return nn.Conv2d(3, 4, 1)

    for unfit in (whole_images, four_classes):
        with pytest.raises(ConfigError):
            network_builder(config, data, {"a": TINY_MASK_NETWORKS["a"], "b": unfit}, plan=plan)
    with pytest.raises(ConfigError, match="models has no network 'b'; it holds a"):
        network_builder(config, data, {"a": TINY_MASK_NETWORKS["a"]}, plan=plan)
