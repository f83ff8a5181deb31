"""Image files of every kind that users bring, and broken ones."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_masks import photo, save

from dmt.data.image_files import IMAGE_SUFFIXES, list_files, read_image, read_size
from dmt.errors import DataError

COLOR = photo(0)
GRAY = COLOR[:, :, 0].copy()


def write(path: Path, image: Image.Image, **settings: object) -> Path:
    image.save(path, **settings)
    return path


@pytest.mark.parametrize("suffix", [".png", ".PNG", ".bmp", ".tif", ".tiff", ".webp"])
def test_color_is_read_as_it_is(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"x{suffix}", Image.fromarray(COLOR), **({"lossless": True} if suffix == ".webp" else {}))
    assert np.array_equal(read_image(path).permute(1, 2, 0), COLOR)
    assert read_size(path) == (6, 8)


def test_jpeg(tmp_path: Path) -> None:
    smooth = np.tile(np.linspace(0, 255, 8).astype(np.uint8)[None, :, None], (6, 1, 3))
    found = read_image(write(tmp_path / "x.jpg", Image.fromarray(smooth), quality=95))
    assert found.shape == (3, 6, 8)
    assert np.abs(found.permute(1, 2, 0).int().numpy() - smooth).max() < 12


@pytest.mark.parametrize("image", [Image.fromarray(GRAY), Image.fromarray(GRAY > 99)])
def test_gray_becomes_three_equal_channels(tmp_path: Path, image: Image.Image) -> None:
    found = read_image(write(tmp_path / "x.png", image)).numpy()
    assert np.array_equal(found, np.stack([np.asarray(image.convert("L"))] * 3))


def test_transparency_shows_white(tmp_path: Path) -> None:
    alpha = np.where(np.arange(48).reshape(6, 8) % 2, 255, 0).astype(np.uint8)
    found = read_image(write(tmp_path / "x.png", Image.fromarray(np.dstack([COLOR, alpha])))).permute(1, 2, 0).numpy()
    assert np.array_equal(found, np.where(alpha[..., None] == 0, 255, COLOR))


def test_palette_and_cmyk_become_rgb(tmp_path: Path) -> None:
    palette = Image.fromarray(COLOR).quantize(8)
    found = read_image(write(tmp_path / "x.png", palette)).permute(1, 2, 0).numpy()
    assert np.array_equal(found, np.asarray(palette.convert("RGB")))
    cmyk = Image.fromarray(COLOR).convert("CMYK")
    found = read_image(write(tmp_path / "x.tif", cmyk)).permute(1, 2, 0).numpy()
    assert np.array_equal(found, np.asarray(cmyk.convert("RGB")))


def test_rotation_by_exif_is_not_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = write(tmp_path / "x.png", Image.fromarray(COLOR), exif=exif)
    assert Image.open(path).getexif()[0x0112] == 6
    assert np.array_equal(read_image(path).permute(1, 2, 0), COLOR)
    assert read_size(path) == (6, 8)


@pytest.mark.parametrize(
    ("mode", "suffix", "image"),
    [
        ("I;16", ".png", Image.fromarray(GRAY.astype(np.uint16) * 256)),
        ("F", ".tif", Image.fromarray(GRAY.astype(np.float32))),
        ("I", ".tif", Image.fromarray(GRAY.astype(np.int32))),
        ("LAB", ".tif", Image.merge("LAB", [Image.fromarray(GRAY)] * 3)),
    ],
)
def test_more_than_eight_bits_or_no_colors(tmp_path: Path, mode: str, suffix: str, image: Image.Image) -> None:
    path = write(tmp_path / f"x{suffix}", image)
    with pytest.raises(DataError, match=rf"x{suffix} is a PIL image of mode {mode}; 8-bit modes.*0\.\.255"):
        read_image(path)


def test_several_pages(tmp_path: Path) -> None:
    page = Image.fromarray(COLOR)
    path = write(tmp_path / "x.tif", page, save_all=True, append_images=[page, page])
    for read in (read_image, read_size):
        with pytest.raises(DataError, match=r"x\.tif holds 3 pages; one image a file"):
            read(path)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("form", ["PNG", "JPEG", "BMP", "TIFF", "WEBP"])
def test_damaged_files(tmp_path: Path, form: str) -> None:
    """Whatever Pillow raises, a user reads which file it is."""
    buffer = io.BytesIO()
    Image.fromarray(photo(0, (20, 20))).save(buffer, format=form)
    content = np.frombuffer(buffer.getvalue(), dtype=np.uint8)
    stream = np.random.default_rng(0)
    path = tmp_path / "broken.png"
    messages = []
    for trial in range(60):
        damaged = content[: stream.integers(len(content))] if trial % 2 else content.copy()
        if trial % 2 == 0:
            damaged[stream.integers(0, min(len(content), 150), 4)] = stream.integers(0, 256, 4)
        path.write_bytes(damaged.tobytes())
        messages.append(complaint(path))
    assert len(list(filter(None, messages))) > 20
    assert all("broken.png" in message for message in messages if message)


def complaint(path: Path) -> str:
    """What is wrong with a file; any other exception fails the test."""
    try:
        read_image(path)
    except DataError as error:
        return str(error)
    return ""


def test_empty_missing_and_no_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("no image")
    for name in ("empty.png", "text.png"):
        with pytest.raises(DataError, match=rf"{name} cannot be read: it is empty, damaged or no image"):
            read_image(tmp_path / name)
    with pytest.raises(DataError, match=r"missing\.png cannot be read"):
        read_size(tmp_path / "missing.png")
    path = save(tmp_path / "large.png", COLOR)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(DataError, match=r"large\.png cannot be read \(Image size \(48 pixels\) exceeds"):
        read_image(path)


def test_files_of_a_folder(tmp_path: Path) -> None:
    for name in ("b.png", "sub/a.JPG", "a.jpeg", "a.b.bmp", "sub/deep/ü x.tiff", ".hidden.png", "._a.png", "note.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    found = list_files(tmp_path, IMAGE_SUFFIXES)
    assert list(found) == ["a", "a.b", "b", "sub/a", "sub/deep/ü x"]
    assert found["sub/a"] == tmp_path / "sub/a.JPG"
    (tmp_path / "sub/a.png").touch()
    with pytest.raises(DataError, match=r"sub/a\.JPG and a\.png are both named 'sub/a'"):
        list_files(tmp_path, IMAGE_SUFFIXES)
    with pytest.raises(DataError, match=r"There is no folder .*nowhere"):
        list_files(tmp_path / "nowhere", IMAGE_SUFFIXES)
