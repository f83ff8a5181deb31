import errno
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from dmt.errors import ConfigError
from dmt.files import check_output, read_json, write_atomic, write_json, write_text


class CrashError(Exception):
    pass


def test_text_and_json_come_back(tmp_path: Path) -> None:
    write_text(tmp_path / "new" / "deeper" / "a.txt", "größe\n")
    assert (tmp_path / "new" / "deeper" / "a.txt").read_text(encoding="utf-8") == "größe\n"
    value = {"a": [1, 2.5, None, "x"], "b": {"c": True}}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value == json.loads((tmp_path / "a.json").read_text())


@pytest.mark.parametrize("error", [CrashError, KeyboardInterrupt, OSError])
def test_a_crash_in_the_writer_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write_half(temporary: Path) -> None:
        temporary.write_text("ha")
        raise error

    with pytest.raises(error):
        write_atomic(path, write_half)
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


def test_a_disk_that_turns_out_full_at_the_sync_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(OSError, match="No space left"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


def test_a_folder_that_cannot_be_synced_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_folders(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr("os.fsync", no_folders)
    write_text(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text() == "new"


def test_the_old_file_stands_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    seen = []

    def write(temporary: Path) -> None:
        assert temporary.parent == tmp_path  # a rename across file systems would be no rename
        temporary.write_text("ne")
        seen.append(path.read_text())
        temporary.write_text("new")

    write_atomic(path, write)
    assert seen == ["old"]
    assert path.read_text() == "new"


def test_a_writer_that_replaces_its_file_is_fine(tmp_path: Path) -> None:
    def write(temporary: Path) -> None:
        temporary.unlink()
        temporary.write_bytes(b"\x00\x01")

    write_atomic(tmp_path / "a.bin", write)
    assert (tmp_path / "a.bin").read_bytes() == b"\x00\x01"


def test_nan_is_no_json_and_leaves_the_old_file(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"a": 1})
    for value in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="JSON"):
            write_json(tmp_path / "a.json", {"a": value})
    assert read_json(tmp_path / "a.json") == {"a": 1}


@pytest.fixture(params=[0o022, 0o077, 0o002, 0o000])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    old = os.umask(request.param)
    yield request.param
    os.umask(old)


def test_permissions_follow_the_umask(tmp_path: Path, umask: int) -> None:
    write_text(tmp_path / "a.txt", "x")
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o664 & ~umask
    current = os.umask(umask)
    assert current == umask


@pytest.mark.parametrize("name", ["n" * 255, "\N{SNOWMAN}" * 85, "\N{GRINNING FACE}" * 63 + ".ab"])
def test_a_name_as_long_as_file_systems_allow(tmp_path: Path, name: str) -> None:
    assert len(name.encode()) == 255
    write_text(tmp_path / name, "x")
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("is_folder", [False, True])
@pytest.mark.parametrize("name", ["file/below", "/proc/nothing", "n" * 300, "/dev/null"])
def test_outputs_that_cannot_be_are_refused_in_a_sentence(tmp_path: Path, name: str, is_folder: bool) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="Name another"):
        check_output(tmp_path / name, is_folder=is_folder)


def test_an_output_is_a_file_or_a_folder_as_it_is_meant(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    for name in ("file", "folder"):
        with pytest.raises(ConfigError, match="is there already, and is no"):
            check_output(tmp_path / name, is_folder=name == "file")
        check_output(tmp_path / name, is_folder=name == "folder")
        check_output(tmp_path / "new" / name, is_folder=name == "folder")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder"]


def test_a_full_disk_is_no_wrong_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    with pytest.raises(OSError, match="No space"):
        check_output(tmp_path / "file")
