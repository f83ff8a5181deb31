"""A run that was stopped anywhere goes on to the very bits of one that was not."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import nn
from torch.utils.data import TensorDataset

import dmt
from dmt.checkpoint import CheckpointClock, Trainee, load_checkpoint, save_checkpoint, seconds_before
from dmt.config_sections import CheckpointConfig
from dmt.engine import Engine
from dmt.errors import CheckpointError
from dmt.models.ema import Ema
from dmt.models.network import Network, Preprocessing
from dmt.run import run as run_with
from dmt.stage_files import read_facts, weights_path
from tiny_runs import TINY_NETWORKS, bits_of_run, differing, tiny_config, tiny_parts

CONFIG = tiny_config(checkpoint={"every_steps": 20})
Event = tuple[str, tuple[Any, ...]]


def run(config: dict[str, Any], parts: dict[str, TensorDataset], **places: Any) -> dict[str, Any]:
    return run_with(config, parts, TINY_NETWORKS, **places)


class StoppedError(Exception):
    pass


class Recorder:
    """An observer that notes every call, and raises at the one with number `stop`."""

    def __init__(self, stop: int | None = None) -> None:
        self.events: list[Event] = []
        self._stop = stop

    def __getattr__(self, name: str) -> Callable[..., None]:
        def told(*arguments: Any, **_: Any) -> None:
            self.events.append((name, arguments))
            if len(self.events) - 1 == self._stop:
                raise StoppedError

        return told


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Event], dict[str, Any]]:
    folder, recorder = tmp_path_factory.mktemp("uninterrupted") / "run", Recorder()
    run(CONFIG, tiny_parts(), run_dir=folder, observer=recorder)
    return recorder.events, bits_of_run(folder)


def stops(events: list[Event]) -> dict[str, int]:
    """A place in every kind of work, by the events of a run that was not stopped."""
    places: dict[str, int] = {}
    title, advanced = "", 0
    for number, (name, arguments) in enumerate(events):
        if name == "task_started":
            title, advanced = str(arguments[0]), 0
            places.setdefault(f"before {title}", number)
        elif name == "task_advanced":
            advanced += 1
            places[f"{title}, part {advanced}"] = number
        elif name != "message":
            places[f"{name} after {title}"] = number
    return places


def test_the_recorder_sees_every_kind_of_work(uninterrupted: tuple[list[Event], dict[str, Any]]) -> None:
    places = " | ".join(stops(uninterrupted[0]))
    for work in ("supervised, part 1", "round 1, network a, part 2", "labels by", "test, part", "before round 2"):
        assert work in places


@pytest.mark.parametrize(
    "place",
    [
        "supervised, part 1",
        "supervised, part 2",
        "supervised, part 3",
        "supervised: test, part 1",
        "before round 1, network a: labels by",
        "round 1, network a: labels by supervised, part 2",
        "before round 1, network a",
        "round 1, network a, part 2",
        "round 1, network a, part 3",
        "round 1, network a: test, part 2",
        "before round 2, network a: labels by",
        "round 2, network a, part 1",
        "round 2, network a: test, part 1",
    ],
)
def test_stopped_and_resumed_equals_uninterrupted(
    tmp_path: Path, uninterrupted: tuple[list[Event], dict[str, Any]], place: str
) -> None:
    events, expected = uninterrupted
    stop = next(number for name, number in stops(events).items() if name.startswith(place))
    with pytest.raises(StoppedError):
        run(CONFIG, tiny_parts(), run_dir=tmp_path / "run", observer=Recorder(stop))
    assert not (tmp_path / "run" / "result.json").exists()
    resumed = Recorder()
    run(CONFIG, tiny_parts(), run_dir=tmp_path / "run", observer=resumed)
    assert differing(bits_of_run(tmp_path / "run"), expected) == []
    if place in {"supervised, part 3", "round 1, network a, part 2"}:
        # Two windows of 20 steps were written down: they are not trained again.
        starts = [arguments for name, arguments in resumed.events if name == "task_started"]
        assert any(tuple(arguments[1:3]) in {(50, 40), (50, 20)} for arguments in starts)


def test_a_run_stopped_again_and_again_arrives_at_the_same_bits(
    tmp_path: Path, uninterrupted: tuple[list[Event], dict[str, Any]]
) -> None:
    for stop in (4, 7, 9, 6, 12):
        with pytest.raises(StoppedError):
            run(CONFIG, tiny_parts(), run_dir=tmp_path / "run", observer=Recorder(stop))
    run(CONFIG, tiny_parts(), run_dir=tmp_path / "run")
    assert differing(bits_of_run(tmp_path / "run"), uninterrupted[1]) == []


def global_states() -> dict[str, list[Any]]:
    numpy_state = np.random.get_state()  # noqa: NPY002 - looked at, not drawn from
    return {
        "numpy": [np.asarray(part).tolist() for part in numpy_state],
        "python": [random.getstate()],
        "torch": torch.get_rng_state().tolist(),
    }


def set_global_states(seed: int) -> None:
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - the global generator is the point
    random.seed(seed)


def test_the_state_of_global_generators_changes_no_bit(
    tmp_path: Path, uninterrupted: tuple[list[Event], dict[str, Any]]
) -> None:
    set_global_states(12345)
    run(CONFIG, tiny_parts(), run_dir=tmp_path / "run")
    assert differing(bits_of_run(tmp_path / "run"), uninterrupted[1]) == []


@pytest.mark.parametrize("library", ["numpy", "python", "torch"])
def test_nothing_draws_from_a_global_generator(tmp_path: Path, library: str) -> None:
    config = tiny_config(duration={"steps": 3}, supervised={"steps": 3})
    set_global_states(12345)
    before = global_states()[library]
    run(config, tiny_parts(), run_dir=tmp_path / "run")
    assert global_states()[library] == before


def test_workers_change_no_bit(tmp_path: Path, uninterrupted: tuple[list[Event], dict[str, Any]]) -> None:
    run(CONFIG | {"workers": 2}, tiny_parts(), run_dir=tmp_path / "run")
    # The config's hash, and so the stores' manifests, leave the number of workers out.
    assert differing(bits_of_run(tmp_path / "run"), uninterrupted[1]) == []


def test_checkpoints_change_no_bit(tmp_path: Path, uninterrupted: tuple[list[Event], dict[str, Any]]) -> None:
    run(tiny_config(), tiny_parts(), run_dir=tmp_path / "run")
    assert differing(bits_of_run(tmp_path / "run"), uninterrupted[1]) == []


def test_a_mutual_run_with_folds_resumes(tmp_path: Path) -> None:
    config = CONFIG | {
        "scheme": "mutual",
        "rounds": {"top_fractions": [1.0]},
        "validation": {"source": "cross_validation"},
        "duration": {"steps": 25},
        "supervised": {"steps": 25},
    }
    recorder = Recorder()
    run(config, tiny_parts(), run_dir=tmp_path / "whole", observer=recorder)
    with pytest.raises(StoppedError):
        run(config, tiny_parts(), run_dir=tmp_path / "run", observer=Recorder(2 * len(recorder.events) // 5))
    run(config, tiny_parts(), run_dir=tmp_path / "run")
    assert differing(bits_of_run(tmp_path / "run"), bits_of_run(tmp_path / "whole")) == []


def test_a_finished_run_is_not_touched(tmp_path: Path) -> None:
    config = tiny_config(duration={"steps": 3}, supervised={"steps": 3})
    first = run(config, tiny_parts(), run_dir=tmp_path / "run")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*") if path.name != "lock"}
    assert run(config, tiny_parts(), run_dir=tmp_path / "run") == first
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_a_finished_run_whose_stage_is_not_done_any_more_trains_it_again(tmp_path: Path) -> None:
    """Such is the advice of what reads a stage whose file was changed."""
    config = tiny_config(duration={"steps": 3}, supervised={"steps": 3})
    for name in ("whole", "run"):
        run(config, tiny_parts(), run_dir=tmp_path / name)
    stage = tmp_path / "run/rounds/1/a"
    weights_path(stage).write_bytes(b"cut")
    with pytest.raises(CheckpointError, match=r"was changed after it was written.*delete .*DONE"):
        read_facts(stage)
    (stage / "DONE").unlink()
    recorder = Recorder(6)
    with pytest.raises(StoppedError):
        run(config, tiny_parts(), run_dir=tmp_path / "run", observer=recorder)
    assert "is not done any more" in str(recorder.events)
    assert not (tmp_path / "run/result.json").exists()
    run(config, tiny_parts(), run_dir=tmp_path / "run")
    assert differing(bits_of_run(tmp_path / "run"), bits_of_run(tmp_path / "whole")) == []
    dmt.load(tmp_path / "run", models=TINY_NETWORKS)
    shutil.rmtree(tmp_path / "run/rounds")  # for its space
    assert run(config, tiny_parts(), run_dir=tmp_path / "run")["last_round"]
    with pytest.raises(CheckpointError, match=r"is not there any more.*delete .*result\.json"):
        dmt.load(tmp_path / "run", models=TINY_NETWORKS)


def test_steps_are_logged_once_however_often_a_run_is_stopped(
    tmp_path: Path, uninterrupted: tuple[list[Event], dict[str, Any]]
) -> None:
    config = tiny_config()  # no checkpoint is due: stages start anew
    stop = next(number for name, number in stops(uninterrupted[0]).items() if name == "supervised, part 2")
    with pytest.raises(StoppedError):
        run(config, tiny_parts(), run_dir=tmp_path / "run", observer=Recorder(stop))
    run(config, tiny_parts(), run_dir=tmp_path / "run")
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == len(set(lines))


def stopped_run(folder: Path, events: list[Event]) -> Path:
    """A run folder with a checkpoint in its first stage; returns the checkpoint."""
    stop = stops(events)["supervised, part 2"]
    with pytest.raises(StoppedError):
        run(CONFIG, tiny_parts(), run_dir=folder, observer=Recorder(stop))
    return folder / "supervised" / "checkpoint" / "state.safetensors"


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_a_truncated_checkpoint_is_named(
    tmp_path: Path, uninterrupted: tuple[list[Event], dict[str, Any]], share: float
) -> None:
    path = stopped_run(tmp_path / "run", uninterrupted[0])
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError) as caught:
        run(CONFIG, tiny_parts(), run_dir=tmp_path / "run")
    assert str(path) in str(caught.value)
    path.unlink()
    run(CONFIG, tiny_parts(), run_dir=tmp_path / "run")
    assert differing(bits_of_run(tmp_path / "run"), uninterrupted[1]) == []


def test_a_checkpoint_of_another_run_is_refused(
    tmp_path: Path, uninterrupted: tuple[list[Event], dict[str, Any]]
) -> None:
    path = stopped_run(tmp_path / "one", uninterrupted[0])
    other = CONFIG | {"seed": 1}
    with pytest.raises(StoppedError):
        run(other, tiny_parts(), run_dir=tmp_path / "two", observer=Recorder(2))
    there = tmp_path / "two" / path.relative_to(tmp_path / "one")
    there.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, there)
    with pytest.raises(CheckpointError, match="another run") as caught:
        run(other, tiny_parts(), run_dir=tmp_path / "two")
    assert str(there) in str(caught.value)


def trainee(seed: int) -> Trainee:
    torch.manual_seed(seed)
    backbone = nn.Sequential(nn.Conv2d(1, 3, 2), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(3, 2))
    network = Network(backbone, Preprocessing(mean=(0.5,), std=(0.5,)), num_classes=2, name="tiny")
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01)
    return Trainee(network, optimizer, Ema(network, decay=0.9, warmup=True))


def advance(one: Trainee, steps: range) -> None:
    for step in steps:
        images = torch.rand(6, 1, 2, 2, generator=torch.Generator().manual_seed(step))
        one.optimizer.zero_grad()
        one.network.train()(images).square().mean().backward()
        one.optimizer.step()
        assert one.ema is not None
        one.ema.update()


def state(one: Trainee) -> dict[str, torch.Tensor]:
    assert one.ema is not None
    averages = {f"ema/{name}": value for name, value in one.ema.state_dict().items()}
    return dict(one.network.state_dict()) | averages


def test_all_state_of_two_trainees_goes_through_one_file(tmp_path: Path) -> None:
    engine, path = Engine("fp32"), tmp_path / "state.safetensors"
    trained = {"a": trainee(0), "b": trainee(1)}
    for one in trained.values():
        advance(one, range(5))
    save_checkpoint(path, trained, 5, engine=engine, config_hash="h", seconds=7.5)
    fresh = {"a": trainee(2), "b": trainee(3)}
    assert load_checkpoint(path, fresh, engine=engine, config_hash="h") == 5
    for label in "ab":
        for one in (trained[label], fresh[label]):
            advance(one, range(5, 12))  # tells momenta and the averages' count apart too
        first, second = state(trained[label]), state(fresh[label])
        assert first.keys() == second.keys()
        assert all(torch.equal(first[name], second[name]) for name in first)


def test_no_checkpoint_is_step_zero_and_the_file_holds_no_pickle(tmp_path: Path) -> None:
    engine, path = Engine("fp32"), tmp_path / "state.safetensors"
    assert load_checkpoint(path, {"a": trainee(0)}, engine=engine, config_hash="h") == 0
    save_checkpoint(path, {"a": trainee(0)}, 3, engine=engine, config_hash="h", seconds=7.5)
    with safe_open(path, framework="pt") as file:
        assert file.metadata()["step"] == "3"


def test_the_seconds_of_earlier_starts_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    assert seconds_before(path) == 0
    save_checkpoint(path, {"a": trainee(0)}, 3, engine=Engine("fp32"), config_hash="h", seconds=7.5)
    assert seconds_before(path) == 7.5
    path.write_bytes(b"broken")
    assert seconds_before(path) == 0


def test_a_resumed_stage_says_how_long_it_took_in_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dmt.stages.seconds_before", lambda path: 1000.0 * (path.parent.parent.name == "supervised"))
    result = run_with(tiny_config(), tiny_parts(), TINY_NETWORKS, run_dir=tmp_path / "run")
    assert result["rounds"][0]["seconds"] > 1000 > result["rounds"][1]["seconds"]
    assert result["seconds"] > 1000


@pytest.mark.parametrize("content", [b"", b"{}", b"\x80\x04K\x01.", b"x" * 1000])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "state.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"state\.safetensors"):
        load_checkpoint(path, {"a": trainee(0)}, engine=Engine("fp32"), config_hash="h")


def test_the_clock_counts_steps() -> None:
    clock = CheckpointClock(CheckpointConfig(every_steps=50))
    assert [clock.is_due(20) for _ in range(8)] == [False, False, True, False, False, True, False, False]


def test_the_clock_watches_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("dmt.checkpoint.time.monotonic", lambda: now[0])
    clock = CheckpointClock(CheckpointConfig(every_minutes=1.0))
    due = []
    for second in (30.0, 59.0, 61.0, 90.0, 121.0):
        now[0] = second
        due.append(clock.is_due(1))
    assert due == [False, False, True, False, True]
