"""Each operation against Pillow, image by image, at every strength."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageEnhance, ImageOps
from torch import Tensor

from dmt.data.randaugment import (
    CIFAR_OPERATIONS,
    REFERENCE_OPERATIONS,
    RandomOperation,
    Strength,
    warp_nearest,
)

AFFINE = Image.Transform.AFFINE


def solarize_add(image: Image.Image, value: float) -> Image.Image:
    brighter = np.clip(np.asarray(image).astype(int) + round(value), 0, 255).astype(np.uint8)
    return ImageOps.solarize(Image.fromarray(brighter), 128)


def shift(image: Image.Image, matrix: tuple[float, ...]) -> Image.Image:
    return image.transform(image.size, AFFINE, matrix)


PILLOW = {
    "AutoContrast": lambda image, v: ImageOps.autocontrast(image),
    "Equalize": lambda image, v: ImageOps.equalize(image),
    "Invert": lambda image, v: ImageOps.invert(image),
    "Posterize": lambda image, v: ImageOps.posterize(image, max(1, int(v))),
    "Solarize": ImageOps.solarize,
    "SolarizeAdd": solarize_add,
    "Color": lambda image, v: ImageEnhance.Color(image).enhance(v),
    "Contrast": lambda image, v: ImageEnhance.Contrast(image).enhance(v),
    "Brightness": lambda image, v: ImageEnhance.Brightness(image).enhance(v),
    "Sharpness": lambda image, v: ImageEnhance.Sharpness(image).enhance(v),
    "Rotate": lambda image, v: image.rotate(v),
    "ShearX": lambda image, v: shift(image, (1, v, 0, 0, 1, 0)),
    "ShearY": lambda image, v: shift(image, (1, 0, 0, v, 1, 0)),
    "TranslateXabs": lambda image, v: shift(image, (1, 0, v, 0, 1, 0)),
    "TranslateYabs": lambda image, v: shift(image, (1, 0, 0, 0, 1, v)),
    "TranslateX": lambda image, v: shift(image, (1, 0, v * image.width, 0, 1, 0)),
    "TranslateY": lambda image, v: shift(image, (1, 0, 0, 0, 1, v * image.height)),
}
ONE_LEVEL = {"AutoContrast", "Color", "Contrast", "Brightness", "Sharpness"}
OPERATIONS = {op.name: op for op in (*CIFAR_OPERATIONS, *REFERENCE_OPERATIONS)}


def sample_images(channels: int, size: tuple[int, int] = (32, 32)) -> Tensor:
    """Noise, a narrow range of levels, smooth ramps, one constant image, black and white."""
    stream = np.random.default_rng(7)
    height, width = size
    noise = stream.integers(0, 256, (4, channels, height, width))
    narrow = stream.integers(90, 140, (3, channels, height, width))
    ramp = np.broadcast_to(np.linspace(10, 240, width), (1, channels, height, width))
    flat = [np.full((1, channels, height, width), level) for level in (0, 77, 255)]
    return torch.from_numpy(np.concatenate([noise, narrow, ramp, *flat]).astype(np.uint8))


def to_pil(image: Tensor) -> Image.Image:
    array = image.permute(1, 2, 0).numpy()
    return Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)


def from_pil(image: Image.Image) -> Tensor:
    array = np.asarray(image)
    return torch.from_numpy(np.atleast_3d(array).copy()).permute(2, 0, 1)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("sign", [-1.0, 1.0])
@pytest.mark.parametrize("name", PILLOW)
def test_operation_equals_pillow(name: str, sign: float, channels: int) -> None:
    operation = OPERATIONS[name]
    images = sample_images(channels)
    count = len(images)
    for m in range(1, 11):
        value = operation.values(np.full(count, m), np.full(count, sign))
        assert (value < 0).all() == (operation.signed and sign < 0)
        result = operation.apply(images, Strength(value, np.zeros((count, 2))))
        assert result.dtype == torch.uint8
        for before, after in zip(images, result, strict=True):
            expected = from_pil(PILLOW[name](to_pil(before), float(value[0])))
            difference = (after.int() - expected.int()).abs()
            assert difference.max() <= (name in ONE_LEVEL), (name, m)


@pytest.mark.parametrize("name", [name for name in PILLOW if OPERATIONS[name].signed])
def test_warps_on_images_that_are_not_square(name: str) -> None:
    images = sample_images(3, (20, 31))
    count = len(images)
    for m in (1, 3, 7):
        value = OPERATIONS[name].values(np.full(count, m), np.full(count, 1.0))
        result = OPERATIONS[name].apply(images, Strength(value, np.zeros((count, 2))))
        expected = torch.stack([from_pil(PILLOW[name](to_pil(image), float(value[0]))) for image in images])
        assert torch.equal(result, expected)


def test_each_image_of_a_group_has_its_own_strength() -> None:
    images = sample_images(3)
    magnitude = np.arange(len(images)) % 10 + 1
    for name, reference in PILLOW.items():
        value = OPERATIONS[name].values(magnitude, np.ones(len(images)))
        result = OPERATIONS[name].apply(images, Strength(value, np.zeros((len(images), 2))))
        for before, after, own in zip(images, result, value, strict=True):
            expected = from_pil(reference(to_pil(before), float(own)))
            assert (after.int() - expected.int()).abs().max() <= (name in ONE_LEVEL), name


@pytest.mark.parametrize("name", ["Color", "Contrast", "Brightness", "Sharpness"])
def test_blends_are_mostly_exact_and_the_identity_at_five(name: str) -> None:
    images = sample_images(3)
    count = len(images)
    value = OPERATIONS[name].values(np.full(count, 5), np.ones(count))
    result = OPERATIONS[name].apply(images, Strength(value, np.zeros((count, 2))))
    assert (result.int() - images.int()).abs().max() <= 1
    value = OPERATIONS[name].values(np.full(count, 8), np.ones(count))
    result = OPERATIONS[name].apply(images, Strength(value, np.zeros((count, 2))))
    expected = torch.stack([from_pil(PILLOW[name](to_pil(image), float(value[0]))) for image in images])
    assert (result == expected).float().mean() > 0.9


@pytest.mark.parametrize("channels", [1, 3])
def test_cutout_equals_a_drawn_rectangle(channels: int) -> None:
    stream = np.random.default_rng(3)
    images = sample_images(channels, (32, 28))
    count = len(images)
    fill = (125, 123, 114) if channels == 3 else 123
    for m in range(1, 11):
        value = OPERATIONS["CutoutAbs"].values(np.full(count, m), np.ones(count))
        place = stream.random((count, 2))
        result = OPERATIONS["CutoutAbs"].apply(images, Strength(value, place))
        for before, after, (v, h) in zip(images, result, place, strict=True):
            x0, y0 = int(max(0, h * 28 - value[0] / 2)), int(max(0, v * 32 - value[0] / 2))
            expected = to_pil(before)
            box = (x0, y0, min(28, x0 + value[0]), min(32, y0 + value[0]))
            ImageDraw.Draw(expected).rectangle(box, fill)
            assert torch.equal(after, from_pil(expected)), m


def test_tables() -> None:
    assert len(REFERENCE_OPERATIONS) == len(CIFAR_OPERATIONS) == 16
    table = {op.name: (op.low, op.high) for op in REFERENCE_OPERATIONS}
    assert table["Rotate"] == (0, 30)
    assert table["TranslateXabs"] == (0, 100)
    assert table["CutoutAbs"] == (0, 40)
    assert table["Sharpness"] == (0.1, 1.9)
    gentle = {op.name: (op.low, op.high) for op in CIFAR_OPERATIONS}
    assert gentle["TranslateX"] == (0, 0.3)
    assert gentle["CutoutAbs"] == (0, 16)
    bits = [max(1, int(v)) for v in OPERATIONS["Posterize"].values(np.arange(1, 11), np.ones(10))]
    assert bits == [1, 1, 1, 1, 2, 2, 2, 3, 3, 4]


def test_operations_strengths_and_signs_are_uniform() -> None:
    seen: list[tuple[int, float]] = []

    def spy(number: int, name: str):
        def apply(images: Tensor, strength: Strength) -> Tensor:
            seen.extend((number, float(v)) for v in strength.value)
            return images

        return type(OPERATIONS[name])(name, 0, 10, apply, signed=number % 2 == 0)

    operations = tuple(spy(number, op.name) for number, op in enumerate(REFERENCE_OPERATIONS))
    RandomOperation(operations)(torch.zeros(32_000, 1, 1, 1, dtype=torch.uint8), np.random.default_rng(0))
    numbers, values = np.array(seen).T
    assert np.abs(np.bincount(numbers.astype(int), minlength=16) / 2000 - 1).max() < 0.12
    assert np.abs(np.bincount(np.abs(values).astype(int), minlength=11)[1:] / 3200 - 1).max() < 0.12
    assert set(np.unique(values[numbers % 2 == 1])) == set(range(1, 11))
    assert abs((values[numbers % 2 == 0] < 0).mean() - 0.5) < 0.02


def test_warp_outside_is_black() -> None:
    white = torch.full((1, 3, 4, 4), 255, dtype=torch.uint8)
    moved = warp_nearest(white, np.array([[1.0, 0, 2, 0, 1, 0]]))
    assert moved[0, 0].tolist() == [[255, 255, 0, 0]] * 4
