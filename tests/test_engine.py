"""Devices and precision: what a step of the engine must not lose or keep."""

import gc
import os
import subprocess
import sys
import weakref
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import dmt
from dmt.checkpoint import load_checkpoint
from dmt.config_files import load_config
from dmt.engine import Engine, environment, peak_memory_mb, reset_peak_memory, resolve_precision
from dmt.errors import CheckpointError, ConfigError
from dmt.methods.base import dynamic_rule, offline_step
from dmt.types import Batch
from tiny_runs import tiny_config, tiny_network

PROCESSES = """
import sys, torch
from dmt.engine import Engine
engine = Engine("fp32")
network = engine.distribute(engine.place(torch.nn.Linear(1, 1, bias=False)))
engine.update(network(torch.tensor([[float(engine.rank)]])).sum(), [torch.optim.SGD(network.parameters(), lr=1.0)])
gradients = engine.gather([next(network.parameters()).grad.item()])
if engine.is_main:
    print(engine.world_size, list(engine.share(5)), gradients)
"""


def test_processes_without_a_gpu_work_together(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(PROCESSES)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, str(tmp_path / "main.py")], capture_output=True, text=True, env=environment, timeout=120, check=False
    )
    assert done.stdout.strip() == "2 [0, 2, 4] [0.5, 0.5]", done.stderr[-2000:]


class Other(Engine):
    """A process that is not the main one, which has said `word`."""

    is_main = False

    def __init__(self, word: object) -> None:
        super().__init__("fp32")
        self.word = word

    def gather(self, values: Sequence[object]) -> list[object]:
        return [self.word, *values]


def test_the_main_process_alone_looks_at_the_disk(tmp_path: Path) -> None:
    (tmp_path / "there").touch()
    for name, is_there in (("there", True), ("missing", False)):
        assert Engine("fp32").told_by_main((tmp_path / name).is_file) == is_there
        assert Other(not is_there).told_by_main((tmp_path / name).is_file) != is_there


def test_what_the_main_process_finds_wrong_is_wrong_on_all() -> None:
    def broken() -> bool:
        raise CheckpointError("it is broken")

    for engine in (Engine("fp32"), Other(CheckpointError("it is broken"))):
        with pytest.raises(CheckpointError, match="it is broken"):
            engine.told_by_main(broken)


def test_networks_are_let_go_after_their_stage() -> None:
    """A run prepares one for each stage; kept ones would fill the GPU."""
    engine = Engine("fp32")
    network = tiny_network()
    engine.distribute(engine.place(network))
    kept = weakref.ref(network)
    del network
    gc.collect()
    assert kept() is None


@pytest.mark.parametrize("batchnorm", ["update", "frozen"])
def test_every_weight_gets_a_gradient_after_the_pass_for_the_weights(batchnorm: str) -> None:
    """Both passes run under one autocast, whose cache of cast weights must not outlive the first.

    PyTorch 2.9 and older would hand the second pass casts without a gradient.
    """
    engine, network = Engine("bf16"), tiny_network().train()
    config = load_config(tiny_config(loss={"weight_batchnorm": batchnorm}))
    batch = Batch(
        images=torch.rand(6, 1, 8, 8),
        targets=torch.arange(6) % 3,
        confidence=torch.ones(6, dtype=torch.float64),
        is_labeled=torch.arange(6) < 3,
    )
    with engine.autocast():
        rule = dynamic_rule(config, 0.5)
        output = offline_step(network, batch, rule, config=config, generator=np.random.default_rng(0))
    assert output.loss.dtype == torch.float32
    engine.update(output.loss, [torch.optim.SGD(network.parameters(), lr=0.1)])
    weights = [module.weight for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in weights)


def test_a_stage_without_a_checkpoint_begins_with_a_fresh_loss_scale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the scale of the stage before would be carried on, but not by a resumed run."""
    engine, restored = Engine("fp32"), []
    monkeypatch.setattr(engine, "restore_scaler", restored.append)
    assert load_checkpoint(tmp_path / "none", {}, engine=engine, config_hash="") == 0
    assert restored == [{}]


def can_forget() -> bool:
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


@pytest.mark.skipif(not can_forget(), reason="only where the system can forget a peak")
def test_a_peak_of_memory_can_be_forgotten() -> None:
    held = torch.ones(2**26)  # 256 MB
    before = peak_memory_mb(held.device)
    del held
    assert peak_memory_mb(torch.device("cpu")) >= before
    reset_peak_memory()
    assert peak_memory_mb(torch.device("cpu")) < before - 200


def test_fp16_needs_a_gpu() -> None:
    with pytest.raises(ConfigError, match="it needs a GPU"):
        resolve_precision("fp16", torch.device("cpu"))
    assert resolve_precision("auto", torch.device("cpu")) in {"bf16", "fp32"}


def test_the_environment_names_what_figures_depend_on() -> None:
    told = environment(Engine("fp32"))
    assert told["dmt"] == dmt.__version__
    assert {"torch", "torchvision", "timm", "numpy", "pillow", "cpu", "threads", "precision"} <= told.keys()
    assert all(told.values())
