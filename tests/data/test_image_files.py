"""Image files of every kind that users bring, and broken ones."""

import io
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from tiny_masks import photo, save

from dmt.data.bands import read_bands
from dmt.data.image_files import IMAGE_SUFFIXES, list_files, read_image, read_size, tell_other_images
from dmt.data.mask_coding import plain_coding
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
    ("bits", "suffix", "image"),
    [
        (16, ".png", Image.fromarray(GRAY.astype(np.uint16) * 256)),
        (16, ".tif", Image.fromarray(GRAY.astype(np.uint16) * 256)),
        (32, ".tif", Image.fromarray(GRAY.astype(np.float32))),
        (32, ".tif", Image.fromarray(GRAY.astype(np.int32))),
    ],
)
def test_more_than_eight_bits(tmp_path: Path, bits: int, suffix: str, image: Image.Image) -> None:
    refused(write(tmp_path / f"x{suffix}", image), rf"x{suffix} has {bits} bits a channel; 8 are allowed.*0\.\.255")


def refused(path: Path, message: str) -> None:
    """As an image, as a mask, and when only the size is asked for."""
    for read in (read_image, read_size, plain_coding(("cat", "dog")).read):
        with pytest.raises(DataError, match=message):
            read(path)


def test_colors_of_another_kind(tmp_path: Path) -> None:
    path = write(tmp_path / "x.tif", Image.merge("LAB", [Image.fromarray(GRAY)] * 3))
    with pytest.raises(DataError, match=r"x\.tif is a PIL image of mode LAB; 8-bit modes.*0\.\.255"):
        read_image(path)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("in_xmp", [False, True])
def test_a_tiff_that_asks_to_be_turned_is_read_as_it_is_stored(tmp_path: Path, orientation: int, in_xmp: bool) -> None:
    """As its bands are read, and so that a mask beside it fits."""
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    tag = (274, "H", 1, orientation, True)
    if in_xmp:
        text = f'<x><rdf:Description tiff:Orientation="{orientation}"/></x>'.encode()
        tag = (700, "B", len(text), text, True)
    tifffile.imwrite(tmp_path / "x.tif", pixels, photometric="rgb", extratags=[tag])
    assert np.array_equal(read_image(tmp_path / "x.tif").permute(1, 2, 0).numpy(), pixels)
    assert read_size(tmp_path / "x.tif") == (5, 7)
    assert np.array_equal(read_bands(tmp_path / "x.tif"), pixels)


def tiff(path: Path, pixels: np.ndarray, *, extra: tuple[int, ...] = (), photometric: int = 2) -> Path:
    """An uncompressed TIFF of `(H, W, bands)`, with ExtraSamples as asked for: Pillow writes none of its own."""
    height, width, bands = pixels.shape
    values = {256: [width], 257: [height], 258: [8 * pixels.itemsize] * bands, 259: [1], 262: [photometric]}
    values |= {273: [0], 277: [bands], 278: [height], 279: [pixels.nbytes]} | ({338: list(extra)} if extra else {})
    table_end = 8 + 2 + 12 * len(values) + 4
    values[273] = [table_end + sum(2 * len(numbers) for numbers in values.values() if len(numbers) > 2)]
    entries, behind = b"", b""
    for tag, numbers in values.items():
        field = struct.pack(f"<{len(numbers)}H", *numbers)
        if len(field) > 4:
            field, behind = struct.pack("<I", table_end + len(behind)), behind + field
        entries += struct.pack("<HHI", tag, 3, len(numbers)) + field.ljust(4, b"\0")
    header = struct.pack("<2sHIH", b"II", 42, 8, len(values))
    path.write_bytes(header + entries + bytes(4) + behind + pixels.tobytes())
    return path


def test_bands_that_are_colors(tmp_path: Path) -> None:
    opaque = np.dstack([COLOR, np.full_like(GRAY, 255)])
    for kind in (1, 2):
        found = read_image(tiff(tmp_path / "x.tif", opaque, extra=(kind,)))
        assert np.array_equal(found.permute(1, 2, 0), COLOR)
    assert np.array_equal(read_image(tiff(tmp_path / "x.tif", COLOR)).permute(1, 2, 0), COLOR)
    assert np.array_equal(read_image(tiff(tmp_path / "x.tif", GRAY[..., None], photometric=1))[0], GRAY)
    clear = read_image(tiff(tmp_path / "x.tif", np.dstack([GRAY, opaque[..., 3]]), extra=(2,), photometric=1))
    assert np.array_equal(clear[2], GRAY)


@pytest.mark.parametrize(
    ("bands", "extra", "photometric", "found"),
    [
        (4, (), 2, "1 of which are no colors (ExtraSamples is absent)"),
        (4, (0,), 2, "1 of which are no colors (ExtraSamples is 0)"),
        (5, (0, 0), 2, "2 of which are no colors (ExtraSamples is 0, 0)"),
        (5, (1, 0), 2, "2 of which are no colors (ExtraSamples is 1, 0)"),
        (6, (0, 0, 0), 2, "3 of which are no colors (ExtraSamples is 0, 0, 0)"),
        (5, (0,), 5, "1 of which are no colors (ExtraSamples is 0)"),
        (2, (0,), 1, "1 of which are no colors (ExtraSamples is 0)"),
    ],
)
def test_bands_that_are_no_colors(
    tmp_path: Path, bands: int, extra: tuple[int, ...], photometric: int, found: str
) -> None:
    """Near-infrared is no transparency, and no band is dropped."""
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, bands), dtype=np.uint8)
    path = tiff(tmp_path / "x.tif", pixels, extra=extra, photometric=photometric)
    assert Image.open(path).size == (8, 6), "Pillow reads it"
    refused(path, rf"x\.tif is a TIFF of {bands} bands, {re.escape(found)}; allowed are .* Save three bands as RGB")


def test_bands_that_pillow_does_not_know(tmp_path: Path) -> None:
    refused(
        tiff(tmp_path / "x.tif", np.zeros((6, 8, 5), np.uint8)), r"x\.tif cannot be read.* PNG of 8 bits in gray or"
    )


def test_sixteen_bits_in_colors(tmp_path: Path) -> None:
    """Pillow opens them as RGB and keeps the high bytes."""
    wide = COLOR.astype(np.uint16) * 256 + 7
    message = r"has 16 bits a channel; 8 are allowed\. Save it with 8: .* 0\.\.255"
    refused(tiff(tmp_path / "x.tif", wide), rf"x\.tif {message}")
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in wide)
    chunks = {b"IHDR": struct.pack(">IIBBBBB", 8, 6, 16, 2, 0, 0, 0), b"IDAT": zlib.compress(rows), b"IEND": b""}
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks.items()
    )
    (tmp_path / "x.png").write_bytes(png)
    assert Image.open(tmp_path / "x.png").mode == "RGB"
    refused(tmp_path / "x.png", rf"x\.png {message}")


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
    with pytest.raises(DataError, match=r"There is no file .*missing\.png"):
        read_size(tmp_path / "missing.png")
    path = save(tmp_path / "large.png", COLOR)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(DataError, match=r"large\.png has more pixels than one image may have here, 20"):
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


def test_images_of_other_formats_are_told(tmp_path: Path) -> None:
    save(tmp_path / "a.png", COLOR)
    for name in ("b.gif", "c.HEIC", ".hidden.gif"):
        (tmp_path / name).touch()
    with pytest.warns(UserWarning, match=r"Below .*b\.gif is left out, 2 of such files in all: allowed are \.bmp"):
        tell_other_images(tmp_path, IMAGE_SUFFIXES)
