"""Unlabeled images that cannot be read: left out and listed under a stated cap, else an error with the path."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dmt.data.identity import check_identity, write_identity
from dmt.data.images import ArrayImages, DataSet
from dmt.data.splits import Split
from dmt.data.unreadable import first_readable, without_unreadable
from dmt.errors import DataError


class Damaged(ArrayImages):
    """Images of which 1, 4 and 5 cannot be read."""

    def images(self, indices: Sequence[int]) -> Tensor:
        for index in indices:
            if index in {1, 4, 5}:
                raise DataError(f"{index}.jpg cannot be read\n(it ends early). Get the file again.")
        return super().images(indices)


IMAGES = Damaged(pixels=torch.zeros(6, 1, 2, 2, dtype=torch.uint8), truth=torch.arange(6) % 2, prefix="x")
SPLIT = Split(labeled=(0,), unlabeled=(1, 2, 3, 4))


def test_they_are_left_out_and_listed(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=r"2 unlabeled images cannot be read and are left out: .*unreadable\.txt"):
        found = without_unreadable(SPLIT, IMAGES, at_most=2, folder=tmp_path)
    assert found == Split(labeled=(0,), unlabeled=(2, 3))
    lines = [line.split("\t") for line in (tmp_path / "unreadable.txt").read_text().splitlines()]
    assert [key for key, _ in lines] == ["x/00001", "x/00004"]
    assert lines[1][1] == "4.jpg cannot be read (it ends early). Get the file again."


def test_more_than_allowed_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"2 of 4 unlabeled .* more than data\.max_unreadable=1\. .*1\.jpg .* 4\.jpg"):
        without_unreadable(SPLIT, IMAGES, at_most=1, folder=tmp_path)
    assert not list(tmp_path.iterdir())


def test_none_that_can_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"None of the 2 unlabeled images can be read\. 1\.jpg cannot be read"):
        without_unreadable(Split(labeled=(0,), unlabeled=(1, 4)), IMAGES, at_most=6, folder=tmp_path)


def test_images_that_cannot_be_read_do_not_keep_data_from_being_known_again(tmp_path: Path) -> None:
    data = DataSet(name="x", class_names=("0", "1"), train=IMAGES, test=None, mean=(0.0,), std=(1.0,))
    write_identity(tmp_path, data, [0])
    check_identity(tmp_path, data, [0])
    with pytest.raises(DataError, match="run on other data"):
        check_identity(tmp_path, data, [0, 2])


@pytest.mark.parametrize("part", ["labeled", "validation"])
def test_one_with_a_label_is_an_error(tmp_path: Path, part: str) -> None:
    split = Split(**{"labeled": (0,), "unlabeled": (2, 3), part: (5,)})
    with pytest.raises(DataError, match=r"5\.jpg cannot be read"):
        without_unreadable(split, IMAGES, at_most=6, folder=tmp_path)


def test_the_first_that_can_be_read() -> None:
    assert first_readable(IMAGES).shape == (1, 1, 2, 2)
    broken = Damaged(pixels=IMAGES.pixels[:0], truth=IMAGES.truth[:0], prefix="x")
    with pytest.raises(DataError, match="There is no image"):
        first_readable(broken)
