from typing import Any

import pytest
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from dmt.config import Config, Section
from dmt.config_files import load_config
from dmt.errors import ConfigError

MINIMAL: dict[str, Any] = {"task": "classification", "data": {"name": "digits"}}


def load(**changes: Any) -> Config:
    return load_config(MINIMAL | changes)


def sections(section: type[Section] = Config) -> list[type[Section]]:
    below = [
        candidate
        for field in section.model_fields.values()
        for candidate in (field.annotation, *getattr(field.annotation, "__args__", ()))
        if isinstance(candidate, type) and issubclass(candidate, Section)
    ]
    return [section, *(one for each in below for one in sections(each))]


def test_defaults_are_those_of_the_contract() -> None:
    config = load()
    assert config.method == "dmt"
    assert config.scheme == "chain"
    assert config.start == "scratch"
    assert config.rounds.top_fractions == [0.2, 0.4, 0.6, 0.8, 1.0]
    assert (config.loss.gamma_agree, config.loss.gamma_disagree, config.loss.ramp) == (4.0, 4.0, True)
    assert (config.loss.flip_exponent, config.loss.naive_exponent) == (2.0, 5.0)
    assert (config.mixup.alpha, config.mixup.keep_max) == (0.75, True)
    assert config.ema is not None
    assert (config.ema.decay, config.ema.warmup) == (0.999, True)
    assert (config.optimizer.momentum, config.optimizer.nesterov, config.optimizer.weight_decay) == (0.9, False, 5e-4)
    assert config.data.ignore_index == -1


def test_a_mutual_scheme_finetunes_unless_told_otherwise() -> None:
    assert load(scheme="mutual").start == "finetune"
    assert load(scheme="mutual", start="scratch").start == "scratch"
    assert load(start="finetune").start == "finetune"


def test_the_split_follows_the_seed_unless_it_has_its_own() -> None:
    assert load(seed=7).split_seed == 7
    assert load(seed=7, data={"name": "digits", "split_seed": 0}).split_seed == 0


def test_a_config_does_not_change_after_loading() -> None:
    with pytest.raises(ValidationError):
        load().seed = 3  # type: ignore[misc]


@pytest.mark.parametrize("key", ["duration", "supervised"])
@pytest.mark.parametrize("value", [{}, {"steps": 3, "epochs": 2.0}, {"steps": None}])
def test_a_duration_has_exactly_one_unit(key: str, value: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=rf"{key}.*exactly one of steps, epochs"):
        load(**{key: value})


def test_the_oracle_rule_is_for_supervised_training_only() -> None:
    assert load(supervised={"oracle_epochs": 300}).supervised.oracle_epochs == 300
    with pytest.raises(ConfigError, match=r"duration\.oracle_epochs"):
        load(duration={"oracle_epochs": 300})


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"seed": -1}, "seed"),
        ({"seed": 1.5}, "seed"),
        ({"seed": "1"}, "seed"),
        ({"seed": True}, "seed"),
        ({"task": "regression"}, "task"),
        ({"rounds": {"top_fractions": []}}, "rounds.top_fractions"),
        ({"rounds": {"top_fractions": [0.2, 0.0]}}, "rounds.top_fractions.1"),
        ({"rounds": {"top_fractions": [20]}}, "rounds.top_fractions.0"),
        ({"rounds": {"top_fractions": [float("nan")]}}, "rounds.top_fractions.0"),
        ({"rounds": {"selection": "best"}}, "rounds.selection"),
        ({"loss": {"gamma_agree": -1.0}}, "loss.gamma_agree"),
        ({"loss": {"gamma_agree": float("nan")}}, "loss.gamma_agree"),
        ({"loss": {"gamma_agree": float("inf")}}, "loss.gamma_agree"),
        ({"loss": {"ramp": "yes"}}, "loss.ramp"),
        ({"mixup": {"alpha": 0.0}}, "mixup.alpha"),
        ({"ema": {"decay": 1.0}}, "ema.decay"),
        ({"optimizer": {"lr": 0.0}}, "optimizer.lr"),
        ({"optimizer": {"lr": float("inf")}}, "optimizer.lr"),
        ({"optimizer": {"schedule": "linear"}}, "optimizer.schedule"),
        ({"duration": {"steps": 0}}, "duration.steps"),
        ({"duration": {"epochs": float("inf")}}, "duration.epochs"),
        ({"batch": {"size": 16, "labeled": 16}}, "batch"),
        ({"batch": {"labeled": 0}}, "batch.labeled"),
        ({"data": {"name": "digits", "image_size": [16]}}, "data.image_size"),
        ({"data": {"name": "digits", "num_labeled": 0}}, "data.num_labeled"),
        ({"data": {"name": "digits", "num_labeled": 3, "labeled": "x.txt"}}, "data"),
        ({"data": "digits"}, "data"),
        ({"data": {}}, "data.name"),
        ({"workers": -1}, "workers"),
        ({"checkpoint": {"every_minutes": 0}}, "checkpoint.every_minutes"),
    ],
)
def test_values_out_of_range_are_named_by_their_key(changes: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(**changes)
    heading, *lines = str(caught.value).splitlines()
    assert "1 error in the config" in heading
    assert lines[0].strip().startswith(f"{key}:"), lines


def test_whole_numbers_are_fine_where_fractions_are_asked() -> None:
    config = load(loss={"gamma_agree": 4}, duration={"epochs": 750}, rounds={"top_fractions": [1]})
    assert config.loss.gamma_agree == 4.0
    assert isinstance(config.loss.gamma_agree, float)


def test_every_key_is_explained() -> None:
    fields: list[tuple[str, FieldInfo]] = [
        (f"{section.__name__}.{name}", field) for section in sections() for name, field in section.model_fields.items()
    ]
    # `a` and `b` of NetworksConfig are explained by their section.
    assert [name for name, field in fields if not field.description and not name.startswith("NetworksConfig")] == []
