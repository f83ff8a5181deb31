from typing import Any

import pytest
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from dmt.config import SEGMENTATION_DEFAULTS, Config
from dmt.config_files import config_hash, load_config
from dmt.config_sections import Section
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


SEGMENTATION: dict[str, Any] = {"task": "segmentation", "data": {"name": "scenes"}}


def segmentation(**changes: Any) -> Config:
    return load_config(SEGMENTATION | changes)


def test_defaults_of_segmentation_are_the_papers_for_voc() -> None:
    """Spec 1.2, 1.4, 1.6, 1.11, 1.12 and Table 1."""
    config = segmentation()
    assert (config.scheme, config.start) == ("mutual", "finetune")
    assert (config.loss.gamma_agree, config.loss.gamma_disagree, config.loss.ramp) == (5.0, 5.0, False)
    assert config.mixup.alpha is None
    assert config.ema is None
    assert (config.optimizer.lr, config.optimizer.supervised_lr, config.optimizer.schedule) == (1e-3, 2e-3, "poly")
    assert (config.optimizer.momentum, config.optimizer.nesterov, config.optimizer.weight_decay) == (0.9, False, 5e-4)
    assert (config.batch.size, config.batch.labeled) == (8, 1)
    assert config.crop.scale == [0.5, 1.5]
    assert config.rounds.top_fractions == [0.2, 0.4, 0.6, 0.8, 1.0]
    assert config.rounds.selection == "per_class"
    assert config.data.ignore_index == 255
    assert config.ignore_label == 255
    assert config.networks.a.name == config.networks.b.name
    assert config.networks.a.name.startswith("deeplab")


def test_classification_has_none_of_them() -> None:
    assert load().model_dump() == load(task="classification").model_dump()
    assert load().ignore_label == -1
    assert load(data={"name": "digits", "ignore_index": 7}).ignore_label == 7


@pytest.mark.parametrize(
    ("changes", "read", "expected"),
    [
        ({"scheme": "chain"}, lambda config: config.scheme, "chain"),
        ({"start": "scratch"}, lambda config: config.start, "scratch"),
        ({"loss": {"gamma_agree": 3.0}}, lambda config: config.loss.gamma_agree, 3.0),
        ({"loss": {"gamma_agree": 3.0}}, lambda config: config.loss.gamma_disagree, 5.0),
        ({"loss": {"gamma_agree": 3.0}}, lambda config: config.loss.ramp, False),
        ({"loss": {"naive_exponent": 1.0}}, lambda config: config.loss.gamma_agree, 5.0),
        ({"loss": {}}, lambda config: config.loss.gamma_agree, 5.0),
        ({"mixup": {"alpha": 0.5}}, lambda config: config.mixup.alpha, 0.5),
        ({"mixup": {"keep_max": False}}, lambda config: config.mixup.alpha, None),
        ({"ema": {}}, lambda config: config.ema.decay, 0.999),
        ({"ema": {"decay": 0.9}}, lambda config: config.ema.decay, 0.9),
        ({"ema": None}, lambda config: config.ema, None),
        ({"optimizer": {"lr": 0.5}}, lambda config: config.optimizer.supervised_lr, 2e-3),
        ({"optimizer": {"supervised_lr": None}}, lambda config: config.optimizer.supervised_lr, None),
        ({"optimizer": {"supervised_lr": None}}, lambda config: config.optimizer.lr, 1e-3),
        ({"optimizer": {"name": "adamw", "lr": 1e-4}}, lambda config: config.optimizer.supervised_lr, None),
        ({"optimizer": {"name": "adamw"}}, lambda config: config.optimizer.lr, 1e-3),
        ({"optimizer": {"name": "sgd"}}, lambda config: config.optimizer.supervised_lr, 2e-3),
        ({"batch": {"size": 4}}, lambda config: config.batch.labeled, 1),
        ({"networks": {"a": {"name": "x"}}}, lambda config: config.networks.a.name, "x"),
        ({"networks": {"a": {"name": "x"}}}, lambda config: config.networks.b.name, "deeplab:torchvision:resnet50"),
        ({"networks": {"a": {"name": "x"}}}, lambda config: config.networks.a.weights, None),
        ({"networks": {"a": {"name": "x"}}}, lambda config: config.networks.b.weights, "pretrained"),
        ({"networks": {"a": {"weights": "w"}}}, lambda config: config.networks.a.name, "deeplab:torchvision:resnet50"),
        ({"networks": {"a": {"weights": None}}}, lambda config: config.networks.a.weights, None),
        ({"data": {"name": "x", "ignore_index": 0}}, lambda config: config.data.ignore_index, 0),
        ({"data": {"name": "x", "ignore_index": 0}}, lambda config: config.ignore_label, 255),
    ],
)
def test_what_the_user_says_wins_over_defaults_of_the_task(changes: dict[str, Any], read: Any, expected: Any) -> None:
    assert read(segmentation(**changes)) == expected
    assert read(load_config(load_config(SEGMENTATION | changes))) == expected


@pytest.mark.parametrize("section", ["loss", "mixup", "optimizer", "batch", "networks", "data"])
def test_a_section_given_as_null_is_not_filled_in(section: str) -> None:
    with pytest.raises(ConfigError) as caught:
        segmentation(**{section: None})
    assert f"  {section}:" in str(caught.value)


@pytest.mark.parametrize("section", ["loss", "optimizer", "networks"])
def test_a_section_of_the_wrong_kind_is_named(section: str) -> None:
    with pytest.raises(ConfigError) as caught:
        segmentation(**{section: "fast"})
    assert f"  {section}:" in str(caught.value)


def test_defaults_of_the_task_are_beneath_overrides_and_stay_as_they_are() -> None:
    before = repr(SEGMENTATION_DEFAULTS)
    config = load_config(SEGMENTATION, ["loss.gamma_agree=2", "networks.b.options.width=3", "optimizer.lr=0.5"])
    assert (config.loss.gamma_agree, config.loss.gamma_disagree, config.optimizer.lr) == (2.0, 5.0, 0.5)
    assert config.networks.b.options == {"width": 3}
    assert segmentation().networks.b.options == {}
    assert repr(SEGMENTATION_DEFAULTS) == before


def test_defaults_given_by_hand_are_the_same_run() -> None:
    given = segmentation(scheme="mutual", loss={"gamma_agree": 5.0}, ema=None)
    assert config_hash(given) == config_hash(segmentation())


@pytest.mark.parametrize(
    ("scale", "message"),
    [
        ([1.5, 0.5], r"crop\.scale: found \[1\.5, 0\.5\]; the smallest"),
        ([0.0, 1.0], r"crop\.scale\.0"),
        ([1.0], "scale"),
    ],
)
def test_the_smallest_scale_comes_first(scale: list[float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        segmentation(crop={"scale": scale})


@pytest.mark.parametrize("scale", [[0.5, 0.5], [1, 2], [0.25, 4.0]])
def test_scales_in_order_are_fine(scale: list[float]) -> None:
    assert segmentation(crop={"scale": scale}).crop.scale == scale


def test_samples_for_two_networks_need_two_networks() -> None:
    share = {"rounds": {"dms_share": 0.8}}
    assert segmentation(**share).rounds.dms_share == 0.8
    assert load(scheme="mutual", **share).rounds.dms_share == 0.8
    for values in (MINIMAL | share, SEGMENTATION | {"scheme": "chain"} | share):
        with pytest.raises(ConfigError, match=r"rounds\.dms_share: .* need scheme=mutual"):
            load_config(values)


def test_windows_are_for_segmentation() -> None:
    assert segmentation(rounds={"window": [64, 32]}).rounds.window == [64, 32]
    with pytest.raises(ConfigError, match=r"rounds\.window: .* in segmentation alone"):
        load(rounds={"window": [64, 32]})
    with pytest.raises(ConfigError, match=r"rounds\.window"):
        segmentation(rounds={"window": [64]})


def test_all_contradictions_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        load(rounds={"dms_share": 0.8}, crop={"scale": [2.0, 1.0]}, duration={"oracle_epochs": 3})
    for key in ("rounds.dms_share", "crop.scale", "duration.oracle_epochs"):
        assert key in str(caught.value)


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
        ({"optimizer": {"nesterov": True, "momentum": 0.0}}, "optimizer"),
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
        ({"rounds": {"dms_share": 0.0}}, "rounds.dms_share"),
        ({"rounds": {"dms_share": 1.1}}, "rounds.dms_share"),
        ({"loss": {"confidence_threshold": 1.5}}, "loss.confidence_threshold"),
        ({"crop": {"size": [32]}}, "crop.size"),
        ({"crop": {"size": [0, 32]}}, "crop.size.0"),
        ({"crop": {"scale": [0.5, float("inf")]}}, "crop.scale.1"),
        ({"crop": {"pseudo": "none"}}, "crop.pseudo"),
        ({"networks": {"a": {"head_branches": 0}}}, "networks.a.head_branches"),
    ],
)
def test_values_out_of_range_are_named_by_their_key(changes: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(**changes)
    heading, *lines = str(caught.value).splitlines()
    assert "1 error in the config" in heading
    assert lines[0].strip().startswith(f"{key}:"), lines


def test_nesterov_without_momentum_is_told_in_one_line_and_only_where_it_is_used() -> None:
    with pytest.raises(ConfigError, match=r"optimizer: nesterov is true and momentum 0; give a momentum above 0, or"):
        load(optimizer={"nesterov": True, "momentum": 0})
    assert load(optimizer={"name": "adamw", "nesterov": True, "momentum": 0}).optimizer.nesterov


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
