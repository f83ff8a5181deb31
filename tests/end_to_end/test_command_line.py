"""The command line as a user meets it: what it prints, what it leaves behind, how it ends."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from dmt import losses
from dmt.cli.main import main
from dmt.config_files import load_config, preset_names

TINY = [
    "duration.steps=20",
    "supervised.steps=20",
    "rounds.top_fractions=[0.5, 1.0]",
    "batch={size: 16, labeled: 8}",
    "precision=fp32",
]


def dmt(*arguments: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> tuple[int, str, str]:
    """Run `dmt ARGUMENTS` in this process; exit status, standard output, standard error."""
    monkeypatch.setattr(sys, "argv", ["dmt", *arguments])
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as exit_:
        main()
    captured = capsys.readouterr()
    return int(exit_.value.code or 0), captured.out, captured.err


@pytest.fixture
def call(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: dmt(*arguments, capsys=capsys, monkeypatch=monkeypatch)


def test_train_prints_a_table_and_leaves_the_whole_run_folder(call, tmp_path) -> None:
    status, out, err = call("train", "digits-20", *TINY, "validation.source=cross_validation", "--run-dir", "mine")
    assert (status, err) == (0, "")
    for words in ("supervised", "round 1", "round 2", "final", "Run folder mine", "folds 0: supervised"):
        assert words in out
    run = tmp_path / "mine"
    for name in ("config.yaml", "environment.json", "plan.json", "metrics.jsonl", "result.json", "report.html"):
        assert (run / name).stat().st_size > 0
    for part in ("labeled", "unlabeled", "validation", "test"):
        assert (run / "splits" / f"{part}.txt").exists()
    for stage in ("supervised", "rounds/1/a", "rounds/2/a"):
        for name in ("last.safetensors", "ema.safetensors", "DONE"):
            assert (run / stage / name).exists()
    assert (run / "rounds/2/a/pseudo_labels/labels.parquet").exists()


def test_result_json_holds_what_the_contract_says(call, tmp_path) -> None:
    changes = ["validation.source=none", "rounds.selection=per_class"]
    call("train", "digits-20", *TINY, *changes, "--run-dir", "mine")
    result = json.loads((tmp_path / "mine/result.json").read_text())
    expected = {
        "format": 1,
        "task": "classification",
        "dataset": "digits",
        "method": "dmt",
        "scheme": "chain",
        "seed": 0,
    }
    assert expected.items() <= result.items()
    assert (result["num_labeled"], result["num_validation"]) == (20, 0)
    assert (result["num_unlabeled"], result["num_test"]) == (1327, 450)
    assert {"network", "accuracy", "fine_grained_accuracy"} <= result["supervised"].keys()
    assert [row["round"] for row in result["rounds"]] == [0, 1, 2]
    assert [row["top_fraction"] for row in result["rounds"]] == [None, 0.5, 1.0]
    assert result["rounds"][2]["num_pseudo_labels"] == 1327
    assert 0 <= result["rounds"][1]["pseudo_label_accuracy"] <= 100
    assert result["last_round"]["accuracy"] == result["rounds"][-1]["accuracy"]
    assert result["best_round"]["accuracy"] == max(row["accuracy"] for row in result["rounds"])
    assert result["picked"]["what"] == "round 2, network a"
    assert result["final"]["accuracy"] == result["last_round"]["accuracy"]
    assert result["seconds"] > 0
    assert result["peak_memory_mb"] > 0


def test_mutual_scheme_trains_two_networks_and_reports_their_ensemble(call, tmp_path) -> None:
    arguments = [*TINY, "scheme=mutual", "networks.b.name=wrn_10_1", "validation={source: cut, size: 10}"]
    assert call("train", "digits-20", *arguments, "data.num_labeled=40", "--run-dir", "mine")[0] == 0
    result = json.loads((tmp_path / "mine/result.json").read_text())
    assert [(row["round"], row["network"]) for row in result["rounds"]] == [
        (0, "a"), (0, "b"), (1, "a"), (1, "b"), (2, "a"), (2, "b"),
    ]  # fmt: skip
    assert 0 < result["ensemble"]["accuracy"] <= 100
    assert (result["num_labeled"], result["num_validation"]) == (30, 10)
    assert all("validation" in row for row in result["rounds"])


def test_the_same_command_again_returns_the_finished_result_at_once(call) -> None:
    arguments = ("train", "digits-20", *TINY, "method=supervised", "--run-dir", "mine")
    _, first, _ = call(*arguments)
    status, second, _ = call(*arguments)
    assert status == 0
    assert "finished" in second
    assert first.splitlines()[-1] == second.splitlines()[-1]


def test_another_run_in_the_same_folder_is_refused_and_nothing_is_lost(call, tmp_path) -> None:
    call("train", "digits-20", *TINY, "method=supervised", "--run-dir", "mine")
    before = {path: path.read_bytes() for path in (tmp_path / "mine").rglob("*") if path.is_file()}
    status, _, err = call("train", "digits-20", *TINY, "method=supervised", "seed=1", "--run-dir", "mine")
    assert status == 2
    assert "mine holds another run: seed is 0 there and 1 here" in err
    assert before == {path: path.read_bytes() for path in (tmp_path / "mine").rglob("*") if path.is_file()}


def test_a_folder_with_other_files_is_refused(call, tmp_path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/photo.jpg").write_text("mine")
    status, _, err = call("train", "digits-20", *TINY, "--run-dir", "mine")
    assert (status, "mine holds files that are not a run's" in err) == (2, True)
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == ["photo.jpg"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["digits-2"], ["digits-2", "Did you mean 'digits-20'"]),
        (["no/such.yaml"], ["no/such.yaml does not exist"]),
        (["digits-20", "sed=1"], ["sed: unknown key", "Did you mean 'seed'"]),
        (["digits-20", "lr=1"], ["lr: unknown key", "Did you mean 'optimizer.lr'"]),
        (["digits-20", "data.steps=1"], ["Did you mean 'duration.steps' or 'supervised.steps' or"]),
        (["digits-20", "rounds.top_fractions=0.5"], ["rounds.top_fractions: found 0.5", "For instance [0.5]"]),
        (["digits-20", "rounds.top_fractions=[0.2,", "1.0]"], ["put it in quotes: 'rounds.top_fractions=[0.5, 1.0]'"]),
        (["."], [". is a folder", "`dmt init .` writes a config"]),
        (["digits-20", "seed"], ["'seed' is not an override"]),
        (["digits-20", "seed=-1", "optimizer.lr=x"], ["2 errors", "seed: found -1", "optimizer.lr: found 'x'"]),
        (["digits-20", "method=dtm"], ["method: found 'dtm'", "Did you mean 'dmt'"]),
        (["digits-20", "data.name=digit"], ["digit", "Did you mean 'digits'"]),
        (["digits-20", "networks.a.name=smal_cnn"], ["smal_cnn", "small_cnn"]),
        (["digits-20", "augment=strong"], ["augment is 'strong'"]),
        (["digits-20", "precision=fp16"], ["precision: found 'fp16' on cpu"]),
        (["digits-20", "data.num_labeled=5000"], ["data.num_labeled is 5000", "1347"]),
        (["digits-20", "data.num_labeled=1340"], ["data.num_labeled is 1340", "class"]),
        (["digits-20", "validation={source: cut, size: 15}"], ["validation.size is 15"]),
        (["digits-20", "networks.a.weights=absent.safetensors"], ["absent.safetensors"]),
        (["digits-20", "networks.a.weights=model.pt"], ["model.pt", ".safetensors"]),
        (["fashion-mnist-100", "data.root=empty"], ["empty"]),
        (["cifar10-4k-paper", "data.root=empty"], ["empty"]),
    ],
)  # fmt: skip
def test_a_mistake_ends_with_status_2_and_a_sentence(call, arguments, words) -> None:
    status, _, err = call("train", *arguments, "--run-dir", "mine")
    assert status == 2
    assert err.startswith("error: ")
    assert "Traceback" not in err
    for word in words:
        assert word in err


def test_a_setting_that_is_written_as_an_option_is_told_how_it_is_written(call) -> None:
    status, _, err = call("train", "digits-20", "--seed", "3")
    assert status == 2
    assert "A setting is written without dashes: seed=VALUE." in err
    assert "without dashes" not in call("train", "digits-20", "--sed", "3")[2]
    assert (
        "without dashes" not in call("predict", "run", "photos", "-o", "x.csv", "--seed", "3")[2]
    )  # takes no settings


def test_a_loss_that_is_not_finite_stops_the_run_with_status_4(call, monkeypatch, tmp_path) -> None:
    def broken(*arguments, **keywords):
        return losses.site_cross_entropy(*arguments[:2]).mean() * float("nan")

    monkeypatch.setattr("dmt.methods.base.dynamic_loss", broken)
    status, _, err = call("train", "digits-20", *TINY, "--run-dir", "mine")
    assert status == 4
    assert "The loss or its gradient is NaN or infinite in 11 steps in a row, up to step 10, supervised" in err
    assert "Lower optimizer.lr" in err
    assert not (tmp_path / "mine/result.json").exists()


def test_our_own_bug_ends_with_status_1_and_a_traceback_in_a_file(call, monkeypatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("dmt.run.run", broken)
    status, _, err = call("train", "digits-20")
    assert status == 1
    assert err.count("\n") == 1
    log = Path(err.strip().rpartition("Traceback in ")[2])
    assert "RuntimeError: a bug" in log.read_text()
    log.unlink()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "The disk is full"),
        (MemoryError("too much"), "Out of memory"),
        (torch.OutOfMemoryError("CUDA out of memory"), "Out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "Out of memory"),
    ],
)
def test_what_the_machine_ran_out_of_stops_with_status_4(call, monkeypatch, error, words) -> None:
    def short(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("dmt.run.run", short)
    status, _, err = call("train", "digits-20")
    assert (status, err.startswith(f"error: {words}"), "goes on where it stopped" in err) == (4, True, True)


def test_a_process_that_was_ended_while_it_read_images_stops_with_status_4(call, monkeypatch, digits_run) -> None:
    def short(*_: object, **__: object) -> None:
        raise RuntimeError("DataLoader worker (pid(s) 12) exited unexpectedly")

    monkeypatch.setattr("dmt.evaluation.evaluate_on", short)
    status, _, err = call("evaluate", str(digits_run))
    assert (status, "lower --workers" in err, "bug" in err) == (4, True, False)


def test_interrupting_leaves_with_130(call, monkeypatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("dmt.run.run", interrupt)
    status, _, err = call("train", "digits-20")
    assert (status, "goes on where it stopped" in err) == (130, True)


@pytest.mark.parametrize("kind", ["presets", "methods", "models", "datasets"])
def test_list_shows_names(call, kind) -> None:
    status, out, _ = call("list", kind)
    known = {"presets": "digits-20", "methods": "dmt_flip", "models": "timm:", "datasets": "fashion-mnist"}[kind]
    assert status == 0
    assert known in out


def test_presets_that_we_recommend_stand_apart_from_the_papers(call) -> None:
    _, out, _ = call("list", "presets")
    ours, papers = out.split("The paper's own settings, to reproduce it:")
    assert ours.startswith("Recommended:")
    for name in preset_names():
        assert (f"{name} " in papers, f"{name} " in ours) == (
            (True, False) if name.endswith("-paper") else (False, True)
        )


def test_config_prints_what_train_reads_back(call, tmp_path) -> None:
    status, out, _ = call("config", "digits-20", "seed=3", "optimizer.lr=5e-2")
    assert status == 0
    assert yaml.safe_load(out)["seed"] == 3
    (tmp_path / "mine.yaml").write_text(out)
    assert load_config("mine.yaml") == load_config("digits-20", ["seed=3", "optimizer.lr=0.05"])


@pytest.mark.parametrize("command", ["demo", "train", "list", "config", "compare"])
def test_every_help_shows_an_example(call, command) -> None:
    status, out, _ = call(command, "--help")
    assert status == 0
    assert "Example" in out
    assert f"dmt {command}" in out


@pytest.mark.parametrize(
    "arguments",
    [["foo"], ["train"], ["list", "nothing"], ["train", "--no-such-option"], ["demo", "--task", "foo"], ["compare"]],
)
def test_usage_errors_end_with_status_2(call, arguments) -> None:
    assert call(*arguments)[0] == 2


def test_a_setting_without_effect_warns(call) -> None:
    arguments = [
        "supervised.steps=20",
        "precision=fp32",
        "method=supervised",
        "loss.gamma_agree=2.0",
    ]
    status, _, err = call("train", "digits-20", *arguments, "--run-dir", "mine")
    assert (status, err) == (0, "warning: loss.gamma_agree has no effect on method=supervised.\n")


def test_the_demo_is_the_digits_preset(call, monkeypatch) -> None:
    asked = []
    monkeypatch.setattr("dmt.cli.demo.train_and_print", lambda *arguments: asked.append(arguments))
    assert call("demo", "--run-dir", "mine")[0] == 0
    assert asked == [("digits-20", [], Path("mine"))]


def test_as_a_program_of_its_own(tmp_path) -> None:
    """Through a real process once: entry point, exit status, no traceback, help without loading torch."""
    environment = {**os.environ, "PYTHONPROFILEIMPORTTIME": "1"}
    helped = subprocess.run(
        [sys.executable, "-m", "dmt.cli.main", "--help"], capture_output=True, text=True, env=environment, check=True
    )
    assert "Few labels" in helped.stdout
    assert "torch" not in helped.stderr
    failed = subprocess.run(
        [sys.executable, "-m", "dmt.cli.main", "train", "digits-20", "data.num_labeled=9999"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert failed.returncode == 2
    assert failed.stderr.startswith("error: data.num_labeled is 9999")
