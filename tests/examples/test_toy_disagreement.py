"""The toy experiment runs, doubts wrong labels more than right ones, and its rounds help on average."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from scripts import load_script


@pytest.fixture(scope="module")
def toy():
    return load_script("examples/toy_disagreement.py")


@pytest.mark.slow
def test_rounds_help_on_average_and_a_picture_is_drawn(toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    accuracies = toy.main(["--seeds", "4", "--steps", "60", "--output", str(tmp_path / "toy.png")])
    assert np.mean(accuracies["dmt"]) > np.mean(accuracies["supervised"])
    assert capsys.readouterr().out.count("seed ") == 4
    width, height = Image.open(tmp_path / "toy.png").size
    assert width > 3 * height > 600


def test_a_and_b_share_no_label_and_doubt_each_others_errors(toy) -> None:
    one = toy.Toy(0, steps=100)
    a, b = (set(subset.tolist()) for subset in one.subsets)
    assert len(a) == len(b) == 6
    assert not a & b
    assert not (a | b) & set(one.unlabeled.tolist())
    for subset in one.subsets:
        assert one.truth[subset].sum() == 3
    teacher, student = (one.supervised(subset) for subset in one.subsets)
    kept, label, confidence = one.labels_of(teacher, 1.0)
    weights = one.weights(student(one.points[kept]), label, confidence)
    is_right = label == one.truth[kept]
    assert weights[is_right].mean() > weights[~is_right].mean() + 0.2
    assert torch.equal(kept, one.unlabeled)
