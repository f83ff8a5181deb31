"""A signal in the middle of anything: the step is finished, written down, and the run goes on to the same bits."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor, nn

from dmt.errors import StoppedError
from dmt.run import run
from dmt.signals import orderly_stop
from tiny_runs import bits_of_run, differing, tiny_config, tiny_network, tiny_parts

CONFIG = tiny_config(checkpoint={"every_minutes": 60.0})


class Signalling(nn.Module):
    """A network that sends this process a signal while it works for the `at`-th time, whichever network it is."""

    calls = 0

    def __init__(self, at: int) -> None:
        super().__init__()
        self.inner, self._at = tiny_network(), at

    def forward(self, images: Tensor) -> Tensor:
        Signalling.calls += 1
        if Signalling.calls == self._at:
            os.kill(os.getpid(), signal.SIGTERM)
        output: Tensor = self.inner(images)
        return output


def start(folder: Path, *, at: int = -1, observer: Any = None, **changes: Any) -> dict[str, Any]:
    Signalling.calls = 0
    with orderly_stop():
        return run(
            CONFIG | changes, tiny_parts(), {"a": lambda: Signalling(at)}, run_dir=folder / "run", observer=observer
        )


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("uninterrupted")
    start(folder)
    return Signalling.calls, bits_of_run(folder / "run")


@pytest.mark.parametrize("share", [0.1, 0.3, 0.31, 0.5, 0.7, 0.9, 0.99])
def test_a_signal_anywhere(tmp_path: Path, uninterrupted: tuple[int, dict[str, Any]], share: float) -> None:
    num_calls, expected = uninterrupted
    with pytest.raises(StoppedError, match=r"^Stopped by SIGTERM; ") as stopped:
        start(tmp_path, at=round(share * num_calls))
    assert stopped.value.exit_status == 143
    assert not (tmp_path / "run" / "result.json").exists()
    start(tmp_path)
    assert differing(bits_of_run(tmp_path / "run"), expected) == []


def test_no_step_is_lost(tmp_path: Path) -> None:
    """Of supervised training, where a step is one pass but for the check of the network before it."""
    with pytest.raises(StoppedError, match=r"supervised: (\d+) of 50 steps are written down") as stopped:
        start(tmp_path, at=30)
    steps = int(str(stopped.value).split("supervised: ")[1].split(" of")[0])
    assert 20 < steps <= 30
    assert steps % 20 != 0, "not at the end of a window of steps"
    seen = Starts()
    start(tmp_path, observer=seen)
    assert seen.starts[0] == steps


class Starts:
    """An observer that notes how much was done of each piece of work when it began."""

    def __init__(self) -> None:
        self.starts: list[int] = []

    def task_started(self, title: str, total: int, done: int = 0) -> None:
        self.starts.append(done)

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None


def test_a_signal_in_the_last_step_of_a_stage(tmp_path: Path, uninterrupted: tuple[int, dict[str, Any]]) -> None:
    checks = 30 - _steps_of_a_stop(tmp_path / "probe", at=30)
    with pytest.raises(StoppedError, match="50 of 50 steps are written down"):
        start(tmp_path, at=50 + checks)
    start(tmp_path)
    assert differing(bits_of_run(tmp_path / "run"), uninterrupted[1]) == []


def _steps_of_a_stop(folder: Path, *, at: int) -> int:
    with pytest.raises(StoppedError) as stopped:
        start(folder, at=at)
    return int(str(stopped.value).split("supervised: ")[1].split(" of")[0])


def test_with_workers(tmp_path: Path, uninterrupted: tuple[int, dict[str, Any]]) -> None:
    with pytest.raises(StoppedError):
        start(tmp_path, at=uninterrupted[0] // 2, workers=2)
    start(tmp_path, workers=1)
    assert differing(bits_of_run(tmp_path / "run"), uninterrupted[1]) == []


@pytest.mark.parametrize("optimizer", [{"name": "adamw", "lr": 0.01}, {"lr": 0.05, "nesterov": True}])
def test_every_optimizer_goes_on_where_it_was(tmp_path: Path, optimizer: dict[str, Any]) -> None:
    start(tmp_path / "whole", optimizer=optimizer)
    calls = Signalling.calls
    for share in (0.2, 0.3):
        with pytest.raises(StoppedError):
            start(tmp_path, at=round(share * calls), optimizer=optimizer)
    start(tmp_path, optimizer=optimizer)
    assert differing(bits_of_run(tmp_path / "run"), bits_of_run(tmp_path / "whole/run")) == []
