"""From the values and colors in mask files to classes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_masks import mask, save

from dmt.data.mask_coding import MaskCoding, plain_coding, table_coding, voc_palette
from dmt.errors import DataError
from dmt.types import IGNORE_INDEX

NAMES = ("cat", "dog", "hat")
COLORS = {(10, 20, 30): 0, (250, 0, 0): 1, (0, 0, 7): 2, (0, 0, 0): IGNORE_INDEX}
VALUES = mask(0)
PALETTE = [channel for color in voc_palette(256) for channel in color]


def colored(values: np.ndarray) -> np.ndarray:
    color_of = {k: color for color, k in COLORS.items()}
    return np.array([[color_of[value] for value in row] for row in values.tolist()], dtype=np.uint8)


@pytest.mark.parametrize("palette", [None, PALETTE])
@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif"])
def test_values_are_classes(tmp_path: Path, palette: list[int] | None, suffix: str) -> None:
    path = save(tmp_path / f"x{suffix}", VALUES, palette=palette)
    found = plain_coding(NAMES).read(path)
    assert found.dtype == torch.uint8
    assert np.array_equal(found, VALUES)


@pytest.mark.parametrize(
    ("suffix", "options"), [(".jpg", {}), (".png", {"format": "JPEG"}), (".tif", {"compression": "jpeg"})]
)
def test_masks_that_were_compressed_as_photos_are_refused(tmp_path: Path, suffix: str, options: dict[str, str]) -> None:
    """Whatever they are called: small numbers of classes survive as others."""
    Image.fromarray(VALUES % 3).save(tmp_path / f"x{suffix}", **options)
    with pytest.raises(DataError, match="a format that changes values"):
        plain_coding(NAMES).read(tmp_path / f"x{suffix}")


def test_masks_of_one_bit(tmp_path: Path) -> None:
    Image.fromarray(VALUES == 1).save(tmp_path / "x.png")
    assert np.array_equal(plain_coding(("no", "yes")).read(tmp_path / "x.png"), VALUES == 1)


@pytest.mark.parametrize("ignore_index", [3, 254, 255])
def test_the_ignored_value_is_the_users(tmp_path: Path, ignore_index: int) -> None:
    stored = np.where(VALUES == IGNORE_INDEX, ignore_index, VALUES).astype(np.uint8)
    found = plain_coding(NAMES, ignore_index=ignore_index).read(save(tmp_path / "x.png", stored))
    assert np.array_equal(found, VALUES)


@pytest.mark.parametrize(
    ("values", "ignore_index", "message"),
    [
        (
            (0, 7),
            255,
            r"x\.png holds the value 7 in {} pixels; allowed are 0\.\.2 \(cat \.\. hat\) and 255 \(ignored\)",
        ),
        ((0, 3, 255), 7, r"x\.png holds the value 3 in {} pixels \(and 1 further unknown\).* and 7 \(ignored\)\."),
        ((0, 255), -1, r"holds the value 255 in {} pixels; allowed are 0\.\.2 \(cat \.\. hat\)\."),
    ],
)
def test_unknown_values(tmp_path: Path, values: tuple[int, ...], ignore_index: int, message: str) -> None:
    stored = mask(1, values=values)
    path = save(tmp_path / "x.png", stored)
    count = int((stored == values[1]).sum())
    with pytest.raises(DataError, match=message.format(count)):
        plain_coding(NAMES, ignore_index=ignore_index).read(path)


def test_a_single_unknown_pixel(tmp_path: Path) -> None:
    stored = VALUES.copy()
    stored[3, 4] = 99
    with pytest.raises(DataError, match="the value 99 in 1 pixel;"):
        plain_coding(NAMES).read(save(tmp_path / "x.png", stored))


def test_a_table_ignores_what_it_does_not_name(tmp_path: Path) -> None:
    stored = np.arange(256, dtype=np.uint8).reshape(16, 16)
    found = table_coding({7: 0, 255: 1, 0: 2}).read(save(tmp_path / "x.png", stored))
    expected = [{7: 0, 255: 1, 0: 2}.get(value, IGNORE_INDEX) for value in range(256)]
    assert found.flatten().tolist() == expected


@pytest.mark.parametrize("opaque", [False, True])
def test_colors(tmp_path: Path, opaque: bool) -> None:
    pixels = colored(VALUES)
    if opaque:
        pixels = np.dstack([pixels, np.full_like(VALUES, 255)])
    found = plain_coding(NAMES, colors=COLORS).read(save(tmp_path / "x.png", pixels))
    assert np.array_equal(found, VALUES)


def test_unknown_colors(tmp_path: Path) -> None:
    pixels = colored(VALUES)
    pixels[0, :3] = (1, 2, 3)
    path = save(tmp_path / "x.png", pixels)
    coding = plain_coding(NAMES, colors=COLORS)
    with pytest.raises(DataError, match=r"x\.png holds the color \(1, 2, 3\) in 3 pixels, which is .*classes\.txt"):
        coding.read(path)
    pixels[1, :2] = (200, 2, 3)
    save(path, pixels)
    with pytest.raises(DataError, match=r"\(1, 2, 3\) in 3 pixels \(and 1 further unknown\)"):
        coding.read(path)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (Image.fromarray(colored(VALUES)), r"x\.png is a mask in RGB colors, .*0\.\.2 \(cat"),
        (Image.fromarray(VALUES.astype(np.uint16)), r"x\.png has 16 bits a channel; .* a mask with its values"),
        (Image.fromarray(np.dstack([VALUES, VALUES])), r"mask of mode LA"),
        (Image.fromarray(np.dstack([colored(VALUES), VALUES])), r"mask with transparent pixels"),
    ],
)
def test_other_kinds_of_pixels(tmp_path: Path, image: Image.Image, message: str) -> None:
    image.save(tmp_path / "x.png")
    with pytest.raises(DataError, match=message):
        plain_coding(NAMES).read(tmp_path / "x.png")


def with_palette(*first: tuple[int, int, int]) -> list[int]:
    return [channel for color in first for channel in color] + PALETTE[3 * len(first) :]


def test_values_and_colors_of_a_palette_must_agree(tmp_path: Path) -> None:
    coding = plain_coding(NAMES, colors=COLORS)
    listed = [color for color, k in COLORS.items() if k != IGNORE_INDEX]
    path = save(tmp_path / "x.png", VALUES, palette=with_palette(*listed))
    assert np.array_equal(coding.read(path), VALUES)
    assert np.array_equal(coding.read(save(path, VALUES, palette=[*PALETTE[3:], 9, 9, 9])), VALUES), "colors not listed"
    save(path, VALUES, palette=with_palette(*reversed(listed)))
    with pytest.raises(DataError, match=r"value 0 in the color \(0, 0, 7\), which classes\.txt gives to class 2"):
        coding.read(path)


def test_broken_masks(tmp_path: Path) -> None:
    path = save(tmp_path / "x.png", VALUES)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(DataError, match=r"x\.png cannot be read"):
        plain_coding(NAMES).read(path)


def test_voc_palette() -> None:
    """Against the bits, one by one."""
    for k, color in enumerate(voc_palette(255)):
        channels, rest = [0, 0, 0], k
        for shift in range(7, -1, -1):
            for channel in range(3):
                channels[channel] |= (rest & 1) << shift
                rest >>= 1
        assert color == tuple(channels)
    assert voc_palette(21)[:4] == ((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0))
    assert voc_palette(21)[20] == (0, 64, 128)


def test_a_coding_travels_to_workers() -> None:
    import pickle

    coding: MaskCoding = pickle.loads(pickle.dumps(plain_coding(NAMES, colors=COLORS)))
    assert coding.colors == COLORS
