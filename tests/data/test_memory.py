import pickle
import random

import torch

from dmt.data.memory import TensorMemory


def test_what_fits_is_made_once_and_the_rest_each_time() -> None:
    memory = TensorMemory(max_bytes=8)
    made: list[int] = []

    def make(number: int) -> torch.Tensor:
        made.append(number)
        return torch.full((4,), number, dtype=torch.uint8)

    order = random.Random(0).choices(range(5), k=40)
    for number in order:
        assert memory.recall(number, lambda number=number: make(number)).tolist() == [number] * 4

    kept = list(dict.fromkeys(order))[:2]
    assert [made.count(number) for number in kept] == [1, 1]
    assert all(made.count(number) == order.count(number) for number in range(5) if number not in kept)


def test_a_failed_read_is_tried_again() -> None:
    memory = TensorMemory()

    def fail() -> torch.Tensor:
        raise OSError

    for _ in range(2):
        try:
            memory.recall("x", fail)
        except OSError:
            continue
        raise AssertionError
    assert memory.recall("x", lambda: torch.ones(1)).item() == 1


def test_a_copy_for_another_process_begins_empty() -> None:
    memory = TensorMemory(max_bytes=100)
    memory.recall("x", lambda: torch.zeros(1))
    copy = pickle.loads(pickle.dumps(memory))
    assert copy.max_bytes == 100
    assert copy.recall("x", lambda: torch.ones(1)).item() == 1
