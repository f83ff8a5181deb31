"""Whole comparisons: the same bits as runs on their own, nothing run twice, round 0 shared where it is the same."""

import json
import sys
from pathlib import Path

import pytest

from data.tiny_photos import write_images
from dmt import round_0
from dmt.cli.main import main
from dmt.compare import candidates_of, compare, runs
from dmt.config import Config
from dmt.errors import ConfigError, DataError, DMTError, NonFiniteError
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
    ran: list[str] = []
    copied: list[str] = []

    def counted(config: Config, *arguments, run_dir: Path, **keywords):
        ran.append(f"{config.method} {config.seed}")
        return run(config, *arguments, run_dir=run_dir, **keywords)

    def copy(source: Path, target: Path) -> None:
        copied.append(ran[-1])
        real_copy(source, target)

    real_copy = round_0._copy
    monkeypatch.setattr(runs, "run", counted)
    monkeypatch.setattr(round_0, "_copy", copy)
    candidates = candidates_of(tiny, ["supervised", "curriculum_labeling", "dmt", "oracle"])
    first = compare(candidates, [0, 1], folder=tmp_path / "runs")
    assert ran == [f"{one.name} {seed}" for seed in (0, 1) for one in candidates]
    assert copied == [f"{method} {seed}" for seed in (0, 1) for method in ("curriculum_labeling", "dmt")]
    again = compare(candidates[::-1], [1, 0], folder=tmp_path / "runs")
    assert len(ran) == 8
    assert again.results == first.results
    (first.folders["dmt", 1] / "rounds/1/a/DONE").unlink()
    anew = compare(candidates, [0, 1], folder=tmp_path / "runs")
    assert ran[8:] == ["dmt 1"], "a stage of it is not done any more"
    assert figures(anew.results["dmt", 1]) == figures(first.results["dmt", 1])


def test_finished_runs_on_other_data_are_refused(tmp_path) -> None:
    write_images(tmp_path / "photos")
    path = tmp_path / "mine.yaml"
    path.write_text(
        f"task: classification\ndata: {{name: folder, root: {tmp_path / 'photos'}}}\nvalidation: {{source: none}}\n"
        "supervised: {steps: 1}\nbatch: {size: 4, labeled: 2}\nprecision: fp32\n"
    )
    candidates = candidates_of(str(path), ["supervised"])
    compare(candidates, [0], folder=tmp_path / "runs")
    compare(candidates, [0], folder=tmp_path / "runs")
    next((tmp_path / "photos" / "unlabeled").rglob("*.png")).unlink()
    with pytest.raises(DataError, match=r"supervised, seed 0: .* is a run on other data"):
        compare(candidates, [0], folder=tmp_path / "runs")


def test_a_comparison_goes_on_with_the_run_that_was_stopped(tiny, tmp_path, monkeypatch) -> None:
    candidates = candidates_of(tiny, ["dmt"])
    whole = compare(candidates, [0], folder=tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr("dmt.run.ensemble_scores", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            compare(candidates, [0], folder=tmp_path / "runs")
    resumed = compare(candidates, [0], folder=tmp_path / "runs")
    assert figures(resumed.results["dmt", 0]) == figures(whole.results["dmt", 0])


@pytest.mark.parametrize(
    ("variant", "words"),
    [
        ("x: method=dmt_flipp", "Did you mean 'dmt_flip'"),
        ("x: networks.a.name=small_cn", "x: networks.a.name: there is no network 'small_cn'"),
        ("x: networks.a.weights=absent.safetensors", "x: .*absent.safetensors"),
        ("x: data.name=fashion-mnist data.root=absent", "x: .*absent"),
        ("x: validation.source=given", "x: validation.source"),
        ("x: data.num_labeled=5000", "x: data.num_labeled is 5000"),
        ("x: seed=3", "seeds are named by --seeds"),
    ],
)
def test_mistakes_are_found_before_anything_runs(tiny, tmp_path, variant, words) -> None:
    with pytest.raises(DMTError, match=words):
        compare(candidates_of(tiny, ["dmt"], [variant]), [0], folder=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_seed_whose_split_cannot_be_drawn_is_found_before_anything_runs(tmp_path) -> None:
    """Which class gives the label that is left over differs by seed, and one class has none to give."""
    write_images(tmp_path / "photos")
    next((tmp_path / "photos" / "labeled" / "zero").iterdir()).unlink()  # two are left, three of the others
    path = tmp_path / "mine.yaml"
    path.write_text(
        f"task: classification\ndata: {{name: folder, root: {tmp_path / 'photos'}, num_labeled: 7}}\n"
        "validation: {source: none}\nmethod: supervised\nsupervised: {steps: 1}\n"
        "batch: {size: 4, labeled: 2}\nprecision: fp32\n"
    )
    candidates = candidates_of(str(path), ["supervised"])
    with pytest.raises(ConfigError, match=r"supervised, seed \d+: data\.num_labeled is 7, .* class 'zero'"):
        compare(candidates, range(10), folder=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("judges", ["test", "validation"])
def test_a_config_may_leave_open_where_validation_labels_come_from(tiny, tmp_path, judges) -> None:
    """As `dmt init` and users do; the run settles it: folds, with two labels a class."""
    candidates = candidates_of(tiny, ["dmt"], changes=["validation.source=null"])
    found = compare(candidates, [0], folder=tmp_path / "runs", judges=judges)
    assert found.results["dmt", 0]["last_round"]["accuracy"] > 0
    assert (found.folders["dmt", 0] / "folds").is_dir()


HOT = "hot: optimizer.lr=1.0e+30 supervised.steps=20"


@pytest.mark.parametrize("diverging_seed", [0, 1])
@pytest.mark.parametrize("judges", ["test", "validation"])
def test_a_candidate_that_diverges_is_left_out_and_the_others_go_on(
    tiny, tmp_path, monkeypatch, diverging_seed, judges
) -> None:
    ran: list[str] = []

    def diverging(config: Config, *arguments, **keywords):
        ran.append(f"{config.method} {config.seed}")
        if config.method == "curriculum_labeling" and config.seed == diverging_seed:
            raise NonFiniteError("The loss is NaN.")
        return run(config, *arguments, **keywords)

    monkeypatch.setattr(runs, "run", diverging)
    candidates = candidates_of(
        tiny, ["curriculum_labeling", "dmt"], changes=["validation.source=extra", "validation.size=20"]
    )
    found = compare(candidates, [0, 1], folder=tmp_path / "runs", judges=judges)
    assert found.names == ["dmt"]
    assert list(found.results) == list(found.folders) == [("dmt", 0), ("dmt", 1)]
    assert found.diverged == {"curriculum_labeling": f"curriculum_labeling, seed {diverging_seed}: The loss is NaN."}
    assert ran == ["curriculum_labeling 0", "dmt 0", *["curriculum_labeling 1"] * diverging_seed, "dmt 1"]
    assert {record["candidate"] for record in found.records()} == {"dmt"}


def test_nothing_is_compared_where_every_candidate_diverges(tiny, tmp_path) -> None:
    with pytest.raises(NonFiniteError, match="hot, seed 0: "):
        compare(
            candidates_of(
                tiny, [], [HOT], changes=["method=supervised", "optimizer.lr=1.0e+20", "supervised.steps=20"]
            ),
            [0],
            folder=tmp_path / "runs",
        )


def test_the_command_writes_the_tables_of_the_others_and_says_what_is_missing(
    tiny, tmp_path, capsys, monkeypatch
) -> None:
    folder = tmp_path / "runs"
    changed = ["--methods", "supervised", "--variant", HOT]
    command = ["dmt", "compare", tiny, *changed, "--seeds", "0", "--runs", str(folder)]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == 3
    message = " ".join(capsys.readouterr().err.split())
    assert "Left out, since a run diverged: hot, seed 0: " in message
    table = (folder / "compare.md").read_text()
    assert "Left out, since a run diverged: hot, seed 0: " in table
    assert "| supervised |" in table
    assert len((folder / "compare.csv").read_text().splitlines()) == 2
