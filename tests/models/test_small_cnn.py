import pytest
import torch
from torch import nn

from dmt.models.small import WIDTHS, small_cnn


@pytest.mark.parametrize("size", [(8, 8), (16, 16), (28, 28), (32, 24)])
@pytest.mark.parametrize("channels", [1, 3])
def test_takes_tiny_images(size, channels):
    assert small_cnn(num_classes=7, in_channels=channels)(torch.rand(2, channels, *size)).shape == (2, 7)


def test_widths_decide_the_layers():
    network = small_cnn(num_classes=10, in_channels=1)
    convolutions = [module.out_channels for module in network if isinstance(module, nn.Conv2d)]
    assert convolutions == [width for group in WIDTHS for width in group]
    assert sum(isinstance(module, nn.MaxPool2d) for module in network) == len(WIDTHS) - 1


def test_learns_a_tiny_batch():
    torch.manual_seed(0)
    network = small_cnn(num_classes=4, in_channels=1)
    images, labels = torch.rand(4, 1, 8, 8), torch.arange(4)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    for _ in range(15):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(network(images), labels)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1
