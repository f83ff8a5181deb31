"""A segmentation run that is stopped anywhere goes on to the same bits, and two workers change none."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tiny_runs import RunMasks, bits_of_run, differing, mask_runner

CHANGES: dict[str, Any] = {
    "rounds": {"top_fractions": [0.6, 1.0], "dms_share": 0.8},
    "duration": {"steps": 24},
    "supervised": {"steps": 24},
    "checkpoint": {"every_steps": 1},
}


class StoppedError(Exception):
    pass


class Recorder:
    """Notes every call with the piece of work it was made in, and raises at the one with number `stop`."""

    def __init__(self, stop: int | None = None) -> None:
        self.events: list[str] = []
        self._title = ""
        self._stop = stop

    def __getattr__(self, name: str) -> Callable[..., None]:
        def told(*arguments: Any, **_: Any) -> None:
            if name == "task_started":
                self._title = str(arguments[0])
            self.events.append(f"{name}: {self._title}")
            if len(self.events) - 1 == self._stop:
                raise StoppedError

        return told


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> RunMasks:
    return mask_runner(monkeypatch, tmp_path)


PLACES = [
    "task_started: supervised",
    "task_advanced: round 0, network a",
    "task_advanced: round 0, network b: test",
    "task_advanced: round 1, network a: labels by round 0, network b",
    "task_finished: round 1, network a: labels by round 0, network b",
    "task_advanced: round 1, network b",
    "task_advanced: round 2, network a: labels by round 1, network b",
    "task_started: round 2, network b",
    "task_advanced: ensemble of the last round: test",
]


def test_stopped_anywhere_and_resumed_equals_uninterrupted(start: RunMasks, tmp_path: Path) -> None:
    recorder = Recorder()
    start(name="whole", observer=recorder, **CHANGES)
    expected = bits_of_run(tmp_path / "whole")
    assert sum(name.endswith("png") and "pseudo_labels" in name for name in expected) > 40
    for number, place in enumerate(PLACES):
        stop = recorder.events.index(place)
        with pytest.raises(StoppedError):
            start(name=str(number), observer=Recorder(stop), **CHANGES)
        assert not (tmp_path / str(number) / "result.json").exists()
        start(name=str(number), **CHANGES)
        assert differing(bits_of_run(tmp_path / str(number)), expected) == [], place


def test_workers_change_no_bit(start: RunMasks, tmp_path: Path) -> None:
    for workers in (0, 2):
        start(name=str(workers), workers=workers, **CHANGES)
    assert differing(bits_of_run(tmp_path / "0"), bits_of_run(tmp_path / "2")) == []
