"""Which labels a run trains on and chooses by, from what the config leaves open."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from torch.utils.data import Subset, TensorDataset

from dmt.assemble import load_data, resolve_validation
from dmt.config_files import load_config
from dmt.errors import ConfigError
from dmt.methods import build_method
from dmt.run import run
from tiny_runs import TINY_NETWORKS, striped_images, striped_set, tiny_config

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
    assert resolved.validation.source == "none"


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
