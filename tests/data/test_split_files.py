"""Splits as text: what users write, what run folders keep."""

from pathlib import Path

import numpy as np
import pytest
from test_splits import LABELS, NAMES, check_partition, counts, draw, image_set, stream

from dmt.data.images import ArrayImages
from dmt.data.split_files import (
    check_classes,
    check_disjoint,
    find_list,
    read_keys,
    read_labeled_keys,
    read_split,
    write_classes,
    write_split,
)
from dmt.data.splits import Split, split_known
from dmt.errors import DataError


def from_list(path: Path, labels: np.ndarray = LABELS, **changes) -> Split:
    settings = {"num_unlabeled": None, "validation_source": "none", "validation_size": None} | changes
    listed = read_labeled_keys(path, image_set(labels), labels)
    return split_known(listed, labels, num_classes=10, generator=stream(), class_names=NAMES, **settings)


def write_list(path: Path, indices: tuple[int, ...]) -> Path:
    path.write_text("".join(f"train/{index:05d}\n" for index in indices))
    return path


def test_labeled_set_from_a_list(tmp_path: Path) -> None:
    chosen = draw(30, seed=5).labeled
    path = write_list(tmp_path / "labeled.txt", chosen)
    split = from_list(path)
    check_partition(split)
    assert set(split.labeled) == set(chosen)
    extra = from_list(path, validation_source="extra", validation_size=10)
    check_partition(extra)
    assert set(extra.labeled) == set(chosen)
    assert counts(extra.validation).tolist() == [1] * 10
    cut = from_list(path, validation_source="cut", validation_size=10, num_unlabeled=7)
    check_partition(cut, whole=False)
    assert set(cut.labeled) | set(cut.validation) == set(chosen)
    assert counts(cut.labeled).tolist() == [2] * 10
    assert len(cut.unlabeled) == 7


def test_names_may_hold_what_unicode_calls_the_end_of_a_line(tmp_path: Path) -> None:
    names = ["so\x85far", "line\u2028", "cat"]
    write_classes(tmp_path, names)
    check_classes(tmp_path, names)
    with pytest.raises(DataError, match="begun with other classes: class 2"):
        check_classes(tmp_path, [*names[:2], "dog"])


def test_list_with_crlf_blank_lines_and_missing_classes(tmp_path: Path) -> None:
    path = tmp_path / "labeled.txt"
    first, second = (LABELS.tolist().index(k) for k in (0, 1))
    path.write_bytes(f"train/{first:05d}\r\n\r\ntrain/{second:05d} ".encode())
    with pytest.warns(UserWarning, match=r"no label of c, d, e, f, g, h, i, j\."):
        assert set(from_list(path).labeled) == {first, second}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train/00001\nnope\n", r"labeled\.txt, line 2: no .* is named 'nope'; names look like 'train/00000'"),
        ("trian/00123\n", r"named 'trian/00123'; names look like 'train/00000'\. Did you mean 'train/00123'\?"),
        ("train/00001\n\ntrain/00001\n", r"labeled\.txt, line 3: 'train/00001' stands already in line 1"),
        ("\n", r"labeled\.txt names no image"),
        (b"\xff\xfe\xff", r"labeled\.txt cannot be read"),
    ],
)
def test_broken_lists(tmp_path: Path, text: str | bytes, message: str) -> None:
    path = tmp_path / "labeled.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=message):
        from_list(path)


def test_listed_image_without_a_label_and_missing_list(tmp_path: Path) -> None:
    labels = LABELS.copy()
    labels[4] = -1
    with pytest.raises(DataError, match="train/00004, which has no label"):
        from_list(write_list(tmp_path / "labeled.txt", (3, 4)), labels)
    with pytest.raises(DataError, match="cannot be read"):
        from_list(tmp_path / "missing.txt")


def test_round_trip(tmp_path: Path) -> None:
    train, test = image_set(), image_set(LABELS[:7], "test")
    split = draw(50, num_unlabeled=100, validation_source="extra", validation_size=10)
    write_split(split, tmp_path / "splits", train=train, test=test)
    assert sorted(path.name for path in (tmp_path / "splits").iterdir()) == [
        "labeled.txt",
        "test.txt",
        "unlabeled.txt",
        "validation.txt",
    ]
    assert (tmp_path / "splits/labeled.txt").read_text().splitlines()[0] == f"train/{split.labeled[0]:05d}"
    assert read_split(tmp_path / "splits", train=train, test=test) == split
    assert read_keys(tmp_path / "splits/test.txt", test) == tuple(range(7))
    with pytest.raises(DataError, match=r"test\.txt is not the test part of this data set \(8 images\)"):
        read_split(tmp_path / "splits", train=train, test=image_set(LABELS[:8], "test"))
    with (tmp_path / "splits/unlabeled.txt").open("a") as file:
        file.write(train.key(split.labeled[0]) + "\n")
    with pytest.raises(DataError, match="is in two parts"):
        read_split(tmp_path / "splits", train=train, test=test)
    (tmp_path / "splits/unlabeled.txt").unlink()
    with pytest.raises(DataError, match=r"unlabeled\.txt cannot be read"):
        read_split(tmp_path / "splits", train=train, test=test)
    (tmp_path / "splits/unlabeled.txt").write_text("renamed\n")
    with pytest.raises(DataError, match=r"no image is named 'renamed'.* begun with this list.* another folder"):
        read_split(tmp_path / "splits", train=train, test=test)


def test_keys_that_cannot_be_written(tmp_path: Path) -> None:
    class Odd(ArrayImages):
        def key(self, index: int) -> str:
            return f"line\nbreak {index}"

    odd = Odd(image_set().pixels, image_set().truth, "x")
    with pytest.raises(DataError, match="line break"):
        write_split(draw(10), tmp_path, train=odd, test=odd)


def test_a_run_without_a_test_part(tmp_path: Path) -> None:
    split = draw(50)
    write_split(split, tmp_path, train=image_set(), test=None)
    assert (tmp_path / "test.txt").read_text() == ""
    assert read_split(tmp_path, train=image_set(), test=None) == split
    with pytest.raises(DataError, match=r"test\.txt is not the test part of this data set \(7 images\)"):
        read_split(tmp_path, train=image_set(), test=image_set(LABELS[:7], "test"))
    write_split(split, tmp_path, train=image_set(), test=image_set(LABELS[:7], "test"))
    with pytest.raises(DataError, match=r"test\.txt is not the test part of this data set \(0 images\)"):
        read_split(tmp_path, train=image_set(), test=None)


def test_a_validation_part_that_the_data_bring(tmp_path: Path) -> None:
    train, given = image_set(), image_set(LABELS[:4], "validation")
    split = draw(50)
    write_split(split, tmp_path, train=train, test=None, validation=given)
    assert (tmp_path / "validation.txt").read_text().split() == [f"validation/{index:05d}" for index in range(4)]
    assert read_split(tmp_path, train=train, test=None, validation=given) == split
    for other in (image_set(LABELS[:5], "validation"), image_set(LABELS[:4], "others")):
        message = rf"validation\.txt is not the validation part of this data set \({len(other)} images\)\. Give"
        with pytest.raises(DataError, match=message):
            read_split(tmp_path, train=train, test=None, validation=other)
    with pytest.raises(DataError, match=r"validation\.txt, line 1: no image is named 'validation/00000'"):
        read_split(tmp_path, train=train, test=None)


class Named(ArrayImages):
    """Keys as users' files have them."""

    def key(self, index: int) -> str:
        return ("a", "b.x", "sub/c", " d", "e.png")[index]


def named() -> Named:
    return Named(image_set(LABELS[:5]).pixels, image_set(LABELS[:5]).truth, "x")


def test_keys_with_and_without_suffix(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("a.jpg\nb.x\n sub/c.PNG \n d\ne.png\n", encoding="utf-8-sig")
    assert read_keys(path, named()) == (0, 1, 2, 3, 4)
    path.write_text("b.x.jpeg\ne.png.tif\n")
    assert read_keys(path, named()) == (1, 4)
    for text in ("b.jpg", "a.txt", "c.png", "e"):
        path.write_text(text)
        with pytest.raises(DataError, match=f"line 1: no image is named '{text}'"):
            read_keys(path, named())
    path.write_text("a\na.png\n")
    with pytest.raises(DataError, match=r"line 2: 'a\.png' stands already in line 1"):
        read_keys(path, named())


def test_odd_keys_survive_a_round_trip(tmp_path: Path) -> None:
    split = Split(labeled=(3, 4), unlabeled=(0, 1), validation=(2,))
    write_split(split, tmp_path, train=named(), test=named())
    assert read_split(tmp_path, train=named(), test=named()) == split


def test_where_lists_are_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, here = tmp_path / "root", tmp_path / "here"
    for folder in (root, here):
        folder.mkdir()
    monkeypatch.chdir(here)
    with pytest.raises(DataError, match=r"^data\.labeled is x\.txt, but there is no file x\.txt\.$"):
        find_list("x.txt", root=None, key="data.labeled")
    with pytest.raises(DataError, match=r"no file x\.txt or .*root/x\.txt\.$"):
        find_list("x.txt", root=root, key="data.labeled")
    (root / "x.txt").touch()
    assert find_list("x.txt", root=root, key="data.labeled") == root / "x.txt"
    assert find_list(str(root / "x.txt"), root=None, key="data.labeled") == root / "x.txt"
    (here / "x.txt").touch()
    assert find_list("x.txt", root=root, key="data.labeled").resolve() == here / "x.txt"


def test_lists_that_share_images() -> None:
    check_disjoint({"one": (0, 1), "two": (2,), "three": ()}, named())
    with pytest.raises(DataError, match=r"^b\.x is in one and in three\. Each image belongs to one of them\.$"):
        check_disjoint({"one": (1, 0), "two": (2,), "three": (4, 1)}, named())
    with pytest.raises(DataError, match=r"^a is in two and in three, and 2 more are\."):
        check_disjoint({"one": (3,), "two": (2, 1, 0), "three": (0, 1, 2)}, named())
