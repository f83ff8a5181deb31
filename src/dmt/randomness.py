"""Stateless streams: every random number is a function of (seed, stage, step, sample).

Nothing draws from a global generator, so a resume needs the step number and no generator's state, and neither the
number of workers nor what ran before changes a result.
"""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import numpy as np
import torch


def generator(seed: int, stage: str, step: int = 0, sample: int = 0) -> np.random.Generator:
    """The stream of one purpose.

    Args:
        seed: the run's seed, >= 0.
        stage: the purpose in words, e.g. `rounds/1/a/mixup`.
        step: the optimizer step, or the number of a pass over the data.
        sample: the place in the batch, where each sample needs a stream of its own.
    """
    return np.random.default_rng([seed, zlib.crc32(stage.encode()), step, sample])


@contextmanager
def seeded_torch(stream: np.random.Generator) -> Iterator[None]:
    """Run library code that only knows torch's global generators (initial weights, dropout) on a stream of ours."""
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        # Not torch.manual_seed: without a GPU it notes the call, with a stack trace, for a GPU that may still come.
        seed = int(stream.integers(2**63))
        torch.default_generator.manual_seed(seed)
        if devices:
            torch.cuda.manual_seed(seed)
        yield


def shuffled_positions(seed: int, stage: str, *, num_items: int, start: int, count: int) -> np.ndarray:
    """Items `start` to `start + count` of an endless stream of shuffled passes over `num_items`.

    Every pass holds each item once, so a batch larger than the set repeats items but never favors one.
    """
    positions = np.arange(start, start + count)
    passes = positions // num_items
    picked = np.empty(count, dtype=np.int64)
    for number in np.unique(passes):
        here = passes == number
        picked[here] = _order_of_pass(seed, stage, int(number), num_items)[positions[here] % num_items]
    return picked


@lru_cache(maxsize=4)  # 8 MB each for a million images
def _order_of_pass(seed: int, stage: str, number: int, num_items: int) -> np.ndarray:
    # Consecutive steps fall into the same pass, and a permutation of a large set costs more than a batch.
    order = generator(seed, stage, number).permutation(num_items)
    order.flags.writeable = False
    return order
