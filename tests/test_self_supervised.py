"""A start from the images alone: the loss against a slow sum, the weights that networks begin with, and going on."""

import json
import math
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from dmt import self_supervised
from dmt.compare import candidates_of, compare
from dmt.config_files import load_config
from dmt.data.parts import Part
from dmt.errors import ConfigError, StoppedError
from dmt.losses import contrastive_loss
from dmt.report import write_report
from dmt.run import run
from dmt.signals import orderly_stop
from tiny_runs import TINY_NETWORKS, bits_of_run, differing, tiny_config, tiny_parts

SHORT = {"steps": 7, "batch": 10, "lr": 0.05}
NETWORKS = {"networks": {"a": {"name": "small_cnn"}, "b": {"name": "small_cnn"}}}


def config(**changes):
    return tiny_config(
        **{"self_supervised": SHORT, **NETWORKS, "duration": {"steps": 4}, "supervised": {"steps": 3}} | changes
    )


@pytest.mark.parametrize(
    ("optimizer", "settings", "rate"),
    [
        ({"lr": 0.02}, {}, 0.1),
        ({"name": "adamw", "lr": 0.002}, {}, 0.002),
        ({"name": "adamw", "lr": 0.002}, {"lr": 0.01}, 0.01),
        ({"name": "adamw"}, {}, 0.1),
    ],
)
def test_the_rate_of_sgd_is_no_rate_of_adamw(optimizer: dict[str, Any], settings: dict[str, Any], rate: float) -> None:
    made = load_config(
        {
            "task": "classification",
            "data": {"name": "x"},
            "optimizer": optimizer,
            "self_supervised": {"steps": 1} | settings,
        }
    )
    assert made.self_supervised is not None
    assert made.self_supervised.lr == rate


@pytest.mark.parametrize("count", [2, 3, 8])
@pytest.mark.parametrize("temperature", [0.1, 1.0, 7.0])
def test_the_loss_is_the_slow_sum_over_all_views(count: int, temperature: float) -> None:
    views = torch.randn(2 * count, 5, generator=torch.Generator().manual_seed(count), dtype=torch.float64) * 10
    rows = views.tolist()

    def similarity(i: int, j: int) -> float:
        dot = sum(x * y for x, y in zip(rows[i], rows[j], strict=True))
        return dot / math.hypot(*rows[i]) / math.hypot(*rows[j]) / temperature

    losses = []
    for i in range(2 * count):
        partner = (i + count) % (2 * count)
        others = [math.exp(similarity(i, j)) for j in range(2 * count) if j != i]
        losses.append(-math.log(math.exp(similarity(i, partner)) / sum(others)))
    slow = sum(losses) / len(losses)
    assert contrastive_loss(views, temperature=temperature).item() == pytest.approx(slow, rel=1e-5)


def test_views_that_agree_cost_little_and_strangers_much() -> None:
    apart = torch.eye(4)
    assert contrastive_loss(torch.cat([apart, apart]), temperature=0.05) < 1e-6
    assert contrastive_loss(torch.cat([apart, apart.roll(1, 0)]), temperature=0.05) > 10


def test_an_unknown_augmentation_is_told_by_its_own_key_before_anything_is_written(tmp_path: Path) -> None:
    wrong = config(data={"name": "digits", "num_labeled": 20}, self_supervised=SHORT | {"augment": "strong"})
    with pytest.raises(ConfigError, match=r"^self_supervised\.augment is 'strong'; known are default, none, digits"):
        run(wrong, run_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_networks_begin_with_what_the_images_taught(tmp_path: Path) -> None:
    # A learning rate of next to nothing shows what a stage began with.
    result = run(
        config(scheme="mutual", optimizer={"lr": 1e-30, "weight_decay": 0.0}, ema=None), tiny_parts(), run_dir=tmp_path
    )
    learned = {label: load_file(tmp_path / "self_supervised" / label / "last.safetensors") for label in "ab"}
    began = {
        "a": load_file(tmp_path / "supervised" / "last.safetensors"),
        "b": load_file(tmp_path / "rounds/0/b/last.safetensors"),
    }
    (classifier,) = (name for name, tensor in began["a"].items() if tensor.dim() == 2)
    for label in "ab":
        assert learned[label].keys() == began[label].keys()
        assert learned[label][classifier].shape[0] == 128  # of the projection, which is thrown away
        for name, tensor in began[label].items():
            if name.endswith("weight") and name != classifier:
                assert torch.equal(tensor, learned[label][name]), name
    assert not torch.equal(learned["a"]["0.weight"], learned["b"]["0.weight"])
    assert len(result["rounds"]) == 6
    of_starts = [
        json.loads((tmp_path / "self_supervised" / label / "DONE").read_text())["facts"]["seconds"] for label in "ab"
    ]
    of_stages = [row["seconds"] for row in result["rounds"]]
    assert result["seconds"] == pytest.approx(sum(of_starts) + sum(of_stages), abs=0.11)


def test_as_many_hidden_units_as_classes_do_not_pass_for_a_classifier(tmp_path: Path) -> None:
    settings = SHORT | {"hidden": 3}
    run(config(method="supervised", self_supervised=settings), tiny_parts(), run_dir=tmp_path)
    shapes = {tuple(tensor.shape) for tensor in load_file(tmp_path / "self_supervised/a/last.safetensors").values()}
    assert (4, 128) in shapes
    assert (3, 128) not in shapes


def test_half_precision_stays_out_of_the_loss() -> None:
    views = torch.randn(16, 64, generator=torch.Generator().manual_seed(0))
    expected = contrastive_loss(views, temperature=0.05)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(contrastive_loss(views, temperature=0.05), expected)


def test_the_report_does_not_call_its_baseline_the_labels_alone(tmp_path: Path) -> None:
    run(config(), tiny_parts(), run_dir=tmp_path)
    text = write_report(tmp_path).read_text()
    assert text.count("abels, begun self-supervised") >= 4  # the sentence, its tile, the chart and the table of classes
    assert "abels alone" not in text


def test_students_from_scratch_begin_there_too(tmp_path: Path) -> None:
    run(config(start="scratch", optimizer={"lr": 1e-30, "weight_decay": 0.0}, ema=None), tiny_parts(), run_dir=tmp_path)
    learned = load_file(tmp_path / "self_supervised/a/last.safetensors")
    for stage in ("supervised", "rounds/1/a", "rounds/2/a"):
        assert torch.equal(load_file(tmp_path / stage / "last.safetensors")["0.weight"], learned["0.weight"])


def test_it_learns(tmp_path: Path) -> None:
    run(config(method="supervised", self_supervised={"steps": 200, "batch": 32}), tiny_parts(), run_dir=tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if line["stage"] == "self_supervised/a"]
    assert losses[-1] < losses[0] - 0.5


@pytest.mark.parametrize("after", [1, 4])
def test_a_stopped_start_goes_on_to_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    run(config(), tiny_parts(), run_dir=tmp_path / "whole")
    calls = 0

    def signalling(projections, *, temperature):
        nonlocal calls
        calls += 1
        if calls == after:
            os.kill(os.getpid(), signal.SIGTERM)
        return contrastive_loss(projections, temperature=temperature)

    with monkeypatch.context() as patch, orderly_stop():
        patch.setattr(self_supervised, "contrastive_loss", signalling)
        with pytest.raises(StoppedError, match=f"network a: {after} of 7"):
            run(config(), tiny_parts(), run_dir=tmp_path / "stopped")
    run(config(), tiny_parts(), run_dir=tmp_path / "stopped")
    assert differing(bits_of_run(tmp_path / "stopped"), bits_of_run(tmp_path / "whole")) == []


def test_the_labels_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(config(method="supervised"), tiny_parts(), run_dir=tmp_path / "true")
    monkeypatch.setattr(Part, "labels", lambda self, positions: torch.zeros(len(positions), dtype=torch.int64))
    run(config(method="supervised"), tiny_parts(), run_dir=tmp_path / "false")
    for folder, is_same in (("self_supervised/a", True), ("supervised", False)):
        true, false = (load_file(tmp_path / name / folder / "last.safetensors") for name in ("true", "false"))
        assert all(torch.equal(true[name], false[name]) for name in true) is is_same


def test_own_networks_cannot_be_given_other_outputs(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="self_supervised needs networks that can be built with other outputs"):
        run(config(), tiny_parts(), TINY_NETWORKS, run_dir=tmp_path)


def test_masks_have_no_such_start() -> None:
    with pytest.raises(ConfigError, match="self_supervised: a start from images alone is for classification"):
        load_config("scenes-24", ["self_supervised.steps=5"])


def test_comparisons_share_the_start(tmp_path: Path) -> None:
    changes = [
        "self_supervised={steps: 3, batch: 8}", "supervised.steps=3", "duration.steps=2", "rounds.top_fractions=[1.0]",
        "batch={size: 8, labeled: 4}", "start=scratch", "precision=fp32",
    ]  # fmt: skip
    candidates = candidates_of("digits-20", ["curriculum_labeling", "dmt"], changes=changes)
    comparison = compare(candidates, [0], folder=tmp_path)
    first, second = (comparison.folders[name, 0] / "self_supervised/a" for name in ("curriculum_labeling", "dmt"))
    assert (first / "DONE").read_text() == (second / "DONE").read_text()  # its seconds included: it was copied
