"""Own networks are part of a run, though no config names them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from dmt.errors import ConfigError
from dmt.models.network import Network
from dmt.models.registry import build_network
from dmt.models.weights import save_weights
from dmt.run import run
from tiny_runs import TINY_NETWORKS, tiny_config, tiny_parts

CONFIG = tiny_config(method="supervised", supervised={"steps": 2})


def module(seed: int = 0, *, width: int = 4) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, width, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 3))


def small(seed: int) -> Network:
    torch.manual_seed(seed)
    return build_network("small_cnn", num_classes=3, channels=1, mean=(0.3,), std=(0.2,))


def with_weights(path: Path, *, seed: int = 0) -> dict[str, Any]:
    """A config whose network begins with a file, which is written."""
    save_weights(small(seed), path)
    return tiny_config(
        networks={"a": {"name": "small_cnn", "weights": str(path)}},
        rounds={"top_fractions": [1.0]},
        supervised={"steps": 2},
        duration={"steps": 2},
    )


OTHERS: dict[str, tuple[Callable[[], nn.Module] | nn.Module, str]] = {
    "other layers": (lambda: module(width=5), "other layers there"),
    "other weights": (module(1), "other weights there; where they are random, seed them"),
}


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("is_finished", [True, False])
def test_other_networks_are_another_run(tmp_path: Path, other: str, is_finished: bool) -> None:
    given, message = OTHERS[other]
    first = run(CONFIG, tiny_parts(), {"a": module()}, run_dir=tmp_path)
    if not is_finished:
        (tmp_path / "result.json").unlink()
    with pytest.raises(ConfigError, match=f"run with other networks: network a has {message}"):
        run(CONFIG, tiny_parts(), {"a": given}, run_dir=tmp_path)
    again = run(CONFIG, tiny_parts(), {"a": module()}, run_dir=tmp_path)
    assert again["last_round"] == first["last_round"]


def test_a_function_makes_fresh_ones(tmp_path: Path) -> None:
    first = run(CONFIG, tiny_parts(), TINY_NETWORKS, run_dir=tmp_path)
    assert run(CONFIG, tiny_parts(), TINY_NETWORKS, run_dir=tmp_path) == first


def test_networks_that_are_not_trained_do_not_count(tmp_path: Path) -> None:
    first = run(CONFIG, tiny_parts(), {"a": module()}, run_dir=tmp_path)
    assert run(CONFIG, tiny_parts(), {"a": module(), "b": module(1)}, run_dir=tmp_path) == first


def test_a_start_that_was_killed_before_its_split_counts_nothing(tmp_path: Path) -> None:
    run(CONFIG, tiny_parts(), {"a": module()}, run_dir=tmp_path)
    for path in (*tmp_path.glob("*.json"), tmp_path / "splits" / "test.txt", tmp_path / "supervised" / "DONE"):
        path.unlink()
    run(CONFIG, tiny_parts(), {"a": module(1)}, run_dir=tmp_path)
    with pytest.raises(ConfigError, match="other weights there"):
        run(CONFIG, tiny_parts(), {"a": module()}, run_dir=tmp_path)


def test_own_ones_and_the_configs_are_not_the_same(tmp_path: Path) -> None:
    run(CONFIG, tiny_parts(), run_dir=tmp_path / "config")
    with pytest.raises(ConfigError, match="network a is of the config there"):
        run(CONFIG, tiny_parts(), TINY_NETWORKS, run_dir=tmp_path / "config")
    run(CONFIG, tiny_parts(), TINY_NETWORKS, run_dir=tmp_path / "own")
    with pytest.raises(ConfigError, match="network a is one of your own there"):
        run(CONFIG, tiny_parts(), run_dir=tmp_path / "own")


def test_another_content_of_a_weights_file_is_another_run(tmp_path: Path) -> None:
    path, folder = tmp_path / "a.safetensors", tmp_path / "run"
    config = with_weights(path)
    first = run(config, tiny_parts(), run_dir=folder)
    before = path.read_bytes()
    with_weights(path, seed=1)
    for name in ("result.json", "rounds/1/a/DONE"):  # the run is finished, and then it has a round to go
        with pytest.raises(
            ConfigError, match=r"network a began with another content of .* \(networks\.a\.weights\) there"
        ):
            run(config, tiny_parts(), run_dir=folder)
        (folder / name).unlink()
    with pytest.raises(ConfigError, match="network a is of the config there"):
        run(config, tiny_parts(), TINY_NETWORKS, run_dir=folder)
    path.write_bytes(before)
    assert run(config, tiny_parts(), run_dir=folder)["final"] == first["final"]


def test_a_finished_run_needs_its_weights_file_no_more(tmp_path: Path) -> None:
    config = with_weights(tmp_path / "a.safetensors")
    first = run(config, tiny_parts(), run_dir=tmp_path / "run")
    (tmp_path / "a.safetensors").unlink()
    assert run(config, tiny_parts(), run_dir=tmp_path / "run") == first


def test_a_run_that_began_before_weights_were_noted_goes_on(tmp_path: Path) -> None:
    config = with_weights(tmp_path / "a.safetensors")
    first = run(config, tiny_parts(), run_dir=tmp_path / "run")
    (tmp_path / "run" / "splits" / "networks.txt").write_text("{}\n")
    assert run(config, tiny_parts(), run_dir=tmp_path / "run") == first


def test_what_is_no_network_is_told_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"models\['a'\] is a str"):
        run(CONFIG, tiny_parts(), {"a": "resnet18"}, run_dir=tmp_path / "run")  # type: ignore[dict-item]
    assert not list((tmp_path / "run").rglob("*.safetensors"))
