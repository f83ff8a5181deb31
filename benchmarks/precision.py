"""A training step in bf16 against one in fp32, network by network.

    python benchmarks/precision.py --threads 1 timm:mobilenetv1_100 timm:resnet18 small_cnn:28:1

Names are those of `networks.a.name`, with the side of its images and their channels where these are not 64 and 3. The
two take turns, and the ratio is of the medians: below 1, bf16 is faster. The processor's abilities are told, since
`precision: auto` goes by them.
"""

import argparse
import statistics
import time
from collections.abc import Sequence

import torch

from dmt.models.network import Network
from dmt.models.registry import build_network


def main(argv: Sequence[str] | None = None) -> None:
    """Print one line a network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="+", metavar="NAME[:SIDE:CHANNELS]")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=9)
    arguments = parser.parse_args(argv)
    torch.set_num_threads(arguments.threads)
    abilities = torch.cpu.get_capabilities()
    print(f"{torch.__version__}, " + ", ".join(f"{key} {abilities.get(key)}" for key in ("avx512_bf16", "amx_bf16")))
    for wanted in arguments.networks:
        name, side, channels = parts_of(wanted)
        bf16, fp32 = step_seconds(name, side, channels, batch=arguments.batch, repeats=arguments.repeats)
        print(f"{wanted}: bf16 / fp32 = {bf16 / fp32:.2f} ({1000 * bf16:.0f} and {1000 * fp32:.0f} ms)")


def parts_of(wanted: str) -> tuple[str, int, int]:
    """`NAME:SIDE:CHANNELS`, the last two of which may be left out."""
    name, *numbers = wanted.rsplit(":", 2)
    if len(numbers) == 2 and all(number.isdecimal() for number in numbers):
        return name, int(numbers[0]), int(numbers[1])
    return wanted, 64, 3


def step_seconds(name: str, side: int, channels: int, *, batch: int, repeats: int) -> tuple[float, float]:
    """Median seconds of a step forth and back, in bf16 and in fp32."""
    network = build_network(
        name,
        num_classes=10,
        channels=channels,
        mean=[0.5] * channels,
        std=[0.25] * channels,
        task="segmentation" if name.startswith(("deeplab", "small_unet", "smp")) else "classification",
    )
    network = network.train().to(memory_format=torch.channels_last)
    images = torch.rand(batch, channels, side, side).contiguous(memory_format=torch.channels_last)
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for turn in range(repeats + 1):
        for is_bf16 in seconds:
            start = time.perf_counter()
            step(network, images, is_bf16=is_bf16)
            if turn:  # the first one warms up
                seconds[is_bf16].append(time.perf_counter() - start)
    return statistics.median(seconds[True]), statistics.median(seconds[False])


def step(network: Network, images: torch.Tensor, *, is_bf16: bool) -> None:
    """Forth and back; the loss is of no consequence."""
    network.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=is_bf16):
        logits = network(images)
    logits.float().square().mean().backward()


if __name__ == "__main__":
    main()
