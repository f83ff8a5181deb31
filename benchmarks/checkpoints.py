"""What checkpoints cost: the time to write one, as a share of the interval between two, for networks of three sizes.

    python benchmarks/checkpoints.py

The interval is the default `checkpoint.every_minutes`. Every file is synced to the disk, as in a run.
"""

import statistics
import tempfile
import time
from pathlib import Path

import torch

from dmt.checkpoint import Trainee, save_checkpoint
from dmt.config_sections import CheckpointConfig
from dmt.engine import Engine
from dmt.models.ema import Ema
from dmt.models.registry import build_network

NETWORKS = (
    ("small_cnn", "classification", True),
    ("deeplab:timm:mobilenetv1_100", "segmentation", False),
    ("deeplab_v2_resnet101", "segmentation", False),
)
REPEATS = 5


def main() -> None:
    """Write each network's checkpoint a few times; print a Markdown table."""
    seconds = 60 * CheckpointConfig().every_minutes
    print(f"| network | MB | median s | share of {seconds:.0f} s |\n|---|---|---|---|")
    for name, task, has_average in NETWORKS:
        trainee = _trainee(name, task, has_average=has_average)
        with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
            path = Path(folder) / "state.safetensors"
            times = [_time_to_write(trainee, path) for _ in range(REPEATS)]
            megabytes = path.stat().st_size / 1e6
        median = statistics.median(times)
        print(f"| `{name}` | {megabytes:.1f} | {median:.3f} | {median / seconds:.4%} |")


def _trainee(name: str, task: str, *, has_average: bool) -> Trainee:
    network = build_network(name, num_classes=10, channels=3, mean=(0.5,) * 3, std=(0.5,) * 3, task=task)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return Trainee(network, optimizer, Ema(network, decay=0.999, warmup=True) if has_average else None)


def _time_to_write(trainee: Trainee, path: Path) -> float:
    engine = Engine("fp32")
    began = time.perf_counter()
    save_checkpoint(path, {"a": trainee}, 1, engine=engine, config_hash="x")
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
