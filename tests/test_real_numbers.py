"""Images of real numbers, which come to networks as they are."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load as load_tensors

from dmt.config_files import load_config
from dmt.data.images import ArrayImages, DataSet, pixel_statistics, resize, to_unit
from dmt.data.views import build_view
from dmt.errors import ConfigError
from dmt.loading import load_data
from dmt.run import run
from tiny_runs import TINY_NETWORKS, bits_of_run, differing, striped_images, tiny_config


def stripes(*, as_levels: bool) -> DataSet:
    parts = {}
    for part, count, seed in (("train", 40, 1), ("test", 18, 2)):
        pixels, labels = striped_images(count, seed=seed)
        parts[part] = ArrayImages(pixels if as_levels else to_unit(pixels), labels, part)
    return DataSet(name="stripes", class_names=("0", "1", "2"), mean=(0.25,), std=(0.1,), **parts)


def test_statistics_are_those_of_levels() -> None:
    pixels, _ = striped_images(20, seed=3)
    for exact, measured in zip(pixel_statistics(pixels), pixel_statistics(to_unit(pixels)), strict=True):
        np.testing.assert_allclose(measured, exact, rtol=1e-6)


def test_resizing_neither_rounds_nor_cuts_off() -> None:
    images = torch.randn(3, 2, 8, 8, generator=torch.Generator().manual_seed(1)) * 1000
    smaller = resize(images, (4, 4))
    assert smaller.dtype == torch.float32
    assert smaller.min() < 0
    torch.testing.assert_close(smaller.mean(), images.mean(), atol=5.0, rtol=0.2)


@pytest.mark.parametrize("name", ["default", "none"])
def test_views_of_masks_keep_real_numbers(name: str) -> None:
    image, zeros = torch.full((1, 8, 8), 0.3), torch.zeros(8, 8, dtype=torch.int64)
    view = build_view(name, crop_size=(4, 4), scale=(1.0, 1.0))
    cut, _, _ = view(image, zeros, zeros.int(), np.random.default_rng(0))
    torch.testing.assert_close(cut, torch.full((1, 4, 4), 0.3))


@pytest.mark.parametrize("augment", ["none", "photo"])
def test_a_run_on_levels_divided_by_255_is_one_on_levels_to_the_bit(augment: str, tmp_path: Path) -> None:
    config = tiny_config(augment=augment, duration={"steps": 10}, supervised={"steps": 10})
    for name, as_levels in (("levels", True), ("reals", False)):
        run(config, stripes(as_levels=as_levels), TINY_NETWORKS, run_dir=tmp_path / name)
    levels, reals = (without_metadata(bits_of_run(tmp_path / name)) for name in ("levels", "reals"))
    assert differing(levels, reals) == []


def without_metadata(bits: dict[str, Any]) -> dict[str, Any]:
    """Weights as bare tensors, and no hashes of their files: those say what the images held, which is not the same."""
    plain: dict[str, Any] = {}
    for name, value in bits.items():
        if name.endswith(".safetensors"):
            plain[name] = {key: tensor.numpy().tobytes() for key, tensor in load_tensors(value).items()}
        else:
            hashes = {"DONE": "sha256", "manifest.json": "teacher_hash"}.get(name.rpartition("/")[2])
            plain[name] = {key: one for key, one in value.items() if key != hashes} if hashes else value
    return plain


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"augment": "cifar"}, "^augment=cifar"),
        ({"augment": "reference"}, "^augment=reference"),
        ({"augment": "none", "self_supervised": {"steps": 1, "augment": "cifar"}}, "^self_supervised.augment=cifar"),
    ],
)
def test_augmentations_of_levels_are_refused(changes: dict[str, Any], words: str) -> None:
    config: Any = load_config(tiny_config(**changes))
    with pytest.raises(ConfigError, match=f"{words} changes levels"):
        load_data(config, stripes(as_levels=False))
    assert load_data(config, stripes(as_levels=True)).num_classes == 3


@pytest.mark.parametrize("name", ["cifar", "reference"])
def test_augmentations_of_gray_and_rgb_are_refused_for_other_channels(name: str) -> None:
    data = stripes(as_levels=True)
    pixels = data.train.pixels[:, :1].expand(-1, 4, -1, -1).contiguous()  # type: ignore[attr-defined]
    four = replace(data, train=replace(data.train, pixels=pixels), test=None, mean=(0.5,) * 4, std=(0.5,) * 4)  # type: ignore[type-var]
    with pytest.raises(ConfigError, match=f"^augment={name} is for images of 1 or 3 channels, and these have 4"):
        load_data(load_config(tiny_config(augment=name)), four)
    assert load_data(load_config(tiny_config(augment="photo")), four).channels == 4


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"augment": "default"}, "^augment=default"),
        ({"augment": "digits"}, "^augment=digits"),
        ({"augment": "none", "self_supervised": {"steps": 1, "augment": "photo"}}, "^self_supervised.augment=photo"),
    ],
)
def test_augmentations_that_cut_off_are_refused_where_there_is_what_to_cut(changes: dict[str, Any], words: str) -> None:
    config, data = load_config(tiny_config(**changes)), stripes(as_levels=False)
    assert load_data(config, data).num_classes == 3
    wide = replace(data, train=replace(data.train, pixels=data.train.pixels * 3 - 1))  # type: ignore[type-var, attr-defined]
    with pytest.raises(ConfigError, match=rf"{words} cuts off values outside \[0, 1\], .* real numbers from -1 to "):
        load_data(config, wide)
    unchanged = tiny_config(augment="none")
    assert load_data(load_config(unchanged), wide).num_classes == 3


def test_other_types_are_refused() -> None:
    data = stripes(as_levels=False)
    with pytest.raises(ValueError, match=r"should be uint8 or float32 .* but are float64"):
        replace(data.train, pixels=data.train.pixels.double())  # type: ignore[type-var, attr-defined]
