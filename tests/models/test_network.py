import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dmt.errors import ConfigError
from dmt.models.network import Network, Preprocessing, check_output


class Echo(nn.Module):
    """Returns what it is given, so that a test sees the preprocessed images."""

    def forward(self, images):
        return images


def echo(**preprocessing):
    return Network(Echo(), Preprocessing(**preprocessing), num_classes=3, name="echo")


def linear(channels=1, size=4, outputs=3):
    flat = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(channels * size * size, outputs))
    plain = Preprocessing(mean=(0.5,) * channels, std=(0.5,) * channels)
    return Network(flat, plain, num_classes=3, name="linear")


def test_normalizes_each_channel_like_a_scalar_loop():
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.25, 2.0)
    images = torch.rand(2, 3, 4, 5)
    seen = echo(mean=mean, std=std)(images)
    for n, c, y, x in torch.cartesian_prod(*map(torch.arange, images.shape)).tolist():
        assert seen[n, c, y, x].item() == pytest.approx((images[n, c, y, x].item() - mean[c]) / std[c], abs=1e-6)


def test_caffe_weights_see_bgr_in_0_to_255():
    red = torch.tensor([1.0, 0.4, 0.2]).view(1, 3, 1, 1)
    seen = echo(mean=(104.008, 116.669, 122.675), std=(1, 1, 1), channel_order="bgr", scale=255)(red)
    expected = torch.tensor([51 - 104.008, 102 - 116.669, 255 - 122.675])
    torch.testing.assert_close(seen.flatten(), expected, atol=1e-4, rtol=0)


def test_repeats_a_gray_channel_where_three_are_wanted():
    gray = torch.rand(2, 1, 3, 3)
    mean, std = (0.1, 0.2, 0.3), (1.0, 2.0, 3.0)
    torch.testing.assert_close(echo(mean=mean, std=std)(gray), echo(mean=mean, std=std)(torch.cat([gray] * 3, dim=1)))


@pytest.mark.parametrize(("found", "wanted"), [(3, 1), (4, 3), (2, 3), (1, 2)])
def test_refuses_other_channel_mismatches(found, wanted):
    network = echo(mean=(0.0,) * wanted, std=(1.0,) * wanted)
    with pytest.raises(ConfigError, match=f"'echo' takes images of {wanted} channels, found {found}"):
        network(torch.rand(1, found, 2, 2))


def test_mean_and_std_follow_the_network_but_stay_out_of_its_weights():
    network = echo(mean=(0.5,), std=(0.5,))
    assert network.state_dict() == {}
    assert copy.deepcopy(network).double().mean.dtype == torch.float64


def test_preprocessing_survives_json():
    preprocessing = Preprocessing(mean=(1, 2, 3), std=(1, 1, 1), channel_order="bgr", scale=255)
    assert Preprocessing([1, 2, 3], [1, 1, 1], "bgr", 255) == preprocessing
    assert preprocessing.mean == (1.0, 2.0, 3.0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"std": (1.0, 1.0)}, "one mean and one std"),
        ({"mean": (), "std": ()}, "one mean and one std"),
        ({"std": (0.0,)}, "above 0"),
        ({"scale": 0}, "above 0"),
        ({"channel_order": "rbg"}, "'rbg'"),
        ({"channel_order": "bgr"}, "needs 3 channels"),
    ],
)
def test_refuses_contradicting_preprocessing(wrong, message):
    with pytest.raises(ConfigError, match=message):
        Preprocessing(**({"mean": (0.5,), "std": (0.5,)} | wrong))


def upsampled(coarse, height, width):
    """Bilinear with the corner cells' centers on the corner pixels, one pixel at a time."""
    rows, columns = coarse.shape
    fine = torch.zeros(height, width)
    for y in range(height):
        for x in range(width):
            down = y * (rows - 1) / (height - 1) if height > 1 else 0.0
            right = x * (columns - 1) / (width - 1) if width > 1 else 0.0
            top, left = min(int(down), rows - 1), min(int(right), columns - 1)
            bottom, far = min(top + 1, rows - 1), min(left + 1, columns - 1)
            dy, dx = down - top, right - left
            fine[y, x] = (1 - dy) * ((1 - dx) * coarse[top, left] + dx * coarse[top, far]) + dy * (
                (1 - dx) * coarse[bottom, left] + dx * coarse[bottom, far]
            )
    return fine


class Fixed(nn.Module):
    """Returns the same logits for any images."""

    def __init__(self, logits):
        super().__init__()
        self.logits = logits

    def forward(self, images):
        return self.logits


def fixed(logits, classes=3):
    return Network(Fixed(logits), Preprocessing(mean=(0.0,), std=(1.0,)), num_classes=classes, name="fixed")


@pytest.mark.parametrize(("coarse", "fine"), [((2, 3), (5, 7)), ((1, 1), (4, 4)), ((3, 3), (3, 8)), ((5, 4), (9, 13))])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_maps_come_at_the_size_of_the_images_in_full_precision(coarse, fine, dtype):
    logits = torch.randn(2, 3, *coarse).to(dtype)
    result = fixed(logits)(torch.rand(2, 1, *fine))
    assert (result.shape, result.dtype) == ((2, 3, *fine), torch.float32)
    for n in range(2):
        for c in range(3):
            torch.testing.assert_close(result[n, c], upsampled(logits[n, c].float(), *fine), atol=1e-5, rtol=0)


def test_maps_stay_in_full_precision_where_the_rest_is_not():
    network = Network(nn.Conv2d(1, 3, 1, stride=2), Preprocessing(mean=(0.0,), std=(1.0,)), num_classes=3, name="c")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert network.backbone(torch.rand(1, 1, 8, 6)).dtype == torch.bfloat16
        assert network(torch.rand(1, 1, 8, 6)).dtype == torch.float32


def test_maps_of_the_right_size_and_logits_of_images_are_handed_on():
    maps = torch.randn(2, 3, 4, 5)
    assert torch.equal(fixed(maps)(torch.rand(2, 1, 4, 5)), maps)
    for dtype in (torch.float32, torch.bfloat16):
        plain = torch.randn(2, 3).to(dtype)
        assert fixed(plain)(torch.rand(2, 1, 4, 5)) is plain


class Halving(nn.Module):
    """Sums of blocks of 32 x 32 pixels, for three classes; refuses sides that are no multiples of 32."""

    def forward(self, images):
        assert images.shape[2] % 32 == images.shape[3] % 32 == 0, f"wrong input shape {tuple(images.shape)}"
        return F.avg_pool2d(images, 32, divisor_override=1) * torch.tensor([1.0, -1.0, 2.0]).view(1, 3, 1, 1)


def halving(size_multiple):
    plain = Preprocessing(mean=(0.5,), std=(0.25,))
    return Network(Halving(), plain, num_classes=3, name="halving", size_multiple=size_multiple)


@pytest.mark.parametrize("size", [(1, 1), (31, 33), (48, 64), (64, 70), (45, 60)])
def test_images_are_padded_with_black_below_and_right_and_logits_cropped_back(size):
    images = torch.rand(2, 1, *size)
    rows, columns = (-(-side // 32) for side in size)
    padded = torch.zeros(2, rows * 32, columns * 32)
    padded[:, : size[0], : size[1]] = images[:, 0]
    result = halving(32)(images)
    assert result.shape == (2, 3, *size)
    for n in range(2):
        sums = torch.zeros(rows, columns)
        for y in range(rows):
            for x in range(columns):
                sums[y, x] = ((padded[n, y * 32 : y * 32 + 32, x * 32 : x * 32 + 32] - 0.5) / 0.25).sum()
        expected = upsampled(sums, rows * 32, columns * 32)[: size[0], : size[1]]
        for c, factor in enumerate((1, -1, 2)):
            torch.testing.assert_close(result[n, c], factor * expected, atol=0.02, rtol=1e-5)


def test_nothing_is_padded_where_the_size_fits():
    images = torch.rand(1, 1, 64, 32)
    assert torch.equal(halving(32)(images), halving(1)(images))
    with pytest.raises(AssertionError, match="wrong input shape"):
        halving(1)(torch.rand(1, 1, 64, 33))
    odd = torch.rand(2, 3, 5, 7)
    assert torch.equal(echo(mean=(0.0,) * 3, std=(1.0,) * 3)(odd), odd)


def test_logits_of_images_are_not_cropped():
    plain = torch.randn(2, 3)
    network = Network(Fixed(plain), Preprocessing((0.0,), (1.0,)), num_classes=3, name="fixed", size_multiple=8)
    assert network(torch.rand(2, 1, 5, 5)) is plain


@pytest.mark.parametrize(("size", "wanted"), [((17, 20), 24), ((300, 3), 24), ((24, 8), 24)])
def test_check_output_names_a_size_for_images_that_are_too_small(size, wanted):
    class Deep(nn.Module):
        def forward(self, images):
            return F.max_pool2d(images, 21, stride=1).expand(-1, 3, -1, -1)

    network = Network(Deep(), Preprocessing((0.0,), (1.0,)), num_classes=3, name="deep")
    with pytest.raises(
        ConfigError, match=rf"images of {size[0]}x{size[1]} pixels .*it needs {wanted}x{wanted} pixels or so; choose"
    ):
        check_output(network, torch.rand(1, 1, *size), dense=True)
    check_output(network, torch.rand(1, 1, wanted, wanted), dense=True)


def test_check_output_names_no_size_where_none_fits():
    with pytest.raises(ConfigError, match=r"pixels \(wrong input shape \(1, 1, 5, 5\)\); choose another"):
        check_output(refusing(), torch.rand(1, 1, 5, 5), dense=True)


def refusing():
    class Refusing(nn.Module):
        def forward(self, images):
            raise ValueError(f"wrong input shape {tuple(images.shape)}")

    return Network(Refusing(), Preprocessing((0.0,), (1.0,)), num_classes=3, name="refusing")


@pytest.mark.parametrize("training", [True, False])
def test_check_output_leaves_a_good_network_alone(training):
    network = linear().train(training)
    images = torch.rand(2, 1, 4, 4)
    generator_before = torch.get_rng_state()
    check_output(network, images)
    assert network.training is training
    assert torch.equal(torch.get_rng_state(), generator_before)


def test_check_output_names_network_expected_and_found():
    with pytest.raises(ConfigError, match=r"'linear' gives an output of shape \(2, 5\).*expected \(2, 3\)"):
        check_output(linear(outputs=5), torch.rand(2, 1, 4, 4))
    with pytest.raises(ConfigError, match=r"'echo'.*\(2, 1, 4, 4\).*expected \(2, 3\)"):
        check_output(echo(mean=(0,), std=(1,)), torch.rand(2, 1, 4, 4))


def test_check_output_wants_a_map_for_masks():
    images = torch.rand(2, 1, 4, 6)
    check_output(fixed(torch.zeros(2, 3, 2, 2)), images, dense=True)
    with pytest.raises(
        ConfigError, match=r"'fixed' .*\(2, 5, 4, 6\).*expected \(2, 3, 4, 6\): images x classes x height"
    ):
        check_output(fixed(torch.zeros(2, 5, 2, 2)), images, dense=True)


@pytest.mark.parametrize(
    ("logits", "dense", "advice"),
    [
        (torch.zeros(2, 3), True, "choose a network for masks, such as deeplab:timm:mobilenetv1_100, or task=classif"),
        (torch.zeros(2, 3, 1, 1), False, "end it with pooling and flattening, or choose task=segmentation"),
        (torch.zeros(2, 5), False, "Give it 3 outputs, one a class"),
        (torch.zeros(2, 5, 2, 2), True, "Give it 3 outputs, one a class"),
        ({"out": torch.zeros(2, 3, 2, 2)}, True, "output of shape dict .*one tensor of logits"),
    ],
)
def test_check_output_says_what_to_do(logits, dense, advice):
    with pytest.raises(ConfigError, match=advice):
        check_output(fixed(logits), torch.rand(2, 1, 4, 6), dense=dense)


def test_check_output_explains_an_image_size_that_does_not_fit():
    network = linear().train()
    with pytest.raises(ConfigError, match="'linear' cannot take images of 5x6 pixels"):
        check_output(network, torch.rand(2, 1, 5, 6))
    assert network.training
