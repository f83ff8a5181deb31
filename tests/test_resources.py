"""Running out of disk, memory or workers: said in the user's terms, with status 4, and the run goes on later."""

import errno
import os
import shutil
import signal
import time
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import Dataset

from dmt.config_files import load_config
from dmt.data.loaders import load_in_order
from dmt.errors import ShortageError
from dmt.files import remove_leftovers, write_atomic
from dmt.resources import require_space, shortages_told
from dmt.run import run
from tiny_runs import TINY_NETWORKS, RunMasks, bits_of_run, differing, mask_runner, tiny_config, tiny_parts

Usage = namedtuple("Usage", "total used free")


def free(monkeypatch: pytest.MonkeyPatch, num_bytes: int) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**12, 0, num_bytes))


def test_space_is_asked_for_of_the_disk_that_the_folder_will_be_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[Path] = []
    monkeypatch.setattr(shutil, "disk_usage", lambda path: asked.append(path) or Usage(10**12, 0, 5_000_000))
    require_space(tmp_path / "not" / "yet", 5_000_000, what="It")
    assert asked == [tmp_path]
    with pytest.raises(ShortageError, match=r"It will take up to 3\.0 GB, but the disk of .* has 5\.0 MB left"):
        require_space(tmp_path, 3_000_000_000, what="It")


def test_labeling_asks_before_it_begins_and_the_run_goes_on_when_there_is_room(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run_masks: RunMasks = mask_runner(monkeypatch, tmp_path)
    run_masks(name="whole")
    with monkeypatch.context() as full:
        free(full, 1_000)
        with pytest.raises(ShortageError, match=r"round 1, network a: the pseudo labels of \d+ images will take up to"):
            run_masks()
    assert not (tmp_path / "run/supervised").exists(), "before hours of training, not after"
    run_masks()
    assert differing(bits_of_run(tmp_path / "run"), bits_of_run(tmp_path / "whole")) == []


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "The disk is full"),
        (MemoryError(), r"Out of memory, with batch\.size=8, training images of 30 x 40 and workers=0"),
        (torch.OutOfMemoryError("CUDA out of memory"), r"lower batch\.size in a new run folder"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "Out of memory"),
    ],
)
def test_what_ran_out_is_said_in_the_users_terms(error: Exception, words: str) -> None:
    config = load_config(tiny_config())
    with pytest.raises(ShortageError, match=words) as told, shortages_told(config, image_size=(30, 40)):
        raise error
    assert told.value.exit_status == 4


class Killed(Dataset[int]):
    """Its items end the process that asks for the third."""

    def __getitem__(self, index: int) -> int:
        if index == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return index


@pytest.mark.parametrize("seconds_of_work", [0.0, 2.0], ids=["while waited for", "while something else is done"])
def test_a_worker_that_is_killed_is_told_of(seconds_of_work: float) -> None:
    config = load_config(tiny_config(workers=1))
    words = "lower workers, which is 1 and changes no result"
    with pytest.raises(ShortageError, match=words), shortages_told(config, image_size=(1, 1)):
        [time.sleep(seconds_of_work) for _ in load_in_order(Killed(), range(5), workers=1)]


class Broken(Dataset[int]):
    """A user's own, with a bug."""

    def __getitem__(self, index: int) -> int:
        raise RuntimeError(f"sizes of tensors must match, at {index}")


def test_a_bug_in_a_users_data_set_is_no_lack_of_memory() -> None:
    quiet = shortages_told(load_config(tiny_config()), image_size=(1, 1))
    with pytest.raises(RuntimeError, match="sizes of tensors must match") as told, quiet:
        list(load_in_order(Broken(), range(3), workers=1))
    assert not isinstance(told.value, ShortageError)


def test_masks_have_more_to_lower() -> None:
    config = load_config({"task": "segmentation", "data": {"name": "scenes"}, "crop": {"size": [16, 20]}})
    words = r"training images of 16 x 20 .* lower batch\.size, crop\.size or data\.image_size"
    with pytest.raises(ShortageError, match=words), shortages_told(config, image_size=(30, 40)):
        raise MemoryError


@pytest.mark.parametrize("error", [RuntimeError("a bug"), OSError(errno.EIO, "broken disk"), ValueError()])
def test_everything_else_is_left_as_it_is(error: Exception) -> None:
    with pytest.raises(type(error)) as told, shortages_told(load_config(tiny_config()), image_size=(1, 1)):
        raise error
    assert told.value is error


def test_a_disk_that_is_full_at_the_start_is_no_mistake_of_the_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(self: Path, *arguments: Any, **keywords: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(OSError, match="No space left") as told:
        run(tiny_config(), tiny_parts(), TINY_NETWORKS, run_dir=tmp_path / "run")
    assert told.value.errno == errno.ENOSPC, "which the command tells as a full disk, with status 4"


def test_a_disk_that_fills_up_loses_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every file that a run writes is, in turn, the one that there is no room for."""
    run(tiny_config(), tiny_parts(), TINY_NETWORKS, run_dir=tmp_path / "whole")
    replace, stops = Path.replace, 0
    for room in range(100):
        written = 0

        def full(self: Path, target: Any, room: int = room) -> Path:
            nonlocal written
            written += 1
            if written > room:
                raise OSError(errno.ENOSPC, "No space left on device")
            return replace(self, target)

        try:
            with monkeypatch.context() as patch:
                patch.setattr(Path, "replace", full)
                run(tiny_config(), tiny_parts(), TINY_NETWORKS, run_dir=tmp_path / "run")
            break
        except (ShortageError, OSError):
            stops += 1
            assert not list((tmp_path / "run").rglob("*.dmt-tmp")), "what could not be finished was taken away"
    assert stops >= 3
    assert differing(bits_of_run(tmp_path / "run"), bits_of_run(tmp_path / "whole")) == []


def test_what_killed_processes_left_is_taken_away(tmp_path: Path) -> None:
    (tmp_path / "rounds/1").mkdir(parents=True)
    left = tmp_path / "rounds/1/.last.safetensors.x1y2.dmt-tmp"
    folder = tmp_path / "rounds/.x3.dmt-tmp"
    folder.mkdir()
    for path in (left, folder / "w.safetensors", tmp_path / ".mine.tmp", tmp_path / "rounds/kept.json"):
        path.write_text("half")
    remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == [".mine.tmp", "kept.json"]


def test_temporary_files_are_named_as_leftovers_are(tmp_path: Path) -> None:
    """What a process leaves that is killed between writing and renaming."""
    seen: list[Path] = []
    write_atomic(tmp_path / "x.json", lambda path: (seen.append(path), path.write_text("1")))
    shutil.copy(tmp_path / "x.json", seen[0])
    remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]
