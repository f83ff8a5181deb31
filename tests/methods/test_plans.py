from typing import Any

import pytest

from dmt.config import Config
from dmt.config_files import load_config
from dmt.errors import ConfigError
from dmt.methods import METHODS, build_method
from dmt.types import PseudoSpec, Stage

ALPHAS = [0.2, 0.4, 0.6, 0.8, 1.0]
OFFLINE = ["dmt", "dmt_naive", "dmt_flip", "curriculum_labeling"]


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
def test_self_training_finetunes_one_network_on_its_own_labels(changes: dict[str, Any]) -> None:
    assert rows(plan("self_training", **changes)) == algorithm_1(ALPHAS, "finetune")


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
