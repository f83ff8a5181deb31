"""Which files are meant by what a user names."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from dmt.data.image_files import IMAGE_SUFFIXES, walk_files
from dmt.data.input_files import InputFile, find_inputs, output_names
from dmt.errors import DataError


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def found(*inputs: str) -> list[str]:
    return [str(file.path) for file in find_inputs(inputs, IMAGE_SUFFIXES)]


def named(*inputs: str) -> list[str]:
    return [str(file.name) for file in find_inputs(inputs, IMAGE_SUFFIXES)]


def test_a_tilde_is_the_home_folder(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pattern in quotes keeps it, and so do programs."""
    monkeypatch.setenv("HOME", str(here))
    touch("in/a.png", "in/b.png", "~nobody-of-that-name/c.png")
    files = [str(here / "in/a.png"), str(here / "in/b.png")]
    assert found("~/in") == found("~/in/*.png") == files
    assert found("~nobody-of-that-name") == ["~nobody-of-that-name/c.png"]


def test_folders_are_searched_whole_and_sorted(here: Path) -> None:
    touch("in/b.png", "in/a.JPG", "in/sub/deep/c.tif", "in/notes.txt", "in/.hidden.png", "in/.git/d.png")
    assert found("in") == ["in/a.JPG", "in/b.png", "in/sub/deep/c.tif"]
    assert named("in") == ["a.JPG", "b.png", "sub/deep/c.tif"]


def test_named_files_are_taken_whatever_they_are(here: Path) -> None:
    touch("notes.txt")
    assert found("notes.txt", "absent.png", r"C:\photos\x.png") == ["notes.txt", "absent.png", r"C:\photos\x.png"]


def test_patterns(here: Path) -> None:
    touch("in/b.png", "in/a.jpg", "in/sub/c.png", "in/sub/d.txt")
    assert found("in/*.png") == ["in/b.png"]
    assert found("in/**/*.png") == ["in/b.png", "in/sub/c.png"]
    assert found("in/**") == ["in/a.jpg", "in/b.png", "in/sub/c.png"]
    assert named("in/**/*.png") == ["b.png", "sub/c.png"]
    assert found(str(here / "in/s*")) == [str(here / "in/sub/c.png")]


def test_a_name_with_signs_of_patterns_is_a_name_first(here: Path) -> None:
    touch("in/a[1].png", "in/a1.png")
    assert found("in/a[1].png") == ["in/a[1].png"]


def test_no_file_is_found_twice_and_the_order_is_the_users(here: Path) -> None:
    touch("in/a.png", "in/b.png")
    assert found("in/b.png", "in", "in/*.png") == ["in/b.png", "in/a.png"]


def test_a_file_that_several_ways_lead_to_is_found_once(here: Path) -> None:
    touch("in/a.png", "in/b.png")
    (here / "linked").symlink_to(here / "in")
    (here / "in/c.png").symlink_to(here / "in/a.png")
    assert found("in/b.png", str(here / "in"), "in/../in", "linked") == ["in/b.png", str(here / "in/a.png")]


@pytest.mark.parametrize("given", ["empty", "empty/*.png", "no*such"])
def test_what_means_no_file_is_a_mistake(here: Path, given: str) -> None:
    (here / "empty").mkdir()
    touch("empty/notes.txt")
    with pytest.raises(DataError, match="No image file is meant by") as caught:
        found(given)
    assert given in str(caught.value)


def test_links_in_a_circle_are_followed_once(here: Path) -> None:
    touch("in/a.png", "in/sub/b.png", "elsewhere/c.png")
    (here / "in/sub/up").symlink_to(here / "in")
    (here / "in/self").symlink_to("self")
    (here / "in/self.png").symlink_to("self.png")
    (here / "in/linked").symlink_to(here / "elsewhere")
    assert found("in") == ["in/a.png", "in/linked/c.png", "in/self.png", "in/sub/b.png"]


def test_names_that_no_system_takes_are_left_to_the_reader(here: Path) -> None:
    assert found("n" * 300 + ".png", "a\0b.png") == ["n" * 300 + ".png", "a\0b.png"]


def test_bytes_that_are_no_text_are_shown_as_escapes(here: Path) -> None:
    raw = os.fsdecode(b"in/\xff\xc3\xa9.png")
    touch(raw)
    (file,) = find_inputs(["in"], IMAGE_SUFFIXES)
    assert file.shown == "in/\\xff\N{LATIN SMALL LETTER E WITH ACUTE}.png"
    file.shown.encode("utf-8")


@pytest.fixture
def closed(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder in/closed that may not be listed, whoever asks."""
    touch("in/a.png", "in/closed/b.png")
    whole = os.scandir

    def listed(place: str | Path) -> Any:
        if Path(place).name == "closed":
            raise PermissionError(errno.EACCES, "Permission denied", str(place))
        return whole(place)

    monkeypatch.setattr(os, "scandir", listed)


@pytest.mark.usefixtures("closed")
def test_a_folder_that_cannot_be_listed() -> None:
    """Below the one that was named it is told like a file that cannot be read; the named one is a mistake."""
    assert found("in") == ["in/a.png", "in/closed"]
    with pytest.raises(DataError, match=r"in/closed cannot be listed \(Permission denied\)"):
        found("in/closed")


@pytest.mark.usefixtures("closed")
def test_training_does_not_pass_over_a_folder_that_cannot_be_listed() -> None:
    with pytest.raises(DataError, match=r"in/closed cannot be listed \(Permission denied\)"):
        walk_files(Path("in"), IMAGE_SUFFIXES)


def names_of(*names: str) -> list[str]:
    files = [InputFile(Path("in") / name, Path(name)) for name in names]
    return [str(name) for name in output_names(files, ".png").values()]


def test_outputs_are_named_after_their_files() -> None:
    assert names_of("a.jpg", "sub/a.jpg", "b.x.tif", "noend") == ["a.png", "sub/a.png", "b.x.png", "noend.png"]


def test_files_that_differ_in_their_suffix_keep_it() -> None:
    assert names_of("a.jpg", "a.png", "b.png") == ["a.jpg.png", "a.png.png", "b.png"]


def test_two_files_of_one_name_are_refused() -> None:
    files = [InputFile(Path("one/a.png"), Path("a.png")), InputFile(Path("two/a.png"), Path("a.png"))]
    with pytest.raises(DataError, match=r"one/a\.png and two/a\.png would both be written to a\.png"):
        output_names(files, ".png")


@pytest.mark.parametrize("letter", ["n", "\N{SNOWMAN}", "\N{GRINNING FACE}"])
def test_names_stay_within_what_file_systems_allow(letter: str) -> None:
    size = len(letter.encode())
    stems = [letter * (255 // size), letter * (250 // size), letter * (240 // size) + "x"]
    found = names_of(*stems)
    assert len(set(found)) == 3
    assert all(len(name.encode()) <= 255 and name.endswith(".png") for name in found)
    assert found[2] == stems[2] + ".png"


def test_brackets_are_a_pattern_and_said_to_be_one(tmp_path: Path) -> None:
    (tmp_path / "a[1].png").touch()
    assert len(find_inputs([tmp_path / "a[1].png"], {".png"})) == 1
    with pytest.raises(DataError, match=r"A bracket begins a pattern there: \[\[\] stands for itself"):
        find_inputs([tmp_path / "a[1]*.png"], {".png"})
