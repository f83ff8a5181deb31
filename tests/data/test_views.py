from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from dmt.data.views import Maps, PlainView, RandomView, build_view
from dmt.errors import ConfigError, DataError

SIZES = [((12, 17), (12, 17)), ((12, 17), (9, 20)), ((7, 5), (16, 3)), ((20, 11), (6, 6)), ((1, 1), (4, 3))]


def stream(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def sample(height: int, width: int, channels: int = 3) -> Maps:
    """A noisy image; the code names the source pixel, and the label is a function of the code."""
    image = torch.from_numpy(stream().integers(0, 256, (channels, height, width), dtype=np.uint8))
    code = torch.arange(1, height * width + 1, dtype=torch.int32).reshape(height, width)
    return image, (code % 7).long(), code


def bilinear(image: np.ndarray, y: float, x: float) -> np.ndarray:
    """One pixel of each channel, at a place in units of pixels, whose centers are at halves."""
    y, x = y - 0.5, x - 0.5
    total = np.zeros(len(image))
    for row in (int(np.floor(y)), int(np.floor(y)) + 1):
        for column in (int(np.floor(x)), int(np.floor(x)) + 1):
            pixel = image[:, np.clip(row, 0, image.shape[1] - 1), np.clip(column, 0, image.shape[2] - 1)]
            total += (1 - abs(y - row)) * (1 - abs(x - column)) * pixel
    return total


def check_by_hand(view: RandomView, given: Maps, result: Maps, draws: np.ndarray) -> None:
    """Every pixel of a view, one by one, from the four numbers it drew."""
    image, _, code = (one.numpy() for one in given)
    pixels, labels, codes = (one.numpy() for one in result)
    factor = view.scale[0] + draws[0] * (view.scale[1] - view.scale[0])
    scaled = [max(1, int(side * factor)) for side in code.shape]
    top, left = (int(draws[1 + axis] * (max(scaled[axis] - view.crop_size[axis], 0) + 1)) for axis in (0, 1))
    for i, j in np.ndindex(*view.crop_size):
        row = i + top
        column = (view.crop_size[1] - 1 - j if draws[3] < view.flip else j) + left
        if row >= scaled[0] or column >= scaled[1]:
            assert (pixels[:, i, j].max(), labels[i, j], codes[i, j]) == (0, 255, 0)
            continue
        y, x = (row + 0.5) * code.shape[0] / scaled[0], (column + 0.5) * code.shape[1] / scaled[1]
        assert np.abs(bilinear(image, y, x) - pixels[:, i, j]).max() <= 0.5 + 1e-3
        # A place on the border of two pixels may belong to either.
        nearest = [code[int(y + a), int(x + b)] for a in (-1e-5, 1e-5) for b in (-1e-5, 1e-5)]
        assert codes[i, j] in nearest
        assert labels[i, j] == codes[i, j] % 7


@pytest.mark.parametrize(("size", "crop"), SIZES)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_pixel_by_hand(size: tuple[int, int], crop: tuple[int, int], channels: int) -> None:
    given = sample(*size, channels)
    for seed, scale in enumerate([(0.5, 1.5), (0.5, 1.5), (1.5, 1.5), (0.75, 0.75), (1.0, 1.0), (0.01, 0.02)]):
        view = RandomView(crop_size=crop, scale=scale)
        result = view(*given, stream(seed))
        assert [(one.dtype, tuple(one.shape[-2:])) for one in result] == [
            (dtype, crop) for dtype in (torch.uint8, torch.int64, torch.int32)
        ]
        check_by_hand(view, given, result, stream(seed).random(4))


def test_an_unscaled_view_of_the_same_size_changes_nothing() -> None:
    given = sample(9, 14)
    for view in (RandomView(crop_size=(9, 14), scale=(1, 1), flip=0), PlainView(crop_size=(9, 14))):
        assert all(torch.equal(before, after) for before, after in zip(given, view(*given, stream()), strict=True))


def offsets(crop: tuple[int, int], mode: InterpolationMode | None) -> Tensor:
    """How far, in pixels, the label's source is from the image's, by a ramp whose levels name the column."""
    height, width = 30, 50
    columns = torch.arange(width).expand(height, width)
    image = (5 * columns).to(torch.uint8)[None]
    if mode is None:
        pixels, _, code = PlainView(crop_size=crop)(image, columns, columns.int(), stream())
    else:
        pixels = F.resize(image.float(), list(crop), antialias=False)
        code = F.resize(columns[None], list(crop), mode)[0]
    return (pixels[0].double() / 5 - code).abs()


@pytest.mark.parametrize("crop", [(30, 45), (28, 49), (20, 37), (33, 52), (41, 74), (30, 50), (60, 100), (15, 25)])
def test_image_and_label_stay_together(crop: tuple[int, int]) -> None:
    rounding = 0.5 / 5
    assert offsets(crop, None).max() <= 0.5 + rounding + 1e-4


def test_plain_nearest_would_not_keep_them_together() -> None:
    """Why the maps are resized with `nearest-exact`, not with what tv_tensors.Mask means by `nearest`."""
    assert offsets((28, 49), InterpolationMode.NEAREST).max() > 0.95
    assert offsets((28, 49), InterpolationMode.NEAREST_EXACT).max() <= 0.5 + 1e-4


def test_large_codes_and_labels_survive() -> None:
    code = torch.arange(65536 - 400, 65536, dtype=torch.int32).reshape(20, 20)
    label = torch.where(code % 3 == 0, 255, 254)
    image = torch.zeros(1, 20, 20, dtype=torch.uint8)
    _, after, codes = RandomView(crop_size=(32, 32), scale=(0.9, 1.4))(image, label, code, stream())
    outside = codes == 0
    assert torch.isin(codes[~outside], code).all()
    assert codes.max() == 65535
    assert torch.equal(after, torch.where(outside | (codes % 3 == 0), 255, 254))


@pytest.mark.parametrize(
    "settings", [{}, {"scale": (1, 1)}, {"flip": 0.0}, {"flip": 1.0}, {"scale": (0.1, 0.1), "crop_size": (50, 50)}]
)
def test_always_four_draws(settings: dict[str, Any]) -> None:
    one, other = stream(7), stream(7)
    RandomView(**{"crop_size": (8, 8)} | settings)(*sample(10, 12), one)
    other.random(4)
    assert one.random() == other.random()


def test_plain_draws_nothing_and_keeps_every_corner() -> None:
    one = stream(7)
    image, label, code = sample(10, 12)
    pixels, labels, codes = PlainView(crop_size=(5, 24))(image, label, code, one)
    assert one.random() == stream(7).random()
    assert (pixels.shape, pixels.dtype) == ((3, 5, 24), torch.uint8)
    expected = torch.nn.functional.interpolate(image[None].double(), (5, 24), mode="bilinear")[0]
    assert (pixels - expected).abs().max() <= 0.5 + 1e-3
    rows, columns = [1, 3, 5, 7, 9], [j // 2 for j in range(24)]
    assert torch.equal(codes, code[rows][:, columns])
    assert torch.equal(labels, label[rows][:, columns])


def test_flip_mirrors_all_three() -> None:
    given = sample(10, 12)
    straight = RandomView(crop_size=(15, 9), flip=0)(*given, stream(3))
    mirrored = RandomView(crop_size=(15, 9), flip=1)(*given, stream(3))
    assert all(torch.equal(one.flip(-1), other) for one, other in zip(straight, mirrored, strict=True))
    assert not torch.equal(straight[0], mirrored[0])


def test_parameters_are_spread_as_told() -> None:
    """Of 1000 views: half are mirrored, every window is as likely, scaled widths are uniform."""
    image, label, _ = sample(6, 40)
    columns = torch.arange(40, dtype=torch.int32).expand(6, 40)
    generator, count = stream(), 1000
    windows = RandomView(crop_size=(6, 37), scale=(1, 1))
    ends = torch.stack([windows(image, label, columns, generator)[2][0, [0, -1]] for _ in range(count)])
    mirrored = ends[:, 0] > ends[:, 1]
    assert abs(mirrored.double().mean() - 0.5) < 0.06
    starts = torch.bincount(ends.amin(dim=1), minlength=4) / count
    assert starts.shape == (4,)
    assert (starts - 0.25).abs().max() < 0.06
    scaled = RandomView(crop_size=(6, 80))
    widths = torch.tensor([(scaled(image, label, columns, generator)[1][0] != 255).sum() for _ in range(count)])
    assert (widths.min(), widths.max()) == (20, 59)
    assert abs(widths.double().mean() - 39.5) < 1.5


def test_same_stream_same_view_and_inputs_untouched() -> None:
    given = sample(10, 12)
    copies = [one.clone() for one in given]
    view = RandomView(crop_size=(8, 16))
    first, second, third = (view(*given, stream(seed)) for seed in (1, 1, 2))
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))
    assert not torch.equal(first[2], third[2])
    assert all(torch.equal(one, other) for one, other in zip(given, copies, strict=True))


def test_names() -> None:
    assert build_view("default", crop_size=(3, 4)) == RandomView(crop_size=(3, 4), scale=(0.5, 1.5), flip=0.5)
    assert build_view("no-flip", crop_size=(3, 4), scale=(1, 2)) == RandomView(crop_size=(3, 4), scale=(1, 2), flip=0)
    assert build_view("none", crop_size=(3, 4)) == PlainView(crop_size=(3, 4))
    with pytest.raises(ConfigError, match=r"augment is 'defualt'; known are default, .*none\. Did you mean 'default'"):
        build_view("defualt", crop_size=(3, 4))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"crop_size": (0, 4)}, r"crop size is \(0, 4\); .*at least 1"),
        ({"crop_size": (3, 4), "scale": (0.0, 1.0)}, r"scale is \(0\.0, 1\.0\); two factors above 0"),
        ({"crop_size": (3, 4), "scale": (1.5, 0.5)}, r"scale is \(1\.5, 0\.5\); .*smaller one first"),
        ({"crop_size": (3, 4), "scale": (1.0, float("nan"))}, "two factors above 0"),
        ({"crop_size": (3, 4), "flip": 1.5}, r"flip is 1\.5; allowed are probabilities from 0 to 1"),
    ],
)
def test_settings_out_of_range(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RandomView(**settings)


def test_plain_crop_size_out_of_range() -> None:
    with pytest.raises(ConfigError, match=r"crop size is \(5, -1\)"):
        build_view("none", crop_size=(5, -1))


@pytest.mark.parametrize("view", [RandomView(crop_size=(8, 8)), PlainView(crop_size=(8, 8))])
def test_a_label_of_another_size_is_refused(view: RandomView) -> None:
    image, label, code = sample(10, 12)
    with pytest.raises(DataError, match=r"image of 10 x 12 pixels.*label of 10 x 12.*confidences of 12 x 10"):
        view(image, label, code.T, stream())
    with pytest.raises(DataError, match=r"label of 9 x 12"):
        view(image, label[1:], code, stream())
