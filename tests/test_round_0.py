"""Networks of round 0 that are taken over from another run are those that this run would have trained, bit for bit."""

import json
from pathlib import Path

import pytest
import torch

from dmt import round_0
from dmt.config import Config
from dmt.config_files import load_config
from dmt.engine import environment_changes
from dmt.methods import build_method
from dmt.models.registry import build_network
from dmt.models.weights import save_weights
from dmt.run import run
from tiny_runs import bits_of_run, differing, striped_set, tiny_config, tiny_mask_config, tiny_parts

BASE = tiny_config(
    scheme="mutual",
    networks={"a": {"name": "small_cnn"}, "b": {"name": "small_cnn"}},
    self_supervised={"steps": 2, "batch": 8},
    rounds={"top_fractions": [1.0]},
    optimizer={"lr": 0.05, "supervised_lr": 0.05},
    batch={"size": 8, "labeled": 4, "supervised": 8},
    supervised={"steps": 3},
    duration={"steps": 2},
)


def changed(changes: dict) -> dict:
    """`BASE` with sections merged."""
    return BASE | {
        key: BASE[key] | value if isinstance(value, dict) and isinstance(BASE.get(key), dict) else value
        for key, value in changes.items()
    }


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("other") / "run"
    run(BASE, tiny_parts(), run_dir=folder)
    return folder


def taken(folder: Path, changes: dict, other: Path, monkeypatch: pytest.MonkeyPatch, data=None) -> list[str]:
    """Which folders a run with changes copies from the other; its bits must be those of a run on its own."""
    copied = []
    real_copy = round_0._copy

    def copy(source: Path, target: Path) -> None:
        copied.append(str(target.relative_to(folder / "new")))
        real_copy(source, target)

    monkeypatch.setattr(round_0, "_copy", copy)
    run(changed(changes), data or tiny_parts(), run_dir=folder / "new", neighbours=[other])
    run(changed(changes), data or tiny_parts(), run_dir=folder / "alone")
    assert differing(bits_of_run(folder / "new"), bits_of_run(folder / "alone")) == []
    return copied


ALL = ["self_supervised/a", "supervised", "self_supervised/b", "rounds/0/b"]


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "dmt_naive"},
        {"start": "scratch"},
        {"duration": {"steps": 3}},
        {"rounds": {"top_fractions": [0.5]}},
        {"rounds": {"selection": "overall"}},
        {"rounds": {"label_views": "mirrored"}},
        {"rounds": {"alignment": "labeled_shares"}},
        {"rounds": {"strangers": "leave_out", "stranger_confidence": 0.4}},
        {"loss": {"gamma_agree": 1.0, "gamma_disagree": 2.0, "ramp": False}},
        {"loss": {"weights_per_class": "mean_one", "weight_batchnorm": "frozen", "confidence_threshold": 0.5}},
        {"loss": {"naive_exponent": 1.0, "flip_exponent": 1.0}},
        {"mixup": {"keep_max": False}},
        {"optimizer": {"lr": 0.5}},
        {"optimizer": {"supervised_lr": None}},
        {"batch": {"labeled": 2}},
        {"workers": 1},
        {"checkpoint": {"every_steps": 2}},
    ],
    ids=str,
)
def test_what_bears_on_the_rounds_alone_shares_round_0(tmp_path, other, monkeypatch, changes) -> None:
    assert taken(tmp_path, changes, other, monkeypatch) == ALL


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"data": {"num_labeled": 12}},
        {"data": {"split_seed": 4}},
        {"mixup": {"alpha": 0.5}},
        {"loss": {"class_balance": 0.5}},
        {"supervised": {"steps": 4}},
        {"ema": {"decay": 0.9}},
        {"optimizer": {"supervised_lr": 0.1}},
        {"optimizer": {"weight_decay": 0.1}},
        {"batch": {"supervised": 6}},
        {"augment": "none"},
        {"rounds": {"dms_share": 0.8}},
        {"validation": {"source": "cut", "size": 3}},
        {"self_supervised": {"temperature": 1.0}},
        {"method": "oracle"},
    ],
    ids=str,
)
def test_what_bears_on_round_0_does_not(tmp_path, other, monkeypatch, changes) -> None:
    assert taken(tmp_path, changes, other, monkeypatch) == []


def test_networks_are_shared_one_by_one(tmp_path, other, monkeypatch) -> None:
    networks = {"a": {"name": "small_cnn"}, "b": {"name": "wrn_10_1"}}
    assert taken(tmp_path, {"networks": networks}, other, monkeypatch) == ALL[:2]


def test_a_chain_takes_the_first_network_of_a_pair(tmp_path, other, monkeypatch) -> None:
    assert taken(tmp_path, {"scheme": "chain"}, other, monkeypatch) == ALL[:2]


def test_other_labels_under_the_same_settings_are_noticed(tmp_path, other, monkeypatch) -> None:
    data = {"train": striped_set(60, seed=3), "test": striped_set(18, seed=2)}
    assert taken(tmp_path, {}, other, monkeypatch, data) == []


def test_an_environment_of_an_older_version_says_less(tmp_path, other, monkeypatch) -> None:
    stored = json.loads((other / "environment.json").read_text())
    now = stored | {"a key of a later version": 1}
    assert environment_changes(stored, now) == {}
    assert environment_changes(stored, now | {"threads": -1}) == {"threads": (stored["threads"], -1)}


def test_another_environment_shares_nothing(tmp_path, other, monkeypatch) -> None:
    stored = json.loads((other / "environment.json").read_text())
    assert "threads" in stored
    monkeypatch.setattr(round_0, "environment", lambda engine: stored | {"threads": stored["threads"] + 1})
    assert taken(tmp_path, {}, other, monkeypatch) == []


def test_what_is_begun_is_gone_on_with(tmp_path, other, monkeypatch) -> None:
    def with_a_checkpoint(*arguments) -> None:
        checkpoint.parent.mkdir(parents=True)
        checkpoint.touch()
        real_take(*arguments)
        checkpoint.unlink()

    checkpoint = tmp_path / "new/supervised/checkpoint/state.safetensors"
    real_take = round_0.take_round_0
    monkeypatch.setattr("dmt.run.take_round_0", with_a_checkpoint)
    copied = []
    monkeypatch.setattr(
        round_0, "_copy", lambda source, target: copied.append(str(target.relative_to(tmp_path / "new")))
    )
    run(BASE, tiny_parts(), run_dir=tmp_path / "new", neighbours=[other])
    assert copied == [name for name in ALL if name != "supervised"]


def test_a_kill_within_the_copy_is_made_good(tmp_path, other, monkeypatch) -> None:
    written = []
    real_write = round_0.write_atomic

    def dying(path, write):
        if len(written) == 4:
            raise KeyboardInterrupt
        written.append(path)
        real_write(path, write)

    with monkeypatch.context() as patch:
        patch.setattr(round_0, "write_atomic", dying)
        with pytest.raises(KeyboardInterrupt):
            run(BASE, tiny_parts(), run_dir=tmp_path, neighbours=[other])
    run(BASE, tiny_parts(), run_dir=tmp_path, neighbours=[other])
    assert differing(bits_of_run(tmp_path), bits_of_run(other)) == []
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert sorted(lines) == sorted((other / "metrics.jsonl").read_text().splitlines())


def test_folders_of_another_version_are_passed_over(tmp_path, monkeypatch) -> None:
    broken = tmp_path / "broken"
    (broken / "supervised").mkdir(parents=True)
    (broken / "supervised/DONE").write_text("{}")
    (broken / "config.yaml").write_text("task: classification\ndata: {name: x}\nmethod: of_tomorrow\n")
    assert taken(tmp_path / "run", {}, broken, monkeypatch) == []


def test_every_setting_said_to_bear_on_rounds_alone_exists() -> None:
    values = Config.model_validate({"task": "classification", "data": {"name": "digits"}}).model_dump()
    for key, inner in round_0.ROUNDS_ONLY.items():
        assert key in values
        assert inner is True or inner <= values[key].keys()


def test_windows_bear_on_the_scores_of_round_0() -> None:
    one, other = (load_config(tiny_mask_config(rounds={"window": window})) for window in (None, [6, 6]))
    stage = build_method(one).plan()[0]
    assert round_0._bearing(one, stage) != round_0._bearing(other, stage)


@pytest.mark.parametrize(("seed", "expected"), [(0, ["supervised", "rounds/0/b"]), (1, ["rounds/0/b"])])
def test_a_network_that_began_with_another_content_of_its_file_is_trained_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, expected: list[str]
) -> None:
    """Network b, which has no file, is the same all the same."""
    path = tmp_path / "a.safetensors"
    networks = {"a": {"name": "small_cnn", "weights": str(path)}, "b": {"name": "small_cnn"}}
    changes = {"networks": networks, "self_supervised": None}

    def write(seed: int) -> None:
        torch.manual_seed(seed)
        save_weights(build_network("small_cnn", num_classes=3, channels=1, mean=(0.3,), std=(0.2,)), path)

    write(0)
    run(changed(changes), tiny_parts(), run_dir=tmp_path / "first")
    write(seed)
    assert taken(tmp_path, changes | {"method": "dmt_naive"}, tmp_path / "first", monkeypatch) == expected
