import pytest
import torch
from torch import nn

from dmt.errors import ConfigError
from dmt.models.registry import build_network
from dmt.models.small_unet import SmallUNet


@pytest.mark.parametrize("size", [(8, 8), (64, 64), (33, 47), (9, 120)])
@pytest.mark.parametrize("channels", [1, 3])
def test_logits_have_half_the_size_of_the_images(size: tuple[int, int], channels: int) -> None:
    network = SmallUNet(num_classes=5, in_channels=channels)
    half = [(side + 1) // 2 for side in size]
    assert network(torch.rand(2, channels, *size)).shape == (2, 5, *half)


def test_every_level_takes_part() -> None:
    network = SmallUNet(num_classes=3, in_channels=1)
    network(torch.rand(2, 1, 16, 16)).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_it_learns_a_shape_that_color_does_not_give_away() -> None:
    """Class 1 is the left half of a bright bar, class 2 its right half: place within a shape, not brightness."""
    torch.manual_seed(0)
    images, targets = torch.zeros(8, 1, 16, 24), torch.zeros(8, 16, 24, dtype=torch.int64)
    for number in range(8):
        images[number, 0, number : number + 6, number : number + 12] = 1
        targets[number, number : number + 6, number : number + 6] = 1
        targets[number, number : number + 6, number + 6 : number + 12] = 2
    network = SmallUNet(num_classes=3, in_channels=1)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    for _ in range(60):
        loss = nn.functional.cross_entropy(upsampled(network(images)), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (upsampled(network.eval()(images)).argmax(dim=1) == targets).double().mean() > 0.97


def upsampled(logits: torch.Tensor) -> torch.Tensor:
    return nn.functional.interpolate(logits, scale_factor=2, mode="bilinear", align_corners=True)


def test_by_name_it_is_for_masks() -> None:
    statistics = {"num_classes": 4, "channels": 3, "mean": [0.5] * 3, "std": [0.2] * 3}
    network = build_network("small_unet", task="segmentation", **statistics)
    assert network(torch.rand(1, 3, 20, 12)).shape == (1, 4, 20, 12)
    with pytest.raises(ConfigError, match="small_cnn"):
        build_network("small_unet", task="classification", **statistics)
    with pytest.raises(ConfigError, match="small_unet"):
        build_network("small_cnn", task="segmentation", **statistics)
