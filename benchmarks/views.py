"""Time the training views of segmentation, in milliseconds a sample on one thread.

python benchmarks/views.py
"""

import time
from collections.abc import Callable

import numpy as np
import torch

from dmt.data.views import build_view

CASES = {"CamVid": ((180, 240), (180, 240)), "VOC": ((375, 500), (321, 321)), "Cityscapes": ((512, 1024), (256, 512))}
REPEATS = 100


def main() -> None:
    """Print the median and the 90th percentile of each case."""
    torch.set_num_threads(1)
    print("| image | crop | view | median ms | 90 % below ms |\n|---|---|---|---|---|")
    for name, (size, crop_size) in CASES.items():
        for view in ("default", "plain"):
            seconds = _seconds(view, size, crop_size)
            print(
                f"| {name} {size[0]} x {size[1]} | {crop_size[0]} x {crop_size[1]} | {view} "
                f"| {np.median(seconds) * 1e3:.2f} | {np.quantile(seconds, 0.9) * 1e3:.2f} |"
            )


def _seconds(name: str, size: tuple[int, int], crop_size: tuple[int, int]) -> list[float]:
    stream = np.random.default_rng(0)
    image = torch.from_numpy(stream.integers(0, 256, (3, *size), dtype=np.uint8))
    label = torch.from_numpy(stream.integers(0, 12, size))
    code = torch.from_numpy(stream.integers(0, 65536, size, dtype=np.int32))
    view = build_view(name, crop_size=crop_size)
    return [_timed(lambda: view(image, label, code, stream)) for _ in range(REPEATS)]


def _timed(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
