"""Losses that are NaN or infinite: a step is left out and counted; too many in a row end the run in good order."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from dmt.engine import Engine
from dmt.errors import NonFiniteError
from dmt.finite import MAX_SKIPPED
from dmt.run import run
from tiny_runs import TINY_NETWORKS, bits_of_run, differing, tiny_config, tiny_network, tiny_parts


class Spoiled(nn.Module):
    """A network whose first layer gives NaN or infinity in some of its training passes, before any BatchNorm."""

    calls = 0

    def __init__(self, at: Collection[int], value: float) -> None:
        super().__init__()
        self.inner, self._at, self._value = tiny_network(), at, value

    def forward(self, images: Tensor) -> Tensor:
        if self.training:
            Spoiled.calls += 1
            if Spoiled.calls in self._at:
                images = images * self._value
        output: Tensor = self.inner(images)
        return output


def start(folder: Path, at: Collection[int] = (), value: float = float("nan"), **changes: Any) -> dict[str, Any]:
    Spoiled.calls = 0
    config = tiny_config(mixup={"alpha": None}, **changes)
    return run(config, tiny_parts(), {"a": lambda: Spoiled(at, value)}, run_dir=folder / "run")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("ema", [{"decay": 0.9}, None])
def test_a_bad_step_is_left_out_and_counted(tmp_path: Path, value: float, ema: Any) -> None:
    """Calls 1 to 50 are supervised training; a row's ten steps in one window, one in the next, none in the third."""
    at = {3, 4, *range(8, 18), 30}
    result = start(tmp_path, at, value, ema=ema)
    supervised, *later = result["rounds"]
    assert supervised["skipped_steps"] == len(at)
    assert all("skipped_steps" not in row for row in later)
    for path in (tmp_path / "run").rglob("*.safetensors"):
        assert all(bool(tensor.isfinite().all()) for tensor in load_file(path).values()), path
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [line.get("skipped") for line in lines[:3]] == [12, 1, None]
    assert all(0 < line["loss"] < 10 for line in lines)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_step_that_is_left_out_changes_no_weight_and_no_momentum(value: float) -> None:
    engine = Engine("fp32")
    torch.manual_seed(0)
    network = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    slow = [parameter.detach().clone() for parameter in network.parameters()]
    momenta = [torch.zeros_like(parameter) for parameter in slow]
    for step in range(8):
        inputs = torch.randn(4, 3)
        engine.update(network(inputs).square().sum() * (value if step in {2, 5} else 1.0), [optimizer])
        if step in {2, 5}:
            continue
        weight, bias = slow
        outputs = inputs @ weight.T + bias
        gradients = [(2 * outputs * inputs).sum(dim=0, keepdim=True), (2 * outputs).sum(dim=0)]
        for parameter, momentum, gradient in zip(slow, momenta, gradients, strict=True):
            momentum.mul_(0.9).add_(gradient + 0.1 * parameter)
            parameter.sub_(0.1 * momentum)
    for parameter, expected in zip(network.parameters(), slow, strict=True):
        assert torch.allclose(parameter, expected, atol=1e-5)


def test_the_engine_takes_the_very_steps_of_plain_sgd() -> None:
    """The loss scaling that leaves steps out scales by 1."""
    engine, weights = Engine("fp32"), []
    for update in (lambda loss, sgd: engine.update(loss, [sgd]), _plain_update):
        torch.manual_seed(0)
        network = tiny_network()
        sgd = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
        for _ in range(5):
            update(network(torch.rand(4, 1, 8, 8)).square().sum(), sgd)
        weights.append(torch.cat([parameter.flatten() for parameter in network.parameters()]))
    assert torch.equal(*weights)


def _plain_update(loss: Tensor, sgd: torch.optim.Optimizer) -> None:
    sgd.zero_grad()
    loss.backward()
    sgd.step()


def test_too_many_in_a_row_end_the_run_and_keep_what_was_good(tmp_path: Path) -> None:
    bad = range(22, 22 + MAX_SKIPPED + 1)
    with pytest.raises(
        NonFiniteError, match=rf"infinite in {MAX_SKIPPED + 1} steps in a row, up to step 31, supervised"
    ) as error:
        start(tmp_path, bad, checkpoint={"every_steps": 20})
    assert error.value.exit_status == 4
    assert (tmp_path / "run/supervised/checkpoint/state.safetensors").is_file()
    start(tmp_path, checkpoint={"every_steps": 20})
    start(tmp_path / "whole", checkpoint={"every_steps": 20})
    assert differing(bits_of_run(tmp_path / "run"), bits_of_run(tmp_path / "whole/run")) == []


def test_weights_that_went_bad_by_themselves_are_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    update = Engine.update

    def spoil(engine: Engine, loss: Tensor, optimizers: Any) -> None:
        update(engine, loss, optimizers)
        if spoil.calls == 19:  # type: ignore[attr-defined]
            with torch.no_grad():
                optimizers[0].param_groups[0]["params"][0].view(-1)[0] = float("inf")
        spoil.calls += 1  # type: ignore[attr-defined]

    spoil.calls = 0  # type: ignore[attr-defined]
    monkeypatch.setattr(Engine, "update", spoil)
    config = tiny_config(checkpoint={"every_steps": 20})
    with pytest.raises(NonFiniteError, match="A weight is NaN or infinite after step 19"):
        run(config, tiny_parts(), TINY_NETWORKS, run_dir=tmp_path / "run")
    assert not (tmp_path / "run/supervised/checkpoint").exists()


def test_bad_weights_of_one_process_end_the_run_on_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Engine, "gather", lambda _, values: [*values, False] if values == [True] else list(values))
    with pytest.raises(NonFiniteError, match="A weight is NaN or infinite"):
        run(tiny_config(), tiny_parts(), TINY_NETWORKS, run_dir=tmp_path / "run")


class FiniteLossBrokenGradient(nn.Module):
    """The root of 0 has no finite gradient, and adds nothing to a finite loss."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.root = tiny_network(), nn.Parameter(torch.zeros(1))

    def forward(self, images: Tensor) -> Tensor:
        output: Tensor = self.inner(images)
        return output + self.root.sqrt() * 0.0


def test_steps_with_a_finite_loss_and_a_broken_gradient_end_the_run_too(tmp_path: Path) -> None:
    with pytest.raises(NonFiniteError, match="The loss or its gradient is NaN or infinite in 11 steps in a row"):
        run(tiny_config(), tiny_parts(), {"a": FiniteLossBrokenGradient}, run_dir=tmp_path / "run")


def test_any_number_of_steps_may_be_left_out_one_at_a_time() -> None:
    """Each is counted, and none makes later steps smaller."""
    engine = Engine("fp32")
    weight = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    for _ in range(200):
        engine.update(weight.sum() * float("nan"), [optimizer])
        engine.update(weight.sum() * 1e-6, [optimizer])
        assert engine.take_skipped() == 1
    assert weight.item() == pytest.approx(-200e-6, rel=1e-3)
    assert engine.take_skipped() == 0


def test_fp16_counts_the_steps_that_no_scale_would_save() -> None:
    engine = Engine("fp32")
    engine._scaler = torch.amp.GradScaler("cpu")  # as fp16 has it on a GPU: from 65,536
    weight = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    for left_out, counted in ((16, 0), (20, 20), (200, 149)):
        for _ in range(left_out):
            engine.update(weight.sum() * float("nan"), [optimizer])
        assert engine.take_skipped() == counted
