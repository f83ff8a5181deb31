"""What the values in files become: pictures, bits, bands and ranges, each against plain arithmetic."""

import contextlib
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from dmt.data.bands import read_bands
from dmt.data.pixels import PixelRule
from dmt.errors import DataError

RANDOM = np.random.default_rng(0)


def scaled(values: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.array([[round((float(value) - low) * 255 / (high - low)) for value in row] for row in values])


def write_png16(path: Path, values: np.ndarray) -> None:
    Image.fromarray(values.astype(np.uint16)).save(path)


def test_sixteen_bits_by_their_range(tmp_path: Path) -> None:
    values = RANDOM.integers(100, 4000, (5, 7))
    write_png16(tmp_path / "x.png", values)
    tifffile.imwrite(tmp_path / "x.tif", values.astype(np.uint16))
    np.save(tmp_path / "x.npy", values.astype(np.uint16))
    rule = PixelRule(channels=1, value_range=(100, 4095))
    for name in ("x.png", "x.tif", "x.npy"):
        found = rule.read(tmp_path / name)
        assert found.dtype == torch.uint8
        assert np.array_equal(found[0].numpy(), scaled(values, 100, 4095)), name
        assert rule.size(tmp_path / name) == (5, 7)


def test_gray_of_a_range_is_repeated_where_three_channels_are_wanted(tmp_path: Path) -> None:
    write_png16(tmp_path / "x.png", RANDOM.integers(0, 1000, (4, 4)))
    found = PixelRule(value_range=(0, 1000)).read(tmp_path / "x.png")
    assert found.shape == (3, 4, 4)
    assert torch.equal(found[0], found[2])


@pytest.mark.parametrize("suffix", [".npy", ".tif"])
@pytest.mark.parametrize("bands", [2, 5, 12])
def test_bands_are_taken_as_they_are_stored(tmp_path: Path, suffix: str, bands: int) -> None:
    values = RANDOM.integers(0, 256, (6, 9, bands)).astype(np.uint8)
    path = tmp_path / f"x{suffix}"
    if suffix == ".npy":
        np.save(path, values)
    else:
        tifffile.imwrite(path, values, photometric="minisblack", planarconfig="contig")
    assert np.array_equal(PixelRule(channels=bands).read(path).numpy(), values.transpose(2, 0, 1))


@pytest.mark.parametrize(("bands", "channels"), [(2, 3), (5, 3), (12, 1)])
def test_bands_where_pictures_are_expected_are_counted(tmp_path: Path, bands: int, channels: int) -> None:
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, np.zeros((6, 9, bands), np.uint8), photometric="minisblack", planarconfig="contig")
    rule, expected = PixelRule(channels=channels), rf"x\.tif has {bands} bands, and data\.channels is {channels}\. Set"
    with pytest.raises(DataError, match=expected):
        rule.size(path)
    with pytest.raises(DataError, match=expected):
        rule.read(path)


@pytest.mark.parametrize("content", [b"", b"II*\0damaged"])
def test_a_damaged_tiff_is_no_matter_of_bands(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.tif"
    path.write_bytes(content)
    with pytest.raises(DataError, match="cannot be read"):
        PixelRule().read(path)


def test_bands_in_planes(tmp_path: Path) -> None:
    values = RANDOM.integers(0, 256, (5, 6, 9)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "x.tif", values, photometric="minisblack", planarconfig="separate")
    assert np.array_equal(PixelRule(channels=5).read(tmp_path / "x.tif").numpy(), values)


def test_floats_and_the_other_byte_order(tmp_path: Path) -> None:
    values = RANDOM.random((3, 4))
    for dtype in ("<f4", ">f4", ">f8"):
        np.save(tmp_path / "x.npy", values.astype(dtype))
        found = PixelRule(channels=1, value_range=(0, 1)).read(tmp_path / "x.npy")
        assert np.array_equal(found[0].numpy(), scaled(values.astype("f4"), 0, 1))


def test_color_becomes_gray_and_gray_color(tmp_path: Path) -> None:
    Image.new("RGB", (3, 2), (255, 0, 0)).save(tmp_path / "red.png")
    Image.new("L", (3, 2), 9).save(tmp_path / "gray.png")
    assert PixelRule(channels=1).read(tmp_path / "red.png").unique().tolist() == [76]
    assert PixelRule(channels=1).read(tmp_path / "gray.png").unique().tolist() == [9]
    assert PixelRule().read(tmp_path / "gray.png").shape == (3, 2, 3)


def test_a_palette_file_holds_its_indices_as_a_band(tmp_path: Path) -> None:
    image = Image.new("P", (3, 2), 4)
    image.putpalette([200] * 768)
    image.save(tmp_path / "x.png")
    assert read_bands(tmp_path / "x.png").ravel().tolist() == [4] * 6


CASES = {
    "more bands": (lambda p: np.save(p, np.zeros((2, 2, 4), np.uint8)), PixelRule(channels=5), "has 4 bands"),
    "one band": (lambda p: np.save(p, np.zeros((2, 2), np.uint8)), PixelRule(channels=5), "has 1 band,"),
    "no range": (lambda p: np.save(p, np.full((2, 2), 700, np.uint16)), PixelRule(channels=4), "has 1 band"),
    "sixteen bits": (
        lambda p: np.save(p, np.full((2, 2, 4), 700, np.uint16)),
        PixelRule(channels=4),
        r"values of uint16, 700 .. 700; say what they stand for: data.value_range",
    ),
    "above": (
        lambda p: np.save(p, np.full((2, 2), 700, np.uint16)),
        PixelRule(channels=1, value_range=(0, 699)),
        r"700 .. 700, but data.value_range is \[0, 699\]. Widen it",
    ),
    "NaN": (
        lambda p: np.save(p, np.full((2, 2), np.nan)),
        PixelRule(channels=1, value_range=(0, 1)),
        "holds the values NaN or infinite",
    ),
    "objects": (lambda p: np.save(p, np.array([[{}]]), allow_pickle=True), PixelRule(), "cannot be read"),
    "text": (lambda p: np.save(p, np.array([["a"]])), PixelRule(), "numbers of shape"),
    "empty": (lambda p: p.write_bytes(b""), PixelRule(), "cannot be read"),
    "four axes": (lambda p: np.save(p, np.zeros((1, 2, 2, 3), np.uint8)), PixelRule(), "numbers of shape"),
    "cut off": (
        lambda p: (np.save(p, np.zeros((9, 9), np.uint8)), p.write_bytes(p.read_bytes()[:-5])),
        PixelRule(),
        "cannot be read",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_does_not_fit_is_said(case: str, tmp_path: Path) -> None:
    write, rule, message = CASES[case]
    path = tmp_path / "x.npy"
    write(path)
    with pytest.raises(DataError, match=message) as caught:
        rule.read(path)
    assert str(path) in str(caught.value)


def test_colors_of_sixteen_bits_are_no_png_here(tmp_path: Path) -> None:
    header = b"\x89PNG\r\n\x1a\n"

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = b"".join(b"\0" + bytes(range(12)) for _ in range(2))
    path = tmp_path / "x.png"
    content = chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 16, 2, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(rows))
    path.write_bytes(header + content + chunk(b"IEND", b""))
    with pytest.raises(DataError, match="16 bits a channel"):
        PixelRule(value_range=(0, 65535)).read(path)


def test_pages_are_no_bands(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "x.tif", np.zeros((3, 4, 5), np.uint8), photometric="minisblack")
    with pytest.raises(DataError, match="3 pages"):
        PixelRule(channels=3, value_range=(0, 255)).read(tmp_path / "x.tif")


@pytest.mark.parametrize("suffix", [".tif", ".png"])
def test_damaged_files_of_bands(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"x{suffix}"
    values = RANDOM.integers(0, 60_000, (30, 30)).astype(np.uint16)
    tifffile.imwrite(path, values) if suffix == ".tif" else write_png16(path, values)
    whole = path.read_bytes()
    rule = PixelRule(channels=1, value_range=(0, 65535))
    for _ in range(150):
        damaged = bytearray(whole[: RANDOM.integers(0, len(whole) + 1)])
        for place in RANDOM.integers(0, max(1, len(damaged)), 3):
            if len(damaged):
                damaged[place] = RANDOM.integers(0, 256)
        path.write_bytes(bytes(damaged))
        with contextlib.suppress(DataError):
            assert rule.read(path).dtype == torch.uint8
