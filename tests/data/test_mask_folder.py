"""One's own folder of images and masks, and all that may be wrong with it."""

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image
from tiny_masks import mask, photo, save, user_folder, write_lines

from dmt.config_sections import DataConfig
from dmt.data.catalog import load_dataset
from dmt.data.images import DataSet
from dmt.data.mask_coding import voc_palette
from dmt.errors import ConfigError, DataError


def load(root: Path, **changes: object) -> DataSet:
    config = DataConfig(**{"name": "folder", "root": str(root), "ignore_index": 255} | changes)
    return load_dataset(config, task="segmentation")


def keys(data: DataSet, indices: tuple[int, ...] | None) -> list[str]:
    return [data.train.key(index) for index in indices or ()]


def test_masks_tell_which_images_are_labeled(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = load(user_folder(tmp_path))
    assert [data.train.key(index) for index in range(5)] == ["00", "01", "02", "03", "04"]
    assert (data.labeled, data.unlabeled) == ((0, 1, 2), None)
    assert (data.validation, data.test) == (None, None)
    assert data.class_names == ("cat", "dog", "hat")
    assert data.palette == voc_palette(3)
    assert data.root == tmp_path
    assert data.train.size(4) == (6, 8)
    assert np.array_equal(data.train.labels([1])[0], mask(1))
    assert np.array_equal(data.train.images([4])[0].permute(1, 2, 0), photo(4))
    assert load(tmp_path, image_size=[3, 4]).train.images([0, 4]).shape == (2, 3, 3, 4)


@pytest.mark.parametrize("validation", ["val.txt", "validation.txt"])
def test_lists_of_the_folder(tmp_path: Path, validation: str) -> None:
    root = user_folder(tmp_path, labeled=6, unlabeled=3)
    write_lines(root / "labeled.txt", "04", "00")
    write_lines(root / "unlabeled.txt", "07.png", "05")
    write_lines(root / validation, "02")
    write_lines(root / "test.txt", "01.PNG", "03")
    data = load(root)
    assert keys(data, data.labeled) == ["04", "00"]
    assert keys(data, data.unlabeled) == ["07", "05"]
    assert [data.train.key(index) for index in range(len(data.train))] == ["00", "04", "05", "06", "07", "08"]
    assert [data.validation.key(index) for index in range(1)] == ["02"]
    assert [data.test.key(index) for index in range(2)] == ["01", "03"]
    assert np.array_equal(data.test.labels([1])[0], mask(3))


def test_scored_images_are_no_training_images(tmp_path: Path) -> None:
    root = user_folder(tmp_path, labeled=4)
    write_lines(root / "val.txt", "01")
    write_lines(root / "unlabeled.txt", "05", "02")
    data = load(root)
    assert keys(data, data.labeled) == ["00", "03"], "those with a mask, less what a list says"
    assert keys(data, data.unlabeled) == ["05", "02"]


def test_lists_of_the_config_win(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = user_folder(tmp_path / "data", labeled=5)
    for name in ("labeled.txt", "val.txt", "validation.txt", "test.txt", "unlabeled.txt"):
        write_lines(root / name, "nonsense")
    write_lines(root / "lists/mine.txt", "00", "01")
    write_lines(root / "lists/rest.txt", "05", "06")
    write_lines(tmp_path / "here.txt", "02")
    write_lines(tmp_path / "there.txt", "03")
    monkeypatch.chdir(tmp_path)
    data = load(
        root,
        labeled="lists/mine.txt",
        unlabeled="lists/rest.txt",
        validation="here.txt",
        test=str(tmp_path / "there.txt"),
    )
    assert keys(data, data.labeled) == ["00", "01"]
    assert keys(data, data.unlabeled) == ["05", "06"]
    assert (data.validation.key(0), data.test.key(0)) == ("02", "03")
    with pytest.raises(DataError, match=r"02 is in the validation list here\.txt and in the test list here\.txt"):
        load(root, labeled="lists/mine.txt", unlabeled="lists/rest.txt", validation="here.txt", test="here.txt")
    with pytest.raises(DataError, match=r"data\.test is gone\.txt, but there is no file gone\.txt or .*data/gone\.txt"):
        load(root, labeled="lists/mine.txt", unlabeled="lists/rest.txt", validation="here.txt", test="gone.txt")


def test_folders_in_folders(tmp_path: Path) -> None:
    for number, name in enumerate(("a/x", "b/x", "b/c/y")):
        save(tmp_path / f"images/{name}.jpg", photo(number))
        save(tmp_path / f"masks/{name}.png", mask(number))
    save(tmp_path / "images/z.PNG", photo(3))
    write_lines(tmp_path / "classes.txt", "cat", "dog", "hat")
    write_lines(tmp_path / "test.txt", "b/x.jpg")
    data = load(tmp_path)
    assert [data.train.key(index) for index in range(3)] == ["a/x", "b/c/y", "z"]
    assert data.test.key(0) == "b/x"
    assert data.labeled == (0, 1)


def test_a_mask_of_the_picture_as_viewers_show_it(tmp_path: Path) -> None:
    root = user_folder(tmp_path)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.fromarray(photo(1)).save(root / "images/01.png", exif=exif)
    drawn = np.rot90(mask(1), k=-1)
    save(root / "masks/01.png", drawn)
    with pytest.raises(DataError, match=r"masks/01\.png is 8 x 6\. .* set data\.exif_orientation=true\.$"):
        load(root)
    data = load(root, exif_orientation=True)
    assert data.train.size(1) == (8, 6)
    assert np.array_equal(data.train.labels([1])[0], drawn)
    assert np.array_equal(data.train.images([1])[0].permute(1, 2, 0), np.rot90(photo(1), k=-1))
    save(root / "masks/01.png", mask(1))
    with pytest.raises(DataError, match=r"is 8 x 6 .* is 6 x 8\. .* turns images as their EXIF asks, and masks never"):
        load(root, exif_orientation=True)


def test_classes_of_the_config(tmp_path: Path) -> None:
    root = user_folder(tmp_path)
    assert load(root, class_names=["k", "l", "m"]).class_names == ("k", "l", "m")
    write_lines(root / "names/mine.txt", "big cat", "  dog ", "", "hat")
    assert load(root, class_names="names/mine.txt").class_names == ("big cat", "dog", "hat")
    with pytest.raises(DataError, match=r"data\.class_names is gone\.txt, but there is no file"):
        load(root, class_names="gone.txt")


def test_colors(tmp_path: Path) -> None:
    root = user_folder(tmp_path, labeled=2)
    write_lines(root / "classes.txt", "big cat 10 20 30", "dog 250 0 0", "ignore 0 0 0", "hat 0 0 7")
    palette = np.zeros((256, 3), dtype=np.uint8)
    palette[:3] = (10, 20, 30), (250, 0, 0), (0, 0, 7)
    save(root / "masks/01.png", palette[mask(1)])
    data = load(root)
    assert data.class_names == ("big cat", "dog", "hat")
    assert data.palette == ((10, 20, 30), (250, 0, 0), (0, 0, 7))
    assert np.array_equal(data.train.labels([0, 1]), np.stack([mask(0), mask(1)])), "values are still classes"
    (root / "classes.txt").write_text("cat\ndog\nhat\n")
    with pytest.raises(DataError, match=r"01\.png is a mask in RGB colors.*classes\.txt may name the colors"):
        load(root)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (("cat 1 2 3", "dog"), r"classes\.txt, line 2: 'dog' has no color; with colors, each line"),
        (("cat 1 2 3", "", "dog 1 2 300"), r"classes\.txt, line 3: 'dog' has the color \(1, 2, 300\); "),
        (("cat 1 2 3", "dog 1 2 3"), r"line 2: 'dog' has the color \(1, 2, 3\) again"),
        (("cat", "dog", "cat"), r"classes\.txt names the class 'cat' twice"),
        (("cat",), r"classes\.txt names one class \(cat\); masks have 2 to 255"),
        ((), r"classes\.txt names 0 classes"),
        (("cat", "dog", "ignore"), r"names a class 'ignore', .*`ignore R G B`.*data\.ignore_index says"),
        (tuple(f"c{k}" for k in range(256)), r"names 256 classes; masks have 2 to 255"),
    ],
)
def test_broken_class_lists(tmp_path: Path, lines: tuple[str, ...], message: str) -> None:
    root = user_folder(tmp_path)
    write_lines(root / "classes.txt", *lines)
    with pytest.raises(DataError, match=message):
        load(root)


def test_no_class_list(tmp_path: Path) -> None:
    root = user_folder(tmp_path)
    (root / "classes.txt").unlink()
    with pytest.raises(DataError, match=r"There is no .*classes\.txt\. Write the names .* or set data\.class_names=\["):
        load(root)
    with pytest.raises(DataError, match=r"data\.class_names names one class \(cat\)"):
        load(root, class_names=["cat"])


def remove(name: str) -> Callable[[Path], object]:
    return lambda root: (root / name).unlink()


def listing(name: str, *lines: str) -> Callable[[Path], object]:
    return lambda root: write_lines(root / name, *lines)


def both(*changes: Callable[[Path], object]) -> Callable[[Path], object]:
    return lambda root: [change(root) for change in changes]


MISTAKES: dict[str, tuple[Callable[[Path], object], str]] = {
    "labeled without mask": (
        listing("labeled.txt", "00", "03", "04"),
        r"labeled\.txt has '03', but .*masks has no mask for it, nor for 1 more of its 3",
    ),
    "test without mask": (listing("test.txt", "04"), r"test\.txt has '04', but .*masks has no mask for it\."),
    "validation without mask": (listing("val.txt", "00", "04"), r"val\.txt has '04', but .* no mask"),
    "unlabeled and labeled": (
        both(listing("labeled.txt", "00", "01"), listing("unlabeled.txt", "04", "01", "00")),
        r"00 is in the labeled list .*/labeled\.txt and in the unlabeled list .*/unlabeled\.txt, and 1 more are\. Each",
    ),
    "unlabeled and test": (
        both(listing("test.txt", "02"), listing("unlabeled.txt", "02")),
        r"02 is in .*unlabeled\.txt and in .*test\.txt\. Each",
    ),
    "unlabeled and validation": (
        both(listing("val.txt", "02"), listing("unlabeled.txt", "02")),
        r"02 is in .*unlabeled\.txt and in .*val\.txt",
    ),
    "labeled and test": (
        both(listing("labeled.txt", "02"), listing("test.txt", "02")),
        r"02 is in .*labeled\.txt and in .*test\.txt",
    ),
    "validation and test": (
        both(listing("val.txt", "01"), listing("test.txt", "01")),
        r"01 is in .*val\.txt and in .*test\.txt",
    ),
    "two names of one list": (
        both(listing("val.txt", "01"), listing("validation.txt", "02")),
        r"There are .*val\.txt and validation\.txt, which mean the same",
    ),
    "unknown image": (
        listing("labeled.txt", "00", "0l"),
        r"labeled\.txt, line 2: no image is named '0l'; names .*\. Did you mean '0",
    ),
    "image twice": (listing("labeled.txt", "00", "01", "00.png"), r"line 3: '00\.png' stands already in line 1"),
    "empty list": (listing("unlabeled.txt"), r"unlabeled\.txt names no image\. .*e\.g\. 00, or delete the file"),
    "no labeled image left": (
        listing("unlabeled.txt", "00", "01", "02"),
        r"No training image has a mask in .*masks\. A mask has the name of its image: .*x\.jpg and .*x\.png",
    ),
    "same stem": (
        lambda root: save(root / "images/00.jpg", photo(0)),
        r"images/00\.jpg and 00\.png are both named '00'",
    ),
    "same stem of masks": (
        lambda root: save(root / "masks/00.bmp", mask(0)),
        r"masks/00\.bmp and 00\.png are both named '00'",
    ),
    "mask of another size": (
        lambda root: save(root / "masks/01.png", mask(1, (8, 6))),
        r"images/01\.png is 6 x 8 .*masks/01\.png is 8 x 6\. .* set data\.exif_orientation=true\.$",
    ),
    "mask of a size of its own": (
        lambda root: save(root / "masks/01.png", mask(1, (7, 6))),
        r"masks/01\.png is 7 x 6\. An image and its mask must be of one size\.$",
    ),
    "mask as JPEG": (
        lambda root: save(root / "masks/03.jpg", mask(1)),
        r"masks/03\.jpg is a mask in a format that changes values\. Save masks as PNG",
    ),
    "unknown value": (
        lambda root: save(root / "masks/02.png", mask(2, values=(0, 1, 2, 9))),
        r"masks/02\.png holds the value 9 in \d+ pixels; allowed are 0\.\.2 \(cat \.\. hat\) and 255",
    ),
    "unknown value in a scored mask": (
        both(lambda root: save(root / "masks/02.png", mask(2, values=(0, 9))), listing("test.txt", "02")),
        r"masks/02\.png holds the value 9",
    ),
    "only ignored pixels": (
        both(lambda root: save(root / "masks/00.png", mask(0, values=(255,))), listing("labeled.txt", "00")),
        r"The 1 masks of labeled images hold ignored pixels alone",
    ),
    "broken image": (lambda root: (root / "images/00.png").write_bytes(b""), r"images/00\.png cannot be read"),
    "broken mask": (
        lambda root: (root / "masks/00.png").write_bytes((root / "masks/00.png").read_bytes()[:45]),
        r"masks/00\.png cannot be read",
    ),
    "16-bit mask": (
        lambda root: Image.fromarray(mask(0).astype(np.uint16)).save(root / "masks/00.png"),
        r"masks/00\.png has 16 bits a channel; 8 are allowed",
    ),
    "empty unlabeled image": (lambda root: (root / "images/04.png").write_bytes(b""), r"images/04\.png cannot be read"),
    "no images": (
        lambda root: [path.unlink() for path in (root / "images").iterdir()],
        r"images holds no image; allowed are \.bmp, \.jpeg, ",
    ),
    "no image folder": (
        lambda root: (root / "images").rename(root / "img"),
        r"does not hold images and masks: there is no images\. It needs images, masks",
    ),
    "no mask folder": (lambda root: (root / "masks").rename(root / "msk"), r"there is no masks\. It needs"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes(tmp_path: Path, mistake: str) -> None:
    change, message = MISTAKES[mistake]
    change(user_folder(tmp_path))
    with pytest.raises(DataError, match=message):
        load(tmp_path)


def test_ignored_value(tmp_path: Path) -> None:
    root = user_folder(tmp_path)
    with pytest.raises(DataError, match=r"00\.png holds the value 255 in .* allowed are 0\.\.2 \(cat \.\. hat\)\."):
        load(root, ignore_index=-1)
    with pytest.raises(ConfigError, match=r"data\.ignore_index is 1, which is class 'dog'; use -1 .* above 2"):
        load(root, ignore_index=1)


def test_pictures_of_other_formats_are_told(tmp_path: Path) -> None:
    root = user_folder(tmp_path)
    (root / "images" / "more.gif").touch()
    with pytest.warns(UserWarning, match=r"more\.gif is left out, 1 of such files"):
        load(root)


def test_orphans_are_warned_of(tmp_path: Path) -> None:
    root = user_folder(tmp_path, labeled=2)
    save(root / "masks/01_mask.png", mask(0))
    save(root / "masks/02_mask.png", mask(0))
    with pytest.warns(UserWarning, match=r"2 of 4 masks have no image, for instance .*01_mask\.png"):
        assert load(root).labeled == (0, 1)


def test_masks_of_unlabeled_images_are_not_opened(tmp_path: Path) -> None:
    """Only their size is compared; what they hold is nobody's business before a run ends."""
    root = user_folder(tmp_path)
    write_lines(root / "labeled.txt", "00")
    save(root / "masks/01.png", mask(1, values=(77,)))
    data = load(root)
    assert data.train.known().tolist() == [True, True, True, False, False]
    assert data.labeled == (0,)
