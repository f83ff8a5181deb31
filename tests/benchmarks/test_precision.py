"""Steps in two precisions: what is asked for is what is timed."""

import re

import pytest
import torch

from scripts import load_script


def test_each_network_gets_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["wrn_10_1:16:1", "small_unet"]
    threads = torch.get_num_threads()
    load_script("benchmarks/precision.py").main(["--threads", str(threads), "--batch", "2", "--repeats", "1", *asked])
    first, *lines = capsys.readouterr().out.splitlines()
    assert first.startswith(torch.__version__)
    for name, line in zip(asked, lines, strict=True):
        ratio, bf16, fp32 = map(float, re.findall(r"[\d.]+", line.removeprefix(f"{name}: bf16 / fp32")))
        assert ratio > 0
        assert bf16 + fp32 >= 0


def test_a_name_may_end_in_numbers_of_its_own() -> None:
    parts_of = load_script("benchmarks/precision.py").parts_of
    assert parts_of("timm:resnet18") == ("timm:resnet18", 64, 3)
    assert parts_of("deeplab:timm:resnet18:96:1") == ("deeplab:timm:resnet18", 96, 1)
    assert parts_of("wrn_28_2:32:3") == ("wrn_28_2", 32, 3)
