import numpy as np
import torch

from dmt.data.cutmix import COVERED, cutmix
from dmt.types import Batch


def numbered(count: int = 6, height: int = 20, width: int = 30) -> Batch:
    """Every pixel of image i is i, in all that a batch holds; the last two are labeled."""
    values = torch.arange(count)[:, None, None].expand(count, height, width)
    return Batch(
        images=values[:, None].expand(-1, 3, -1, -1).float(),
        targets=values.clone(),
        confidence=values.double() / 10,
        is_labeled=torch.arange(count) >= count - 2,
    )


def test_a_rectangle_of_another_image_with_its_labels() -> None:
    seen: set[int] = set()
    for seed in range(20):
        mixed = cutmix(numbered(), np.random.default_rng(seed), probability=1.0)
        assert torch.equal(mixed.images[:, 0].long(), mixed.targets)
        assert torch.equal(mixed.confidence, mixed.targets.double() / 10)
        for number in range(4):
            covered = mixed.targets[number] != number
            others = set(mixed.targets[number][covered].tolist())
            seen |= others
            assert len(others) <= 1, "one partner"
            if others:
                rows, columns = covered.any(dim=1).sum(), covered.any(dim=0).sum()
                assert int(covered.sum()) == int(rows * columns), "a rectangle"
                assert abs(int(covered.sum()) / covered.numel() - COVERED) < 0.04
    assert seen == {0, 1, 2, 3}, "labeled images give nothing and get nothing"


def test_labeled_images_stay() -> None:
    mixed = cutmix(numbered(), np.random.default_rng(0), probability=1.0)
    assert torch.equal(mixed.targets[4:], numbered().targets[4:])


def test_the_probability() -> None:
    assert torch.equal(cutmix(numbered(), np.random.default_rng(0), probability=0.0).targets, numbered().targets)
    stream = np.random.default_rng(0)
    changed = [
        bool((cutmix(numbered(), stream, probability=0.5).targets[k] != k).any()) for _ in range(100) for k in range(4)
    ]
    # Half of them, of which one in four is its own partner.
    assert 0.28 < np.mean(changed) < 0.47
