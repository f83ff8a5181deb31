"""Whole comparisons: the same bits as runs on their own, nothing run twice, round 0 shared where it is the same."""

import json
from pathlib import Path

import pytest

from dmt.compare import candidates_of, compare, runs, sharing
from dmt.compare.candidates import run_folder
from dmt.config import Config
from dmt.config_files import load_config
from dmt.errors import ConfigError
from dmt.run import run

TINY = """extends: digits-20
rounds: {top_fractions: [1.0]}
supervised: {steps: 12}
duration: {steps: 6}
batch: {size: 16, labeled: 8, supervised: 16}
precision: fp32
"""


@pytest.fixture
def tiny(tmp_path) -> str:
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return str(path)


def hashes(stage: Path) -> dict[str, str]:
    marker: dict[str, dict[str, str]] = json.loads((stage / "DONE").read_text())
    return marker["sha256"]


def figures(result: dict) -> list:
    return [
        {key: value for key, value in row.items() if key not in ("seconds", "labeling_seconds")}
        for row in result["rounds"]
    ]


@pytest.mark.parametrize("source", ["none", "cross_validation"])
def test_a_shared_round_0_changes_no_bit(tiny, tmp_path, source) -> None:
    changes = ["scheme=mutual", "networks.b.name=wrn_10_1", f"validation.source={source}"]
    candidates = candidates_of(tiny, ["curriculum_labeling", "dmt"], changes=changes)
    comparison = compare(candidates, [0], folder=tmp_path / "runs")
    for candidate in candidates:
        alone = tmp_path / f"alone-{candidate.name}"
        expected = run(candidate.config(0), run_dir=alone)
        assert figures(comparison.results[candidate.name, 0]) == figures(expected)
        ours = comparison.folders[candidate.name, 0]
        folders = [path.parent.relative_to(alone) for path in alone.rglob("DONE")]
        assert len(folders) >= 4
        for folder in folders:
            assert hashes(ours / folder) == hashes(alone / folder)
        for split in (alone / "splits").iterdir():
            assert (ours / "splits" / split.name).read_bytes() == split.read_bytes()


def test_round_0_is_trained_once_and_finished_runs_are_read(tiny, tmp_path, monkeypatch) -> None:
    trained: list[str] = []

    def counted(config: Config, *arguments, run_dir: Path, **keywords):
        had = (run_dir / "supervised/DONE").is_file()
        trained.append(f"{config.method} {config.seed} {'shared' if had else 'own'}")
        return run(config, *arguments, run_dir=run_dir, **keywords)

    monkeypatch.setattr(runs, "run", counted)
    candidates = candidates_of(tiny, ["supervised", "curriculum_labeling", "dmt", "oracle"])
    first = compare(candidates, [0, 1], folder=tmp_path / "runs")
    assert trained == [
        f"{method} {seed} {how}"
        for seed in (0, 1)
        for method, how in (
            ("supervised", "own"), ("curriculum_labeling", "shared"), ("dmt", "shared"), ("oracle", "own"),
        )
    ]  # fmt: skip
    again = compare(candidates[::-1], [1, 0], folder=tmp_path / "runs")
    assert len(trained) == 8
    assert again.results == first.results


def test_a_comparison_goes_on_with_the_run_that_was_stopped(tiny, tmp_path, monkeypatch) -> None:
    candidates = candidates_of(tiny, ["dmt"])
    whole = compare(candidates, [0], folder=tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr("dmt.run.ensemble_scores", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            compare(candidates, [0], folder=tmp_path / "runs")
    resumed = compare(candidates, [0], folder=tmp_path / "runs")
    assert figures(resumed.results["dmt", 0]) == figures(whole.results["dmt", 0])


def test_mistakes_are_found_before_anything_runs(tiny, tmp_path) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'dmt_flip'"):
        compare(candidates_of(tiny, ["dmt", "dmt_flipp"]), [0], folder=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


BASE = ["scheme=mutual", "validation.source=none", "precision=fp32"]


@pytest.mark.parametrize(
    "change",
    [
        "method=cbst", "start=scratch", "duration.steps=3", "rounds.top_fractions=[0.5]", "rounds.selection=overall",
        "loss.gamma_agree=1.0", "loss.ramp=false", "loss.weights_per_class=mean_one", "mixup.keep_max=false",
        "optimizer.lr=0.5", "batch.labeled=4", "networks.b.name=wrn_10_1", "workers=1", "checkpoint.every_steps=5",
    ],
)  # fmt: skip
def test_what_bears_on_the_rounds_alone_shares_round_0(tmp_path, change) -> None:
    assert "a" in shared(tmp_path, [*BASE, "optimizer.supervised_lr=0.1"], change)


@pytest.mark.parametrize(
    "change",
    [
        "seed=1", "data.num_labeled=30", "data.split_seed=4", "mixup.alpha=0.5", "loss.class_balance=0.5",
        "supervised.steps=13", "ema.decay=0.9", "optimizer.lr=0.5", "optimizer.weight_decay=0.1", "batch.supervised=20",
        "networks.a.name=wrn_10_1", "augment=photo", "rounds.dms_share=0.8", "validation={source: cut, size: 10}",
        "method=oracle", "precision=bf16",
    ],
)  # fmt: skip
def test_what_bears_on_round_0_does_not(tmp_path, change) -> None:
    assert "a" not in shared(tmp_path, BASE, change)


def test_networks_of_round_0_are_shared_one_by_one(tmp_path) -> None:
    assert shared(tmp_path, [*BASE, "optimizer.supervised_lr=0.1"], "networks.b.name=wrn_10_1") == ["a"]
    assert shared(tmp_path / "2", [*BASE, "optimizer.supervised_lr=0.1"], "loss.ramp=false") == ["a", "b"]


def test_every_setting_said_to_bear_on_rounds_alone_exists() -> None:
    values = Config.model_validate({"task": "classification", "data": {"name": "digits"}}).model_dump()
    for key, inner in sharing.ROUNDS_ONLY.items():
        assert key in values
        assert inner is True or inner <= values[key].keys()


def shared(folder: Path, base: list[str], change: str) -> list[str]:
    """Networks of round 0 that a run with a change takes over from a finished one."""
    stored, config = load_config("digits-20", base), load_config("digits-20", [*base, change])
    other, new = folder / "other", run_folder(folder, config)
    for name in ("supervised", "rounds/0/b"):
        (other / name).mkdir(parents=True)
        (other / name / "DONE").write_text("{}")
    (other / "config.yaml").write_text(sharing.dump_config(stored))
    sharing.take_round_0(config, new, [other])
    return [network for network, name in (("a", "supervised"), ("b", "rounds/0/b")) if (new / name / "DONE").is_file()]
