import pytest
import torch
from torch import nn
from torch.nn.functional import batch_norm, conv2d, linear

from dmt.errors import ConfigError
from dmt.models.wide_resnet import WideResNet


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


def expected_count(depth, width, classes, channels):
    """Layer by layer: 3x3 convolutions, two norms a block, a 1x1 projection where widths differ."""
    total, before = 9 * channels * 16, 16
    for after in (16 * width, 32 * width, 64 * width):
        for _ in range((depth - 4) // 6):
            total += 2 * before + 9 * before * after + 2 * after + 9 * after * after
            total += before * after if before != after else 0
            before = after
    return total + 2 * before + before * classes + classes


def naive_forward(state, images, strides):
    """The network by hand in eval mode with fresh statistics (mean 0, variance 1), from the tensors alone."""

    def norm_relu(x, name):
        mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        return batch_norm(x, mean, var, state[f"{name}.weight"], state[f"{name}.bias"]).clamp(min=0)

    x = conv2d(images, state["stem.weight"], padding=1)
    blocks = sorted({tuple(name.split(".")[1:3]) for name in state if name.startswith("groups")})
    for group, block in blocks:
        name, stride = f"groups.{group}.{block}", strides[int(group)] if block == "0" else 1
        a = norm_relu(x, f"{name}.norm1")
        if f"{name}.projection.weight" in state:
            x = conv2d(a, state[f"{name}.projection.weight"], stride=stride)
        hidden = norm_relu(conv2d(a, state[f"{name}.conv1.weight"], stride=stride, padding=1), f"{name}.norm2")
        x = x + conv2d(hidden, state[f"{name}.conv2.weight"], padding=1)
    x = norm_relu(x, "norm").mean(3).mean(2)
    return linear(x, state["classifier.weight"], state["classifier.bias"])


def test_wrn_28_2_has_the_known_number_of_parameters():
    assert count(WideResNet(depth=28, width=2, num_classes=10, in_channels=3)) == 1_467_610


@pytest.mark.parametrize(("depth", "width", "classes", "channels"), [(10, 1, 2, 1), (16, 1, 7, 3), (10, 3, 100, 4)])
def test_other_sizes_have_the_parameters_that_add_up_by_hand(depth, width, classes, channels):
    network = WideResNet(depth=depth, width=width, num_classes=classes, in_channels=channels)
    assert count(network) == expected_count(depth, width, classes, channels)


@pytest.mark.parametrize("width", [1, 2])
def test_forward_equals_the_network_by_hand(width):
    torch.manual_seed(0)
    network = WideResNet(depth=16, width=width, num_classes=5, in_channels=3).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    images = torch.randn(2, 3, 12, 12)
    with torch.no_grad():
        torch.testing.assert_close(network(images), naive_forward(network.state_dict(), images, (1, 2, 2)))


@pytest.mark.parametrize("size", [(8, 8), (32, 32), (17, 30)])
def test_takes_any_image_size(size):
    network = WideResNet(depth=10, width=1, num_classes=4, in_channels=1)
    assert network(torch.rand(2, 1, *size)).shape == (2, 4)


def test_initial_weights_follow_the_specification():
    torch.manual_seed(0)
    network = WideResNet(depth=28, width=2, num_classes=10, in_channels=3)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            assert module.bias is None
            fan_out = module.out_channels * module.kernel_size[0] ** 2
            # the first 3 channels' worth of weights is few: allow five standard errors
            tolerance = 5 / (2 * module.weight.numel()) ** 0.5
            assert module.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=tolerance)
        if isinstance(module, nn.BatchNorm2d):
            assert module.momentum == 0.1
            assert torch.all(module.weight == 1)
            assert torch.all(module.bias == 0)
    assert torch.all(network.classifier.bias == 0)


@pytest.mark.parametrize(("depth", "width"), [(27, 2), (4, 2), (-2, 2), (28, 0)])
def test_refuses_impossible_sizes(depth, width):
    with pytest.raises(ConfigError, match="wide ResNet"):
        WideResNet(depth=depth, width=width, num_classes=10, in_channels=3)
