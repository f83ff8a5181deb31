"""Pictures turned as their EXIF asks, against where the EXIF standard puts the first row and the first column."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import ExifTags, Image

from dmt.config_sections import DataConfig
from dmt.data.listing import pixel_rule
from dmt.data.mask_coding import plain_coding
from dmt.data.orientation import orientation
from dmt.data.pixels import PixelRule
from dmt.errors import ConfigError
from dmt.models.description import InputDescription
from dmt.predict.given import ImageReader

FIRST_ROW_AND_COLUMN = {
    1: ("top", "left"),
    2: ("top", "right"),
    3: ("bottom", "right"),
    4: ("bottom", "left"),
    5: ("left", "top"),
    6: ("right", "top"),
    7: ("right", "bottom"),
    8: ("left", "bottom"),
}
"""Where the stored row 0 and the stored column 0 are shown (EXIF 2.32, tag 0x0112)."""
TURNED = PixelRule(exif_orientation=True)
PIXELS = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def shown(stored: np.ndarray, asked: int) -> np.ndarray:
    """Pixel by pixel."""
    height, width = stored.shape[:2]
    row_side, _ = FIRST_ROW_AND_COLUMN[asked]
    result = np.zeros((height, width, 3) if row_side in ("top", "bottom") else (width, height, 3), dtype=np.uint8)
    for row in range(height):
        for column in range(width):
            place = dict(zip(FIRST_ROW_AND_COLUMN[asked], (row, column), strict=True))
            y = place["top"] if "top" in place else len(result) - 1 - place["bottom"]
            x = place["left"] if "left" in place else result.shape[1] - 1 - place["right"]
            result[y, x] = stored[row, column]
    return result


def write(path: Path, asked: int, pixels: np.ndarray = PIXELS) -> Path:
    if path.suffix == ".tif":
        tifffile.imwrite(path, pixels, photometric="rgb", extratags=[(274, "H", 1, asked, True)])
        return path
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = asked
    options: dict[str, Any] = {".webp": {"lossless": True}, ".jpg": {"quality": 95}}.get(path.suffix, {})
    Image.fromarray(pixels).save(path, exif=exif, **options)
    return path


@pytest.mark.parametrize("asked", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".webp", ".jpg", ".tif"])
def test_a_picture_is_turned_as_the_standard_says(tmp_path: Path, suffix: str, asked: int) -> None:
    path = write(tmp_path / f"x{suffix}", asked)
    stored = PixelRule().read(path).permute(1, 2, 0).numpy()
    if suffix != ".jpg":
        assert np.array_equal(stored, PIXELS)
    wanted = shown(stored, asked)
    assert np.array_equal(TURNED.read(path).permute(1, 2, 0).numpy(), wanted)
    assert TURNED.size(path) == wanted.shape[:2]
    assert PixelRule().size(path) == (5, 7)
    gray = PixelRule(channels=1, exif_orientation=True).read(path)[0].numpy()
    assert np.array_equal(gray, np.array(Image.fromarray(wanted).convert("L")))


def test_transparency_is_turned_with_its_picture(tmp_path: Path) -> None:
    colors = np.dstack([PIXELS, np.full((5, 7), 255, dtype=np.uint8)])
    colors[0, 0, 3] = 0
    path = write(tmp_path / "x.png", 6, colors)
    wanted = PIXELS.copy()
    wanted[0, 0] = 255
    assert np.array_equal(TURNED.read(path).permute(1, 2, 0).numpy(), shown(wanted, 6))


@pytest.mark.parametrize("said", [0, 9, 700])
def test_an_orientation_that_there_is_not_says_nothing(tmp_path: Path, said: int) -> None:
    path = write(tmp_path / "x.png", said)
    assert np.array_equal(TURNED.read(path).permute(1, 2, 0).numpy(), PIXELS)
    assert TURNED.size(path) == (5, 7)


@pytest.mark.parametrize(
    "exif", [b"", b"Exif\0\0", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff", b"Exif\0\0XXXXXXXXXXXX", b"\xff" * 40]
)
def test_broken_exif_says_nothing(tmp_path: Path, exif: bytes) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "x.png", exif=exif)
    with Image.open(tmp_path / "x.png") as image:
        assert orientation(image) == 1
    assert np.array_equal(TURNED.read(tmp_path / "x.png").permute(1, 2, 0).numpy(), PIXELS)


def test_a_mask_is_never_turned(tmp_path: Path) -> None:
    values = (PIXELS[..., 0] % 2).astype(np.uint8)
    path = write(tmp_path / "x.png", 6, values)
    assert np.array_equal(plain_coding(("cat", "dog")).read(path).numpy(), values)


def test_an_array_has_no_orientation(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", PIXELS)
    assert TURNED.size(tmp_path / "x.npy") == (5, 7)
    assert np.array_equal(TURNED.read(tmp_path / "x.npy").permute(1, 2, 0).numpy(), PIXELS)


@pytest.mark.parametrize("key", [{"channels": 4}, {"value_range": [0.0, 4095.0]}])
def test_bands_have_none_either(key: dict[str, Any]) -> None:
    config = DataConfig(name="folder", exif_orientation=True, **key)
    with pytest.raises(ConfigError, match=r"data\.exif_orientation is for pictures of 8 bits .* Leave it out, or"):
        pixel_rule(config)


def test_a_model_sees_a_file_and_its_open_picture_alike(tmp_path: Path) -> None:
    path = write(tmp_path / "x.png", 6)
    reader = ImageReader(InputDescription(channels=3, exif_orientation=True))
    with Image.open(path) as image:
        assert torch.equal(reader.read(image, where=""), reader.read(path, where=""))
    plain = ImageReader(InputDescription(channels=3))
    with Image.open(path) as image:
        assert torch.equal(plain.read(image, where=""), torch.from_numpy(PIXELS).permute(2, 0, 1))
