import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from dmt.data.augment import (
    AUGMENTS,
    DIGITS_AFFINE,
    ColorJitter,
    Cutout,
    RandomAffine,
    RandomCrop,
    RandomFlip,
    build_augment,
    inverse_affine,
)
from dmt.errors import ConfigError


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny batches: threads would only wait for each other, long where the machine is busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def stream(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def noise(count: int, channels: int, height: int = 32, width: int = 32) -> Tensor:
    return torch.from_numpy(stream(99).integers(0, 256, (count, channels, height, width), dtype=np.uint8))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", AUGMENTS)
def test_shape_range_and_repetition(name: str, channels: int) -> None:
    images = noise(64, channels, 24, 32)
    before = images.clone()
    augment = build_augment(name, "anything")
    first, again, other = augment(images, stream(1)), augment(images, stream(1)), augment(images, stream(2))
    assert first.shape == images.shape
    assert first.dtype == torch.float32
    assert first.min() >= 0
    assert first.max() <= 1
    assert torch.equal(first, again)
    assert torch.equal(images, before)
    assert torch.equal(first, other) == (name == "none")


@pytest.mark.parametrize("name", [name for name in AUGMENTS if name != "none"])
def test_copies_of_one_image_come_out_different(name: str) -> None:
    images = noise(1, 3).expand(64, -1, -1, -1)
    views = build_augment(name, "anything")(images, stream())
    assert len({view.numpy().tobytes() for view in views}) > 48


def test_none_is_division_by_255() -> None:
    images = noise(3, 3)
    assert torch.equal(build_augment("none", "digits")(images, stream()), images.float() / 255)


def test_reference_share_of_black_images() -> None:
    """Two of 16 operations move an image out of its 32 pixels at seven of ten strengths: 8.75 % (spec, B21)."""
    images = noise(20, 3).clamp_(min=1)
    augment = build_augment("reference", "cifar-10")
    generator = stream(5)
    batch = images.repeat(400, 1, 1, 1)
    black = (augment(batch, generator).amax(dim=(1, 2, 3)) == 0).float().mean().item()
    # Brightness, posterize and others never blacken noise; the error of 8,000 draws is 0.3 points.
    assert abs(black - 0.0875) < 0.012
    gentle = build_augment("cifar", "cifar-10")(batch[:2000], generator)
    assert not (gentle.amax(dim=(1, 2, 3)) == 0).any()


def test_flip() -> None:
    images = noise(1000, 1, 4, 5)
    flipped = RandomFlip()(images, stream())
    same = (flipped == images).flatten(1).all(1)
    mirrored = (flipped == images.flip(-1)).flatten(1).all(1)
    assert (same ^ mirrored).all()
    assert 0.45 < mirrored.float().mean() < 0.55


def test_crop_is_a_window_of_the_padded_image() -> None:
    images = noise(300, 3, 8, 6)
    cropped = RandomCrop(padding=2, fill=128)(images, stream())
    assert cropped.shape == images.shape
    assert cropped.dtype == torch.uint8
    places = set()
    for image, view in zip(images, cropped, strict=True):
        padded = torch.full((3, 12, 10), 128, dtype=torch.uint8)
        padded[:, 2:10, 2:8] = image
        found = [(y, x) for y in range(5) for x in range(5) if torch.equal(padded[:, y : y + 8, x : x + 6], view)]
        assert len(found) == 1
        places.add(found[0])
    assert len(places) == 25


@pytest.mark.parametrize("size", [(16, 16), (12, 20)])
@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_affine_equals_torchvision(size: tuple[int, int], mode: str) -> None:
    """torchvision's affine takes one image at a time; the drawn parameters are drawn again beside it."""
    count, (height, width) = 12, size
    smooth = F.gaussian_blur(noise(count, 1, height, width).float() / 255, [5, 5])
    transform = RandomAffine(rotation=25, translation=0.2, scale=(0.7, 1.4), shear=15, interpolation=mode)
    result = transform(smooth, stream(4))
    draws = stream(4)
    angle = draws.uniform(-25, 25, count)
    moved = draws.uniform(-0.2, 0.2, (2, count))
    scale = draws.uniform(0.7, 1.4, count)
    shear = draws.uniform(-15, 15, count)
    for k in range(count):
        expected = F.affine(
            smooth[k],
            angle=angle[k],
            translate=[moved[0, k] * width, moved[1, k] * height],
            scale=scale[k],
            shear=[shear[k], 0.0],
            interpolation=InterpolationMode(mode),
        )
        difference = (result[k] - expected).abs()
        if mode == "bilinear":
            assert difference.max() < 1e-4
        else:
            assert (difference > 1e-4).float().mean() < 0.01  # a place on the border of two pixels


def test_affine_places_by_hand() -> None:
    theta = inverse_affine(
        np.array([math.pi / 2]), np.zeros((2, 1)), np.full((2, 1), 2.0), np.zeros(1), image_size=(10, 20)
    )[0]
    # A quarter turn clockwise at double size: what is shown 4 right of the center was 2 above it (y points down).
    x, y = theta @ np.array([4 / 10, 0, 1])
    assert x * 10 == pytest.approx(0)
    assert y * 5 == pytest.approx(-2)


def test_affine_without_ranges_changes_nothing_and_fill_shows_outside() -> None:
    images = noise(4, 3).float() / 255
    assert torch.allclose(RandomAffine()(images, stream()), images, atol=1e-5)
    half = torch.full((50, 1, 10, 10), 0.25)
    moved = RandomAffine(translation=0.5, fill=0.75, interpolation="nearest")(half, stream())
    assert set(moved.unique().tolist()) == {0.25, 0.75}


def test_affine_ranges_are_used() -> None:
    flat = torch.full((200, 1, 16, 16), 1.0)
    mass = DIGITS_AFFINE(flat, stream()).mean(dim=(1, 2, 3))
    assert mass.min() > 0.5
    assert mass.std() > 0.02


def test_cutout() -> None:
    images = torch.full((2000, 2, 20, 30), 0.5)
    result = Cutout(size=0.5, probability=0.75, fill=1.0)(images, stream())
    painted = (result == 1).all(dim=1)
    assert torch.equal(result[:, 0], result[:, 1])
    # Of 75 %, about one in twelve is thinner than a pixel and falls between pixel centers.
    assert 0.64 < painted.flatten(1).any(1).float().mean() < 0.74
    rows, columns = painted.any(2), painted.any(1)
    assert rows.sum(1).max() <= 11
    assert columns.sum(1).max() <= 16
    assert torch.equal(painted, rows[:, :, None] & columns[:, None, :])


def test_color_jitter_by_hand() -> None:
    images = noise(6, 3).float() / 255
    result = ColorJitter(brightness=0.3, contrast=0.4, saturation=0.5)(images, stream(8))
    draws = stream(8)
    factors = [draws.uniform(1 - span, 1 + span, 6) for span in (0.3, 0.4, 0.5)]
    for k in range(6):
        expected = F.adjust_brightness(images[k], factors[0][k])
        expected = F.adjust_contrast(expected, factors[1][k])
        expected = F.adjust_saturation(expected, factors[2][k])
        assert torch.allclose(result[k], expected, atol=1e-5)
    assert torch.allclose(ColorJitter()(images, stream()), images, atol=1e-6)


@pytest.mark.parametrize(
    ("dataset", "own"),
    [("digits", "digits"), ("fashion-mnist", "fashion-mnist"), ("cifar-10", "cifar"), ("folder", "photo")],
)
def test_default_goes_by_data_set(dataset: str, own: str) -> None:
    images = noise(16, 1, 16, 16)
    assert torch.equal(
        build_augment("default", dataset)(images, stream(3)), build_augment(own, dataset)(images, stream(3))
    )


def test_unknown_name() -> None:
    with pytest.raises(ConfigError, match=r"augment is 'referense'.*none, digits.*Did you mean 'reference'\?"):
        build_augment("referense", "digits")
