"""Sizes of files of numbers come from their headers, and are those of what is read."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from dmt.data.bands import band_size, read_bands
from dmt.errors import DataError

RANDOM = np.random.default_rng(0)
VALUES = RANDOM.integers(0, 60_000, (50, 70, 5)).astype(np.uint16)


def write_header_2(path: Path) -> None:
    with path.open("wb") as file:
        np.lib.format.write_array(file, VALUES, version=(2, 0))


def write_header_3(path: Path) -> None:
    with path.open("wb") as file:
        np.lib.format.write_array(file, VALUES, version=(3, 0))


def write_tiff(planes: str) -> Callable[[Path], None]:
    values = VALUES if planes == "contig" else VALUES.transpose(2, 0, 1)
    return lambda path: tifffile.imwrite(path, values, photometric="minisblack", planarconfig=planes)


FILES: dict[str, tuple[str, Callable[[Path], None]]] = {
    "array": (".npy", lambda path: np.save(path, VALUES)),
    "array of one band": (".npy", lambda path: np.save(path, VALUES[..., 0])),
    "array column by column": (".npy", lambda path: np.save(path, np.asfortranarray(VALUES))),
    "array, header 2": (".npy", write_header_2),
    "array, header 3": (".npy", write_header_3),
    "TIFF": (".tif", write_tiff("contig")),
    "TIFF in planes": (".tif", write_tiff("separate")),
    "TIFF of one band": (".tif", lambda path: tifffile.imwrite(path, VALUES[..., 0])),
    "PNG of 16 bits": (".png", lambda path: Image.fromarray(VALUES[..., 0]).save(path)),
    "PNG of a palette": (".png", lambda path: Image.new("P", (70, 50)).save(path)),
    "PNG of 8 bits": (".png", lambda path: Image.new("L", (70, 50)).save(path)),
}


@pytest.mark.parametrize("case", FILES)
def test_the_size_is_that_of_what_is_read(case: str, tmp_path: Path) -> None:
    suffix, write = FILES[case]
    path = tmp_path / f"x{suffix}"
    write(path)
    assert band_size(path) == read_bands(path).shape[:2] == (50, 70)


@pytest.mark.parametrize("case", [name for name in FILES if name.startswith(("array", "TIFF")) and name[-1] != "3"])
def test_the_size_needs_no_more_than_the_header(case: str, tmp_path: Path) -> None:
    """A file cut off in its pixels has one; TIFFs of tifffile have their header first."""
    suffix, write = FILES[case]
    path = tmp_path / f"x{suffix}"
    write(path)
    path.write_bytes(path.read_bytes()[:-20])
    assert band_size(path) == (50, 70)
    with pytest.raises(DataError, match="cannot be read"):
        read_bands(path)


@pytest.mark.parametrize("suffix", [".npy", ".tif", ".png"])
@pytest.mark.parametrize("content", [b"", b"II*\0damaged", b"\x93NUMPY\1\0\xff\xff{", b"PK\3\4" + b"0" * 40])
def test_a_damaged_header_is_told(suffix: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"x\{suffix} cannot be read"):
        band_size(path)


@pytest.mark.parametrize(
    "array", [np.array([["a"]]), np.zeros((1, 2, 2, 3)), np.zeros((0, 4)), np.zeros(3), np.zeros((2, 2), complex)]
)
def test_an_array_that_is_no_image_has_no_size(array: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", array)
    for read in (band_size, read_bands):
        with pytest.raises(DataError, match="numbers of shape"):
            read(tmp_path / "x.npy")


def test_pages_have_no_size(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "x.tif", np.zeros((3, 4, 5), np.uint8), photometric="minisblack")
    with pytest.raises(DataError, match="3 pages"):
        band_size(tmp_path / "x.tif")
