import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from dmt.config import Config
from dmt.config_files import (
    PRESETS,
    config_hash,
    did_you_mean,
    dump_config,
    load_config,
    parse_yaml,
    preset_names,
    preset_text,
)
from dmt.data.augment import build_augment
from dmt.data.catalog import DATASETS
from dmt.data.views import build_view
from dmt.errors import ConfigError
from dmt.methods import METHODS, build_method
from dmt.models.registry import build_network
from dmt.types import Stage

MINIMAL: dict[str, Any] = {"task": "classification", "data": {"name": "digits"}}
PRESET = "digits-20"


def lines_of(caught: pytest.ExceptionInfo[ConfigError]) -> list[str]:
    return [line.strip() for line in str(caught.value).splitlines()]


def test_all_errors_are_told_at_once_with_dotted_keys() -> None:
    wrong = MINIMAL | {
        "seeed": 3,
        "loss": {"gama_agree": 1.0, "ramp": 1},
        "optimizer": {"lr": "fast"},
        "duration": {"steps": 1, "epochs": 1},
        "scheme": "mutal",
    }
    with pytest.raises(ConfigError) as caught:
        load_config(wrong)
    heading, *lines = lines_of(caught)
    assert heading == "config: 6 errors in the config:"
    keys = {line.partition(":")[0] for line in lines}
    assert keys == {"seeed", "loss.gama_agree", "loss.ramp", "optimizer.lr", "duration", "scheme"}
    text = "\n".join(lines)
    assert "Did you mean 'seed'?" in text
    assert "Did you mean 'gamma_agree'?" in text
    assert "Did you mean 'mutual'?" in text
    assert "'fast'" in text


def test_unknown_keys_far_from_any_known_one_are_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(MINIMAL | {"mixup": {"zzz": 1}})
    assert lines_of(caught)[1] == "mixup.zzz: unknown key. Known here: alpha, keep_max."


def test_unknown_keys_in_optional_and_nested_sections_are_answered_from_their_own_section() -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(MINIMAL | {"ema": {"decai": 0.9}, "networks": {"a": {"weigths": None}}})
    text = str(caught.value)
    assert "ema.decai: unknown key. Did you mean 'decay'?" in text
    assert "networks.a.weigths: unknown key. Did you mean 'weights'?" in text


def test_missing_keys_are_named() -> None:
    with pytest.raises(ConfigError) as caught:
        load_config({})
    assert lines_of(caught)[1:] == ["task: missing; it has no default.", "data: missing; it has no default."]


@pytest.mark.parametrize(
    ("override", "read"),
    [
        ("optimizer.lr=1e-3", lambda config: config.optimizer.lr == 1e-3),
        ("optimizer.lr=1E-3", lambda config: config.optimizer.lr == 1e-3),
        ("optimizer.lr=5.0e-2", lambda config: config.optimizer.lr == 0.05),
        ("optimizer.lr=.5e-1", lambda config: config.optimizer.lr == 0.05),
        ("optimizer.lr=1", lambda config: config.optimizer.lr == 1.0),
        ("seed=3", lambda config: config.seed == 3),
        ("ema=null", lambda config: config.ema is None),
        ("mixup.alpha=null", lambda config: config.mixup.alpha is None),
        ("rounds.top_fractions=[0.5, 1]", lambda config: config.rounds.top_fractions == [0.5, 1.0]),
        ("loss.ramp=false", lambda config: config.loss.ramp is False),
        ("networks.a={name: wrn_28_2}", lambda config: config.networks.a.name == "wrn_28_2"),
        ("networks.a.options.drop_rate=0.1", lambda config: config.networks.a.options == {"drop_rate": 0.1}),
        ("duration.epochs=2", lambda config: (config.duration.epochs, config.duration.steps) == (2.0, None)),
        ("data.labeled=a=b.txt", lambda config: config.data.labeled == "a=b.txt"),
    ],
)
def test_overrides_are_yaml(override: str, read: Any) -> None:
    assert read(load_config(MINIMAL, [override]))


def test_overrides_do_not_change_what_they_are_applied_to() -> None:
    values = {"task": "classification", "data": {"name": "digits"}, "loss": {"ramp": True}}
    assert load_config(values, ["loss.ramp=false", "data.num_labeled=5"]).loss.ramp is False
    assert values == {"task": "classification", "data": {"name": "digits"}, "loss": {"ramp": True}}


def test_an_override_of_a_duration_replaces_the_unit(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("task: classification\ndata: {name: digits}\nduration: {epochs: 3}\n")
    assert load_config(path, ["duration.steps=7"]).duration.model_dump(exclude_none=True) == {"steps": 7}
    again = load_config(load_config(path), ["duration.steps=7"])
    assert again.duration.model_dump(exclude_none=True) == {"steps": 7}


def test_later_overrides_win() -> None:
    assert load_config(MINIMAL, ["seed=1", "seed=2"]).seed == 2


@pytest.mark.parametrize("override", ["seed", "=3", "", "seed: 3"])
def test_what_is_no_override_is_refused(override: str) -> None:
    with pytest.raises(ConfigError, match=r"key\.path=value"):
        load_config(MINIMAL, [override])


def test_overrides_are_checked_like_files() -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(MINIMAL, ["optimiser.lr=0.1", "loss.ramp=2"])
    assert [line.partition(":")[0] for line in lines_of(caught)[1:]] == ["loss.ramp", "optimiser"]
    with pytest.raises(ConfigError, match="override seed is not valid YAML"):
        load_config(MINIMAL, ["seed=[1"])


def test_names_that_look_like_dates() -> None:
    with pytest.raises(ConfigError, match=r"data\.root: found .* Where it is a name, put it in quotes"):
        load_config(MINIMAL, ["data.root=2024-05-01"])
    with pytest.raises(ConfigError, match=r"data\.root is not valid YAML: month must be in 1\.\.12"):
        load_config(MINIMAL, ["data.root=2024-13-45"])


def test_files_extend_presets(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"extends: {PRESET}\nseed: 5\ndata: {{num_labeled: 30}}\nsupervised: {{epochs: 2}}\n")
    mine, base = load_config(path), load_config(PRESET)
    assert mine.seed == 5
    assert mine.data.num_labeled == 30
    assert mine.data.name == base.data.name  # the rest of the section stays
    assert mine.supervised.model_dump(exclude_none=True) == {"epochs": 2.0}
    expected = base.model_dump() | {"seed": 5, "supervised": mine.supervised.model_dump()}
    expected["data"] = base.data.model_dump() | {"num_labeled": 30}
    assert mine.model_dump() == expected


@pytest.mark.parametrize("base", ["nonsense", "[a, b]", "3"])
def test_extending_anything_but_a_preset_is_refused(tmp_path: Path, base: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"extends: {base}\n")
    with pytest.raises(ConfigError, match=r"extends .*mine\.yaml"):
        load_config(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("task: [", "not valid YAML"),
        ("- 1\n- 2\n", "holds a list"),
        ("", "holds nothing"),
        ("just words", "holds text"),
        ("!!python/object/apply:os.getcwd []", "not valid YAML"),
    ],
)
def test_files_that_are_no_mapping_are_refused_by_name(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(path)
    assert "broken.yaml" in str(caught.value)


def test_a_key_that_stands_twice_in_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "twice.yaml"
    path.write_text("task: classification\ndata: {name: digits}\nseed: 1\nseed: 2\n")
    with pytest.raises(ConfigError, match="seed"):
        load_config(path)


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "latin.yaml"
    path.write_bytes("task: größe".encode("latin-1"))
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(path)


def test_names_that_are_neither_file_nor_preset() -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        load_config("missing.yaml")
    with pytest.raises(ConfigError, match=f"Did you mean '{PRESET}'"):
        load_config("digit-20")


def test_numbers_of_yaml() -> None:
    text = "{a: 1e-3, b: -1e3, c: 2E+2, d: 1.5e-3, e: 1, f: 0.5, g: e3, h: 1e, i: .5}"
    assert parse_yaml(text, source="test") == {
        "a": 1e-3, "b": -1e3, "c": 200.0, "d": 1.5e-3, "e": 1, "f": 0.5, "g": "e3", "h": "1e", "i": 0.5,
    }  # fmt: skip


def test_the_loader_of_others_is_left_alone() -> None:
    assert yaml.safe_load("1e-3") == "1e-3"


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"scheme": "mutual", "ema": None, "supervised": {"oracle_epochs": 300}},
        {"task": "segmentation"},
        {"task": "segmentation", "scheme": "chain", "ema": {}, "mixup": {"alpha": 0.3}, "crop": {"size": [32, 48]}},
    ],
)
def test_dump_and_load_give_the_same_config(tmp_path: Path, changes: dict[str, Any]) -> None:
    config = load_config(MINIMAL | changes)
    path = tmp_path / "config.yaml"
    path.write_text(dump_config(config))
    assert load_config(path) == config
    assert load_config(yaml.safe_load(path.read_text())) == config
    assert load_config(config) == config
    assert config_hash(load_config(path)) == config_hash(config)
    assert set(yaml.safe_load(path.read_text())) == set(Config.model_fields)


def test_the_hash_names_what_bears_on_results() -> None:
    plain = config_hash(load_config(MINIMAL))
    for same in ("workers=3", "checkpoint.every_steps=7", "checkpoint.every_minutes=1", "loss.gamma_agree=4"):
        assert config_hash(load_config(MINIMAL, [same])) == plain
    for other in ("seed=1", "loss.gamma_agree=3", "precision=fp32", "networks.b.name=wrn_28_2", "start=finetune"):
        assert config_hash(load_config(MINIMAL, [other])) != plain


def test_suggestions() -> None:
    assert did_you_mean("gama", ["gamma", "seed"]) == " Did you mean 'gamma'?"
    assert did_you_mean("qqq", ["gamma", "seed"]) == ""


def test_presets_are_found() -> None:
    assert PRESET in preset_names()
    assert {f"{name}.yaml" for name in preset_names()} == {
        path.name for path in Path(str(PRESETS)).iterdir() if path.suffix == ".yaml"
    }
    assert all(preset_text(name) for name in preset_names())


@cache
def try_network(task: Any, name: str, options: str, head_branches: int | None) -> None:
    """Build one, once for all presets."""
    size: dict[str, Any] = {"num_classes": 10, "channels": 3, "mean": (0.5,) * 3, "std": (0.2,) * 3}
    build_network(name, task=task, options=json.loads(options), head_branches=head_branches, **size)


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_validates_plans_and_names_what_exists(name: str) -> None:
    config = load_config(name)
    plan = build_method(config).plan()
    assert plan
    assert all(isinstance(stage, Stage) for stage in plan)
    assert config.task in DATASETS[config.data.name].build
    if config.task == "segmentation":
        build_view(config.augment, crop_size=(8, 8))
    else:
        build_augment(config.augment, config.data.name)
    for label in ("a", "b") if config.scheme == "mutual" else ("a",):
        network = getattr(config.networks, label)
        try_network(config.task, network.name, json.dumps(network.options), network.head_branches)
    assert preset_text(name).startswith("#"), "a preset begins with its source, command, expected figure and time"


@pytest.mark.parametrize("name", [name for name in preset_names() if "# GPU: " in preset_text(name)])
def test_sizes_for_a_gpu_that_a_preset_names_are_settings(name: str) -> None:
    """They cannot be run here; but what is named is there, and larger."""
    header = preset_text(name).replace("\n#  ", "")
    (command,) = re.findall(r"^# GPU: +(dmt train .*?)  \(sizes for one GPU; not run\)$", header, re.MULTILINE)
    assert command.split()[2:4] == [name, "data.root=FOLDER"]
    small, large = load_config(name), load_config(name, command.split()[3:])
    for label in ("a", "b") if large.scheme == "mutual" else ("a",):
        network = getattr(large.networks, label)
        assert network.name != getattr(small.networks, label).name
        try_network(large.task, network.name, json.dumps(network.options), network.head_branches)
    assert (large.duration.steps or 0) > (small.duration.steps or 0)


def test_unused_keys_of_methods_exist() -> None:
    known = set(_dotted(load_config(MINIMAL | {"ema": {}}).model_dump()))
    for method in METHODS.values():
        assert set(method.unused) <= known


def _dotted(values: dict[str, Any], prefix: str = "") -> list[str]:
    names = []
    for key, value in values.items():
        names.append(f"{prefix}{key}")
        if isinstance(value, dict):
            names += _dotted(value, f"{prefix}{key}.")
    return names


def test_two_overrides_of_one_duration_are_told_apart_from_a_preset() -> None:
    assert load_config("digits-20", ["duration.epochs=2"]).duration.steps is None
    with pytest.raises(ConfigError, match="found steps and epochs; give exactly one"):
        load_config("digits-20", ["duration.steps=20", "duration.epochs=2"])
