"""Steps in two precisions: each is timed in its own."""

import re

import pytest
import torch
from torch import nn

from scripts import load_script


class Recording(nn.Module):
    """Notes the precision of each forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, 2, 1)
        self.seen: list[torch.dtype] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.layer(images)
        self.seen.append(logits.dtype)
        return logits


def test_a_step_is_in_the_precision_that_it_is_timed_as() -> None:
    network, script = Recording(), load_script("benchmarks/precision.py")
    for is_bf16 in (True, False):
        script.step(network, torch.rand(2, 1, 4, 4), is_bf16=is_bf16)
        assert network.layer.weight.grad is not None
    assert network.seen == [torch.bfloat16, torch.float32]


def test_each_network_gets_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["wrn_10_1:16:1", "small_unet"]
    threads = torch.get_num_threads()
    load_script("benchmarks/precision.py").main(["--threads", str(threads), "--batch", "2", "--repeats", "1", *asked])
    first, *lines = capsys.readouterr().out.splitlines()
    assert first.startswith(torch.__version__)
    assert [re.sub(r"\d+(\.\d+)?", "N", line.removeprefix(name)) for name, line in zip(asked, lines, strict=True)] == [
        ": bfN / fpN = N (N and N ms)"
    ] * 2


def test_a_name_may_end_in_numbers_of_its_own() -> None:
    parts_of = load_script("benchmarks/precision.py").parts_of
    assert parts_of("timm:resnet18") == ("timm:resnet18", 64, 3)
    assert parts_of("deeplab:timm:resnet18:96:1") == ("deeplab:timm:resnet18", 96, 1)
    assert parts_of("wrn_28_2:32:3") == ("wrn_28_2", 32, 3)
