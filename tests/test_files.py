import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from dmt.files import read_json, write_atomic, write_json, write_text


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
