"""Images with masks, decoded when asked for."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_masks import mask, photo, save

from dmt.data.images import ImageSet
from dmt.data.mask_coding import plain_coding
from dmt.data.mask_sources import MaskFile
from dmt.data.masked_images import ImageFile, MaskedImages, count_pixels
from dmt.errors import DataError

NAMES = ("cat", "dog", "hat")
SIZES = ((6, 8), (6, 8), (5, 7), (12, 16))


def images(root: Path, *, image_size: tuple[int, int] | None = None, without_mask: int | None = 1) -> MaskedImages:
    files = []
    for number, size in enumerate(SIZES):
        image = save(root / f"images/{number}.png", photo(number, size))
        masked = None if number == without_mask else save(root / f"masks/{number}.png", mask(number, size))
        files.append(ImageFile(f"city/{number}", image, None if masked is None else MaskFile(masked)))
    return MaskedImages(files=tuple(files), coding=plain_coding(NAMES), image_size=image_size)


def test_native_sizes(tmp_path: Path) -> None:
    found: ImageSet = images(tmp_path)
    assert len(found) == 4
    assert [found.size(index) for index in range(4)] == list(SIZES)
    assert [found.key(index) for index in range(4)] == ["city/0", "city/1", "city/2", "city/3"]
    assert found.known().tolist() == [True, False, True, True]
    assert found.known().dtype == bool
    pixels = found.images([1, 0])
    assert pixels.dtype == torch.uint8
    for row, number in zip(pixels, (1, 0), strict=True):
        assert np.array_equal(row.permute(1, 2, 0), photo(number))
    labels = found.labels([2])
    assert labels.dtype == torch.int64
    assert np.array_equal(labels[0], mask(2, (5, 7)))
    assert found.images([]).shape[:2] == (0, 3)
    assert found.labels([]).shape[0] == 0


def test_sizes_come_from_headers_and_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = images(tmp_path)
    path = found.files[3].image
    path.write_bytes(path.read_bytes()[:60])
    assert found.size(3) == (12, 16)
    with pytest.raises(DataError, match=r"3\.png cannot be read"):
        found.images([3])
    path.unlink()
    assert found.size(3) == (12, 16)


def test_no_mask(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"images/1\.png has no mask"):
        images(tmp_path).labels([0, 1])


def test_sizes_that_differ(tmp_path: Path) -> None:
    found = images(tmp_path)
    message = r"2\.png is 5 x 7 \(height x width\), but .*0\.png is 6 x 8.*Set data\.image_size"
    with pytest.raises(DataError, match=message):
        found.images([0, 2])
    with pytest.raises(DataError, match=message):
        found.labels([0, 2])


@pytest.mark.parametrize("image_size", [(6, 8), (3, 4), (4, 5), (13, 9), (1, 1)])
def test_one_size_for_all(tmp_path: Path, image_size: tuple[int, int]) -> None:
    found = images(tmp_path, image_size=image_size, without_mask=None)
    assert {found.size(index) for index in range(4)} == {image_size}
    pixels, labels = found.images(range(4)), found.labels(range(4))
    assert pixels.shape == (4, 3, *image_size)
    assert labels.shape == (4, *image_size)
    for number, size in enumerate(SIZES):
        resized = Image.fromarray(photo(number, size)).resize(image_size[::-1], Image.Resampling.BILINEAR)
        assert np.abs(pixels[number].permute(1, 2, 0).int().numpy() - np.asarray(resized).astype(int)).max() <= 1
        assert labels[number].tolist() == nearest(mask(number, size), image_size)


def nearest(values: np.ndarray, image_size: tuple[int, int]) -> list[list[int]]:
    """The value under the center of each new pixel."""
    height, width = values.shape
    rows = [(2 * row + 1) * height // (2 * image_size[0]) for row in range(image_size[0])]
    columns = [(2 * column + 1) * width // (2 * image_size[1]) for column in range(image_size[1])]
    return [[int(values[row, column]) for column in columns] for row in rows]


def test_at_half_size_image_and_mask_stay_together(tmp_path: Path) -> None:
    """Each new pixel is the mean of its own 2 x 2 block, and takes a class from it."""
    classes = np.kron(mask(0, values=(0, 1, 2)), np.ones((2, 2), dtype=np.uint8))
    gray = np.dstack([classes * 100] * 3)
    file = ImageFile("x", save(tmp_path / "x.png", gray), MaskFile(save(tmp_path / "m.png", classes)))
    found = MaskedImages(files=(file,), coding=plain_coding(NAMES), image_size=(6, 8))
    assert np.array_equal(found.labels([0])[0], mask(0, values=(0, 1, 2)))
    # Antialiasing looks a quarter beyond the block; inside a larger area the colors are exact.
    wide = np.kron(mask(0, (2, 2), values=(0, 1, 2)), np.ones((8, 8), dtype=np.uint8))
    save(file.image, np.dstack([wide * 100] * 3))
    save(tmp_path / "m.png", wide)
    found = MaskedImages(files=(file,), coding=plain_coding(NAMES), image_size=(8, 8))
    inside = np.s_[1:3, 1:3]
    assert np.array_equal(found.images([0])[0, 0][inside], found.labels([0])[0][inside] * 100)


def test_masks_of_another_size(tmp_path: Path) -> None:
    found = images(tmp_path)
    found.check_sizes()
    save(tmp_path / "masks/2.png", mask(2, (7, 5)))
    for image_size in (None, (6, 8)):
        changed = MaskedImages(files=found.files, coding=found.coding, image_size=image_size)
        with pytest.raises(
            DataError, match=r"images/2\.png is 5 x 7 \(height x width\), but its mask .*masks/2\.png is 7 x 5"
        ):
            changed.check_sizes()


def test_a_check_reads_headers_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = images(tmp_path)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda *_: pytest.fail("decoded"))
    found.check_sizes()
    (tmp_path / "masks/2.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"masks/2\.png cannot be read"):
        found.check_sizes()


def test_a_check_reads_images_without_masks_too(tmp_path: Path) -> None:
    found = images(tmp_path)
    (tmp_path / "images/1.png").write_text("no image")
    with pytest.raises(DataError, match=r"images/1\.png cannot be read: it is empty, damaged or no image"):
        found.check_sizes()


def test_a_subset_knows_the_sizes_that_were_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = images(tmp_path)
    assert found.size(2) == SIZES[2]
    some = found.subset([3, 2])
    monkeypatch.setattr("dmt.data.pixels.read_size", lambda path, **_: pytest.fail(f"{path} was opened again"))
    assert some.size(1) == SIZES[2]


def test_subset_and_copies(tmp_path: Path) -> None:
    found = images(tmp_path, image_size=(3, 4))
    some = found.subset([3, 0])
    assert [some.key(0), some.key(1)] == ["city/3", "city/0"]
    assert torch.equal(some.labels([0, 1]), found.labels([3, 0]))
    copy = pickle.loads(pickle.dumps(found))
    assert torch.equal(copy.images(range(4)), found.images(range(4)))


def test_pixels_are_counted(tmp_path: Path) -> None:
    found = images(tmp_path)
    expected = [sum(int((mask(number, SIZES[number]) == k).sum()) for number in (0, 2, 3)) for k in range(3)]
    assert count_pixels(found, [0, 2, 3], num_classes=3).tolist() == expected
    assert count_pixels(found, [], num_classes=3).tolist() == [0, 0, 0]
