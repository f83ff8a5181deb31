"""A user's mistake stays one sentence, also where a worker process met it."""

import pytest
from torch.utils.data import Dataset

from dmt.data.loaders import load_in_order
from dmt.errors import DataError


class Numbers(Dataset[int]):
    def __getitem__(self, index: int) -> int:
        if index == 3:
            raise DataError("images/3.png cannot be read.")
        if index == 4:
            raise ZeroDivisionError
        return index


@pytest.mark.parametrize("workers", [0, 2])
def test_items_come_in_order_until_a_mistake_which_is_told_as_it_was(workers: int) -> None:
    items = load_in_order(Numbers(), [5, 1, 3, 2], workers=workers)
    assert [next(items), next(items)] == [5, 1]
    with pytest.raises(DataError, match=r"^images/3\.png cannot be read\.$"):
        next(items)


@pytest.mark.parametrize("workers", [0, 1])
def test_our_own_bugs_keep_their_traceback(workers: int) -> None:
    with pytest.raises(ZeroDivisionError):
        list(load_in_order(Numbers(), [1, 4], workers=workers))
