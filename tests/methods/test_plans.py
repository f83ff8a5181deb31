from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dmt.config import Config
from dmt.config_files import dump_config, load_config
from dmt.config_sections import RoundsConfig
from dmt.errors import ConfigError
from dmt.methods import METHODS, build_method, settings_without_effect, told_without_effect
from dmt.setting import stage_of
from dmt.types import PseudoSpec, Stage

ALPHAS = [0.2, 0.4, 0.6, 0.8, 1.0]
OFFLINE = ["dmt", "dmt_naive", "dmt_flip", "curriculum_labeling"]
SELF_TAUGHT = ["self_training", "cbst"]


def config(method: str, **changes: Any) -> Config:
    return load_config({"task": "classification", "data": {"name": "digits"}, "method": method} | changes)


def plan(method: str, **changes: Any) -> tuple[Stage, ...]:
    return build_method(config(method, **changes)).plan()


def algorithm_1(alphas: list[float], start: str) -> list[tuple[Any, ...]]:
    """(round, trains, start, teacher, teacher's round, alpha), as spec 1.10 writes the paper's listing."""
    rows: list[tuple[Any, ...]] = [(0, "a", "scratch", None, None, None)]  # F_0 on S_l
    for i, alpha in enumerate(alphas, start=1):
        rows.append((i, "a", start, "a", i - 1, alpha))  # F_i on what F_{i-1} labeled
    return rows


def algorithm_2(alphas: list[float], start: str) -> list[tuple[Any, ...]]:
    """Spec 1.11: cross labels, and both teachers are those of round i - 1."""
    rows: list[tuple[Any, ...]] = [(0, "a", "scratch", None, None, None), (0, "b", "scratch", None, None, None)]
    for i, alpha in enumerate(alphas, start=1):
        rows.append((i, "a", start, "b", i - 1, alpha))  # A_i on what B_{i-1} labeled
        rows.append((i, "b", start, "a", i - 1, alpha))  # B_i on what A_{i-1} labeled, not A_i
    return rows


def rows(stages: tuple[Stage, ...]) -> list[tuple[Any, ...]]:
    found = []
    for stage in stages:
        (network,) = stage.trains
        spec = stage.pseudo
        told = (None, None, None) if spec is None else (spec.teacher, spec.teacher_round, spec.top_fraction)
        found.append((stage.round, network, stage.start, *told))
    return found


@pytest.mark.parametrize("alphas", [ALPHAS, [1.0], [0.5, 0.5, 1.0]])
@pytest.mark.parametrize("start", ["scratch", "finetune"])
@pytest.mark.parametrize(("scheme", "algorithm"), [("chain", algorithm_1), ("mutual", algorithm_2)])
def test_dmt_is_the_papers_algorithm(scheme: str, algorithm: Any, start: str, alphas: list[float]) -> None:
    stages = plan("dmt", scheme=scheme, start=start, rounds={"top_fractions": alphas})
    assert rows(stages) == algorithm(alphas, start)


@pytest.mark.parametrize("selection", ["overall", "per_class"])
def test_selection_reaches_every_stage(selection: str) -> None:
    for scheme in ("chain", "mutual"):
        specs = [stage.pseudo for stage in plan("dmt", scheme=scheme, rounds={"selection": selection})]
        assert {spec.selection for spec in specs if spec is not None} == {selection}


@pytest.mark.parametrize("scheme", ["chain", "mutual"])
@pytest.mark.parametrize("method", OFFLINE)
def test_ablations_have_the_plan_of_dmt(method: str, scheme: str) -> None:
    assert plan(method, scheme=scheme) == plan("dmt", scheme=scheme)


def test_the_usual_start_is_scratch_in_a_chain_and_finetune_in_a_mutual_scheme() -> None:
    assert {stage.start for stage in plan("dmt", scheme="chain")[1:]} == {"scratch"}
    assert {stage.start for stage in plan("dmt", scheme="mutual")[2:]} == {"finetune"}


@pytest.mark.parametrize("changes", [{}, {"start": "scratch"}, {"scheme": "mutual"}])
@pytest.mark.parametrize("method", SELF_TAUGHT)
def test_self_training_finetunes_one_network_on_its_own_labels(method: str, changes: dict[str, Any]) -> None:
    assert rows(plan(method, **changes)) == algorithm_1(ALPHAS, "finetune")


def masks(method: str, **changes: Any) -> tuple[Stage, ...]:
    """The plan for segmentation, whose scheme is mutual and whose start is finetune unless told otherwise."""
    values = {"task": "segmentation", "data": {"name": "scenes"}, "method": method}
    return build_method(load_config(values | changes)).plan()


@pytest.mark.parametrize("changes", [{}, {"rounds": {"top_fractions": [0.3, 1.0], "selection": "overall"}}])
def test_masks_are_learned_by_algorithm_2(changes: dict[str, Any]) -> None:
    alphas = changes.get("rounds", {}).get("top_fractions", ALPHAS)
    assert rows(masks("dmt", **changes)) == algorithm_2(alphas, "finetune")
    specs = [stage.pseudo for stage in masks("dmt", **changes) if stage.pseudo is not None]
    assert {spec.selection for spec in specs} == {"overall" if changes else "per_class"}


@pytest.mark.parametrize("method", ["dmt_naive", "dmt_flip", "curriculum_labeling"])
def test_ablations_of_the_weight_have_the_plan_of_dmt_for_masks(method: str) -> None:
    assert masks(method) == masks("dmt")


@pytest.mark.parametrize("method", SELF_TAUGHT)
def test_self_taught_methods_differ_from_dmt_in_the_teacher_alone(method: str) -> None:
    """One network: with its own name for every teacher, network a's stages of DMT are all of its plan (DST, CBST)."""
    of_a = [stage for stage in masks("dmt") if stage.network == "a"]
    taught_by_itself = [
        stage if stage.pseudo is None else replace(stage, pseudo=replace(stage.pseudo, teacher="a")) for stage in of_a
    ]
    assert masks(method) == tuple(taught_by_itself)
    assert masks(method) != tuple(of_a)


@pytest.mark.parametrize("changes", [{}, {"scheme": "chain"}, {"start": "scratch"}, {"rounds": {"dms_share": 0.8}}])
def test_cbst_has_the_plan_of_self_training(changes: dict[str, Any]) -> None:
    assert masks("cbst", **changes) == masks("self_training", **changes)
    assert rows(masks("cbst", **changes)) == algorithm_1(ALPHAS, "finetune")


def test_online_self_training_of_masks_labels_in_every_step() -> None:
    first, second = masks("online_self_training")
    assert first == masks("dmt")[0]
    assert second == Stage(round=1, trains=("a",), start="finetune", unlabeled=True)


def test_one_shot_dmt_is_one_round_with_all_labels() -> None:
    stages = masks("dmt", rounds={"top_fractions": [1.0]})
    assert rows(stages) == [
        (0, "a", "scratch", None, None, None),
        (0, "b", "scratch", None, None, None),
        (1, "a", "finetune", "b", 0, 1.0),
        (1, "b", "finetune", "a", 0, 1.0),
    ]


@pytest.mark.parametrize("task", ["classification", "segmentation"])
@pytest.mark.parametrize("method", OFFLINE)
def test_with_samples_the_baseline_comes_first_and_teaches_nobody(method: str, task: str) -> None:
    """Difference-maximized sampling (spec 1.9): the two warm starts have halves, everything after all labels."""
    changes = {"task": task, "scheme": "mutual", "rounds": {"top_fractions": [0.2, 1.0], "dms_share": 0.8}}
    stages = plan(method, **changes)
    assert rows(stages) == [
        (0, "a", "scratch", None, None, None),
        (0, "a", "scratch", None, None, None),
        (0, "b", "scratch", None, None, None),
        (1, "a", "finetune", "b", 0, 0.2),
        (1, "b", "finetune", "a", 0, 0.2),
        (2, "a", "finetune", "b", 1, 1.0),
        (2, "b", "finetune", "a", 1, 1.0),
    ]
    assert [stage.labeled_subset for stage in stages] == ["all", "dms_a", "dms_b", "all", "all", "all", "all"]
    folders = [stage.folder for stage in stages]
    assert folders[:3] == ["supervised", "rounds/0/a", "rounds/0/b"]
    assert len(set(folders)) == len(folders)
    # Round 1 is taught by, and goes on from, what was trained on the samples.
    assert [stage_of(stages, network, 0).folder for network in "ab"] == ["rounds/0/a", "rounds/0/b"]
    assert len({stage.title for stage in stages}) == len(stages)


def test_without_samples_network_a_starts_as_the_baseline() -> None:
    stages = masks("dmt")
    assert [stage_of(stages, network, 0).folder for network in "ab"] == ["supervised", "rounds/0/b"]
    assert [stage_of(stages, network, 3).folder for network in "ab"] == ["rounds/3/a", "rounds/3/b"]
    assert {stage.labeled_subset for stage in stages} == {"all"}


@pytest.mark.parametrize("method", ["dmt", "cbst", "self_training", "curriculum_labeling"])
@pytest.mark.parametrize("threshold", [0.7, 0.9])
def test_the_threshold_reaches_every_stage_that_goes_by_it(method: str, threshold: float) -> None:
    loss = {"confidence_threshold": threshold}
    for selection, expected in (("threshold", threshold), ("per_class", None), ("renormalized", None)):
        specs = [stage.pseudo for stage in masks(method, loss=loss, rounds={"selection": selection})]
        assert {(spec.selection, spec.threshold) for spec in specs if spec is not None} == {(selection, expected)}


def without_effect(method: str, keys: list[str], **changes: Any) -> list[str]:
    values = {"task": "segmentation", "data": {"name": "scenes"}, "method": method}
    return list(settings_without_effect(load_config(values | changes), keys))


def test_settings_without_effect_are_known() -> None:
    assert without_effect("dmt", ["loss.gamma_agree", "rounds.dms_share", "networks.b.name"]) == []
    assert without_effect("dmt", ["loss.naive_exponent", "loss.flip_exponent"]) == [
        "loss.naive_exponent",
        "loss.flip_exponent",
    ]
    assert without_effect("dmt_naive", ["loss.naive_exponent"]) == []
    assert without_effect("dmt_flip", ["loss.flip_exponent"]) == []
    unused = ["scheme", "networks.b.name", "rounds.dms_share", "loss.gamma_agree"]
    assert without_effect("cbst", unused) == unused
    assert without_effect("self_training", unused) == unused[:3]
    assert without_effect("online_self_training", ["loss.confidence_threshold"]) == []


@pytest.mark.parametrize("method", ["supervised", "oracle", "online_self_training"])
def test_windows_are_what_every_network_is_scored_by(method: str) -> None:
    """All else in the section is of pseudo labels, which these methods do not make between rounds."""
    keys = [f"rounds.{key}" for key in RoundsConfig.model_fields]
    assert set(keys) - set(without_effect(method, keys)) == {"rounds.window"}


@pytest.mark.parametrize("method", ["supervised", "oracle", "online_self_training"])
def test_mixup_of_labels_alone_takes_lambda_as_it_is(method: str) -> None:
    assert without_effect(method, ["mixup.alpha", "mixup.keep_max"], mixup={"alpha": 0.75}) == ["mixup.keep_max"]
    assert without_effect("dmt", ["mixup.keep_max"], mixup={"alpha": 0.75}) == []


def test_the_oracle_draws_no_split() -> None:
    keys = ["data.labeled", "data.unlabeled", "data.num_unlabeled", "data.split_seed", "validation.size"]
    assert without_effect("oracle", keys) == keys
    assert without_effect("supervised", keys) == []
    for source, expected in (("cut", 1), ("extra", 1), ("cross_validation", 1), ("given", 0), ("none", 0)):
        found = without_effect("oracle", ["validation.source"], validation={"source": source})
        assert found == ["validation.source"][:expected]


def test_settings_that_others_take_the_effect_from() -> None:
    validation = ["validation.size", "validation.num_folds"]
    for source, expected in (
        (None, []),
        ("cut", validation[1:]),
        ("extra", validation[1:]),
        ("cross_validation", validation[:1]),
        ("given", validation),
        ("none", validation),
    ):
        assert without_effect("dmt", validation, validation={"source": source}) == expected
    assert without_effect("dmt", ["rounds.stranger_confidence"]) == ["rounds.stranger_confidence"]
    crop = ["crop.size", "crop.scale", "crop.pseudo", "crop.cutmix"]
    assert without_effect("dmt", crop) == []
    assert without_effect("dmt", crop, augment="none") == ["crop.scale", "crop.pseudo"]


def test_the_rate_of_rounds_has_no_effect_where_there_are_none_and_training_on_labels_has_its_own() -> None:
    keys, one_rate, two = ["optimizer.lr"], {"optimizer": {"lr": 0.1}}, {"optimizer": {"lr": 0.1, "supervised_lr": 0.2}}
    images: dict[str, Any] = {"task": "classification", "data": {"name": "digits"}}
    values = images | two | {"method": "supervised"}
    assert list(settings_without_effect(load_config(values), keys).values()) == [
        "optimizer.lr has no effect on method=supervised beside optimizer.supervised_lr=0.2."
    ]
    assert without_effect("supervised", keys, **images, **two) == keys
    assert without_effect("supervised", keys, **images, **one_rate) == []
    assert without_effect("dmt", keys, **images, **two) == []
    assert without_effect("supervised", keys, **images, **two, self_supervised={"steps": 1}) == []


def test_each_is_said_to_have_no_effect_on_what_takes_it() -> None:
    values = {"task": "classification", "data": {"name": "digits"}, "validation": {"source": "cut"}}
    keys = ["networks.b.name", "crop.scale", "validation.num_folds", "loss.flip_exponent"]
    assert list(settings_without_effect(load_config(values), keys).values()) == [
        "networks.b.name has no effect on scheme=chain.",
        "crop.scale has no effect on task=classification.",
        "validation.num_folds has no effect on validation.source=cut.",
        "loss.flip_exponent has no effect on method=dmt.",
    ]


SUPERVISED = "extends: digits-20\nmethod: supervised\nloss: {ramp: false}\nseed: 3\n"


def test_what_a_users_own_file_or_mapping_sets_without_effect_is_told(tmp_path: Path) -> None:
    own, expected = tmp_path / "mine.yaml", {"loss.ramp": "loss.ramp has no effect on method=supervised."}
    own.write_text(SUPERVISED)
    values = {"task": "classification", "data": {"name": "digits"}, "method": "supervised", "loss": {"ramp": False}}
    assert told_without_effect(own) == told_without_effect(str(own), ["seed=4"]) == expected
    assert told_without_effect(values) == expected
    assert told_without_effect(values, ["rounds.selection=overall"]).keys() == {"loss.ramp", "rounds.selection"}


def test_what_is_not_the_users_own_words_is_not_told(tmp_path: Path) -> None:
    own = tmp_path / "mine.yaml"
    own.write_text("extends: digits-20\nloss: {ramp: false}\n")
    assert told_without_effect(own, ["method=supervised"]) == {}  # a file stands for itself
    assert told_without_effect("voc-1322-supervised-paper") == {}
    config = load_config(own, ["method=supervised"])
    own.write_text(dump_config(config))
    assert told_without_effect(own) == told_without_effect(config) == told_without_effect(config.model_dump()) == {}
    own.write_text("loss: {ramp: false}\nmethod: supervised\n")  # no config without the overrides
    assert told_without_effect(own, ["task=classification", "data.name=digits"]) == {}


@pytest.mark.parametrize("method", ["dmt", "dmt_naive", "dmt_flip", "curriculum_labeling", "cbst"])
def test_the_threshold_has_an_effect_where_it_selects(method: str) -> None:
    selected = {"rounds": {"selection": "threshold"}}
    assert without_effect(method, ["loss.confidence_threshold"], **selected) == []
    assert without_effect(method, ["loss.confidence_threshold"]) == ["loss.confidence_threshold"]


@pytest.mark.parametrize("method", ["supervised", "oracle"])
def test_supervised_methods_have_one_stage(method: str) -> None:
    assert plan(method, scheme="mutual") == (Stage(round=0, trains=("a",), start="scratch"),)


def test_online_self_training_has_one_phase_without_stored_labels() -> None:
    first, second = plan("online_self_training")
    assert first == Stage(round=0, trains=("a",), start="scratch")
    assert second == Stage(round=1, trains=("a",), start="finetune", unlabeled=True)
    assert first.is_supervised
    assert not second.is_supervised


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("scheme", ["chain", "mutual"])
def test_plans_can_be_run_in_their_order(method: str, scheme: str) -> None:
    """Every teacher and every start is a stage before, and no two stages share a folder."""
    stages = plan(method, scheme=scheme)
    done: set[tuple[int, str]] = set()
    for stage in stages:
        if stage.pseudo is not None:
            assert (stage.pseudo.teacher_round, stage.pseudo.teacher) in done
        if stage.start == "finetune":
            assert (stage.round - 1, stage.network) in done
        done.add((stage.round, stage.network))
    assert len({stage.folder for stage in stages}) == len(stages)
    assert stages[0].folder == "supervised"


def test_folders_are_those_of_the_contract() -> None:
    folders = [stage.folder for stage in plan("dmt", scheme="mutual", rounds={"top_fractions": [1.0]})]
    assert folders == ["supervised", "rounds/0/b", "rounds/1/a", "rounds/1/b"]


def test_methods_are_found_by_name_and_unknown_ones_answered() -> None:
    for name, kind in METHODS.items():
        assert type(build_method(config(name))) is kind
        assert kind.summary
        assert kind.source
    with pytest.raises(ConfigError, match="Did you mean 'dmt_flip'"):
        build_method(config("dmt_filp"))


def test_only_the_oracle_needs_all_labels() -> None:
    assert [name for name, method in METHODS.items() if method.needs_all_labels] == ["oracle"]


def test_stages_are_plain_data() -> None:
    spec = PseudoSpec(teacher="a", teacher_round=0, top_fraction=0.2, selection="overall")
    assert hash(Stage(round=1, trains=("a",), start="scratch", pseudo=spec)) == hash(
        Stage(round=1, trains=("a",), start="scratch", pseudo=spec)
    )
