import random

import numpy as np
import pytest
import torch

from dmt.randomness import generator, seeded_torch, shuffled_positions


def test_a_stream_is_a_function_of_all_its_names() -> None:
    names = [(0, "a", 0, 0), (1, "a", 0, 0), (0, "b", 0, 0), (0, "a", 1, 0), (0, "a", 0, 1)]
    draws = [generator(*name).random(4).tolist() for name in names]
    assert len({tuple(draw) for draw in draws}) == len(names)
    assert [generator(*name).random(4).tolist() for name in names] == draws


def test_streams_are_the_same_in_every_process_and_version() -> None:
    # Stored values: a change here would change every result of every config.
    assert generator(3, "rounds/1/a/step", 7).integers(1000, size=4).tolist() == [65, 771, 763, 828]


def test_large_seeds_and_steps() -> None:
    assert generator(2**63, "x", 10**9, 10**6).random() != generator(2**63 + 1, "x", 10**9, 10**6).random()


def test_seeded_torch_repeats_and_leaves_the_global_generator() -> None:
    torch.manual_seed(11)
    before = torch.get_rng_state()
    draws = []
    for name in ("init", "init", "other"):
        with seeded_torch(generator(0, name)):
            draws.append(torch.rand(3).tolist())
    assert draws[0] == draws[1] != draws[2]
    assert torch.equal(torch.get_rng_state(), before)


def test_seeded_torch_leaves_the_global_generator_after_an_error() -> None:
    before = torch.get_rng_state()

    def fail() -> None:
        with seeded_torch(generator(0, "x")):
            torch.rand(3)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert torch.equal(torch.get_rng_state(), before)


def test_nothing_touches_the_other_global_generators() -> None:
    numpy_before, python_before = np.random.get_state(), random.getstate()  # noqa: NPY002 - looked at, not drawn from
    generator(0, "a").random()
    shuffled_positions(0, "a", num_items=5, start=0, count=12)
    with seeded_torch(generator(0, "a")):
        torch.rand(2)
    numpy_after = np.random.get_state()  # noqa: NPY002 - looked at, not drawn from
    assert all(np.array_equal(a, b) for a, b in zip(numpy_before, numpy_after, strict=True))
    assert random.getstate() == python_before


@pytest.mark.parametrize(("num_items", "count"), [(1, 1), (1, 4), (7, 3), (7, 7), (7, 20), (50, 8)])
def test_an_endless_stream_of_whole_passes(num_items: int, count: int) -> None:
    steps = 60
    stream = np.concatenate(
        [shuffled_positions(5, "x", num_items=num_items, start=step * count, count=count) for step in range(steps)]
    )
    assert len(stream) == steps * count
    whole = len(stream) // num_items * num_items
    passes = stream[:whole].reshape(-1, num_items)
    assert (np.sort(passes, axis=1) == np.arange(num_items)).all()
    if num_items >= 7:
        assert len({tuple(one) for one in passes.tolist()}) > 1


def test_any_part_of_the_stream_may_be_asked_for_alone() -> None:
    whole = shuffled_positions(2, "x", num_items=9, start=0, count=100)
    for start, count in ((0, 1), (8, 2), (13, 40), (99, 1), (50, 0)):
        part = shuffled_positions(2, "x", num_items=9, start=start, count=count)
        assert part.tolist() == whole[start : start + count].tolist()


def test_orders_differ_by_seed_and_name() -> None:
    orders = [
        shuffled_positions(seed, name, num_items=30, start=0, count=30).tolist()
        for seed, name in ((0, "x"), (1, "x"), (0, "y"))
    ]
    assert orders[0] != orders[1] != orders[2] != orders[0]


def test_returned_positions_may_be_changed() -> None:
    first = shuffled_positions(0, "x", num_items=6, start=0, count=6)
    expected = first.tolist()
    first[:] = 0
    assert shuffled_positions(0, "x", num_items=6, start=0, count=6).tolist() == expected
