"""PASCAL VOC, Cityscapes and CamVid, in their published layouts."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from tiny_masks import mask, photo, save, write_lines

from dmt.config_sections import DataConfig
from dmt.data import street_scenes, voc
from dmt.data.catalog import load_dataset
from dmt.data.images import DataSet
from dmt.data.mask_coding import voc_palette
from dmt.data.reference_splits import reference_order
from dmt.data.split_files import find_list, read_keys
from dmt.errors import ConfigError, DataError

VOC_LISTS = "ImageSets/Segmentation"
TRAINAUG = ("2008_3", "2007_1", "2009_5", "2007_2")
VAL = ("2007_9", "2010_8")
CITY_TRAIN = ("zurich/zurich_000001_000019", "aachen/aachen_000000_000019", "aachen/aachen_000001_000019")
CITY_VAL = ("frankfurt/frankfurt_000000_000294",)
CITY_IDS = (0, 7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33, 29, 255)
CAMVID = """sky
building
pole
road
pavement
tree
sign_symbol
fence
car
pedestrian
bicyclist""".splitlines()


def load(name: str, root: Path, **changes: object) -> DataSet:
    return load_dataset(DataConfig(name=name, root=str(root), **changes), task="segmentation")


def quietly(name: str, root: Path, **changes: object) -> DataSet:
    """Without the warning that a tiny copy is not all of it."""
    with pytest.warns(UserWarning, match="training images, not the usual"):
        return load(name, root, **changes)


def write_voc(folder: Path, *, longer: bool = True) -> Path:
    for number, key in enumerate((*TRAINAUG, *VAL)):
        save(folder / f"JPEGImages/{key}.jpg", photo(number, (6 + number, 8)))
        if key != "2008_3":  # this one is SBD's alone
            stored = mask(number, (6 + number, 8), values=(0, 15, 20, 255))
            save(folder / f"SegmentationClass/{key}.png", stored, palette=np.arange(768).astype(np.uint8).tolist())
        if longer and key in TRAINAUG:
            save(folder / f"SegmentationClassAug/{key}.png", mask(number + 50, (6 + number, 8), values=(0, 1, 20, 255)))
    write_lines(folder / VOC_LISTS / "train.txt", "2007_1", "2007_2")
    write_lines(folder / VOC_LISTS / "val.txt", *VAL)
    if longer:
        write_lines(folder / VOC_LISTS / "train_aug.txt", *TRAINAUG)
    return folder


@pytest.mark.parametrize("inside", ["VOCdevkit/VOC2012", "VOC2012", "."])
def test_voc(tmp_path: Path, inside: str) -> None:
    folder = write_voc(tmp_path / inside)
    data = quietly("voc", tmp_path)
    assert [data.train.key(index) for index in range(4)] == list(TRAINAUG), "in the order of the list"
    assert [data.test.key(index) for index in range(2)] == list(VAL)
    assert [data.train.size(index) for index in range(4)] == [(6, 8), (7, 8), (8, 8), (9, 8)]
    for number in range(4):
        assert np.array_equal(
            data.train.labels([number])[0], mask(number + 50, (6 + number, 8), values=(0, 1, 20, 255))
        )
    assert np.array_equal(data.test.labels([1])[0], mask(5, (11, 8), values=(0, 15, 20, 255)))
    assert (data.num_classes, data.class_names[15], data.class_names[20]) == (21, "person", "tvmonitor")
    assert data.palette == voc_palette(21)
    assert data.palette[15] == (192, 128, 128)
    assert (data.mean, data.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert (data.labeled, data.unlabeled, data.validation) == (None, None, None)
    assert data.root.resolve() == folder.resolve()
    assert read_keys(find_list(f"{VOC_LISTS}/train.txt", root=data.root, key="data.labeled"), data.train) == (1, 3)


@pytest.mark.parametrize("name", ["train_aug.txt", "trainaug.txt"])
def test_voc_lists_of_file_names(tmp_path: Path, name: str) -> None:
    folder = write_voc(tmp_path)
    (folder / VOC_LISTS / "train_aug.txt").unlink()
    lines = [f"/JPEGImages/{key}.jpg /SegmentationClassAug/{key}.png" for key in TRAINAUG]
    write_lines(folder / VOC_LISTS / name, *lines)
    assert [quietly("voc", tmp_path).train.key(index) for index in range(4)] == list(TRAINAUG)


@pytest.mark.parametrize("lacking", ["list", "masks"])
def test_voc_without_the_longer_list(tmp_path: Path, lacking: str) -> None:
    folder = write_voc(tmp_path, longer=False)
    if lacking == "masks":
        write_lines(folder / VOC_LISTS / "train_aug.txt", *TRAINAUG)
    message = "holds 2 training images, not the usual 10,582: .*train_aug.txt and the folder SegmentationClassAug"
    with pytest.warns(UserWarning, match=message) as caught:
        data = load("voc", tmp_path)
    assert len(caught) == 1
    assert [data.train.key(index) for index in range(len(data.train))] == ["2007_1", "2007_2"]
    assert np.array_equal(data.train.labels([0])[0], mask(1, (7, 8), values=(0, 15, 20, 255)))
    assert data.reference_splits is None


def test_voc_at_a_fixed_size(tmp_path: Path) -> None:
    write_voc(tmp_path)
    data = quietly("voc", tmp_path, image_size=[5, 5])
    assert data.train.images(range(4)).shape == (4, 3, 5, 5)
    assert data.image_size == (5, 5)


def test_reference_splits_of_whole_data_sets_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_voc(tmp_path / "voc")
    write_cityscapes(tmp_path / "city")
    monkeypatch.setattr(voc, "VOC_TRAIN_SIZE", 4)
    monkeypatch.setattr(street_scenes, "CITYSCAPES_TRAIN_SIZE", 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for data in (load("voc", tmp_path / "voc"), load("cityscapes", tmp_path / "city")):
            assert data.reference_splits is not None
            assert data.reference_splits(1) == reference_order(len(data.train), 1)
            assert data.reference_splits(3) is None


def test_broken_voc(tmp_path: Path) -> None:
    folder = write_voc(tmp_path)
    (folder / "SegmentationClassAug/2009_5.png").unlink()
    (folder / "SegmentationClass/2009_5.png").unlink()
    (folder / "SegmentationClassAug/2008_3.png").unlink()
    message = r"train_aug\.txt has '2008_3', but .*SegmentationClassAug has no mask for it, nor for 1 more of its 4"
    with pytest.raises(DataError, match=message):
        load("voc", tmp_path)
    (folder / "JPEGImages/2009_5.jpg").unlink()
    with pytest.raises(DataError, match=r"train_aug\.txt has '2009_5', but .*JPEGImages has no image for it\."):
        load("voc", tmp_path)
    write_lines(folder / VOC_LISTS / "train_aug.txt", "2007_1", "2007_1")
    with pytest.raises(DataError, match=r"train_aug\.txt names '2007_1' 2 times"):
        load("voc", tmp_path)
    write_lines(folder / VOC_LISTS / "train_aug.txt")
    with pytest.raises(DataError, match=r"train_aug\.txt names no image"):
        load("voc", tmp_path)
    (folder / VOC_LISTS / "val.txt").unlink()
    with pytest.raises(
        DataError, match=r"does not hold VOC 2012: there is no ImageSets/Segmentation/val\.txt\. It needs"
    ):
        load("voc", tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="does not hold VOC 2012: there is no JPEGImages"):
        load("voc", tmp_path / "empty")


def test_voc_masks_of_another_size_and_of_unknown_values(tmp_path: Path) -> None:
    folder = write_voc(tmp_path)
    save(folder / "SegmentationClass/2010_8.png", mask(0, (8, 11), values=(0, 21)))
    with pytest.raises(DataError, match=r"2010_8\.jpg is 11 x 8 .*SegmentationClass/2010_8\.png is 8 x 11"):
        load("voc", tmp_path)
    save(folder / "SegmentationClass/2010_8.png", mask(0, (11, 8), values=(0, 21)))
    with pytest.raises(DataError, match=r"2010_8\.png holds the value 21 in \d+ pixels; allowed are 0\.\.20"):
        quietly("voc", tmp_path).test.labels([1])


def write_cityscapes(root: Path, *, kinds: tuple[str, ...] = ("labelIds",), size: tuple[int, int] = (8, 16)) -> Path:
    for part, keys in (("train", CITY_TRAIN), ("val", CITY_VAL)):
        for number, key in enumerate(keys):
            save(root / f"leftImg8bit/{part}/{key}_leftImg8bit.png", photo(number, size))
            for kind in kinds:
                values = CITY_IDS if kind == "labelIds" else (*range(19), 255)
                save(root / f"gtFine/{part}/{key}_gtFine_{kind}.png", mask(number, size, values=values))
            save(root / f"gtFine/{part}/{key}_gtFine_color.png", photo(number, size))
            (root / f"gtFine/{part}/{key}_gtFine_polygons.json").write_text("{}")
    return root


def test_cityscapes(tmp_path: Path) -> None:
    data = quietly("cityscapes", write_cityscapes(tmp_path), image_size=[8, 16])
    assert [data.train.key(index) for index in range(3)] == sorted(CITY_TRAIN)
    assert data.test.key(0) == CITY_VAL[0]
    stored = mask(1, (8, 16), values=CITY_IDS)  # of the first image of Aachen
    class_of = {value: k for k, value in enumerate(CITY_IDS[1:-2])}
    expected = [[class_of.get(value, 255) for value in row] for row in stored.tolist()]
    assert data.train.labels([0])[0].tolist() == expected
    assert np.array_equal(data.train.images([0])[0].permute(1, 2, 0), photo(1, (8, 16)))
    assert data.num_classes == 19
    assert (data.class_names[0], data.class_names[5:8:2], data.class_names[18]) == (
        "road",
        ("pole", "traffic sign"),
        "bicycle",
    )
    assert (data.palette[0], data.palette[13]) == ((128, 64, 128), (0, 0, 142))


def test_cityscapes_is_halved_where_nothing_is_said(tmp_path: Path) -> None:
    assert quietly("cityscapes", write_cityscapes(tmp_path)).image_size == (512, 1024)


def test_cityscapes_of_train_ids(tmp_path: Path) -> None:
    data = quietly("cityscapes", write_cityscapes(tmp_path, kinds=("labelTrainIds",)), image_size=[8, 16])
    assert np.array_equal(data.test.labels([0])[0], mask(0, (8, 16), values=(*range(19), 255)))
    both = quietly("cityscapes", write_cityscapes(tmp_path / "both", kinds=("labelIds", "labelTrainIds")))
    assert both.train.files[0].mask.file.name.endswith("_labelIds.png")


def test_broken_cityscapes(tmp_path: Path) -> None:
    root = write_cityscapes(tmp_path)
    for key in CITY_TRAIN[:2]:
        (root / f"gtFine/train/{key}_gtFine_labelIds.png").unlink()
    message = (
        r"leftImg8bit/train has 'aachen/aachen_000000_000019', but .* no \*_gtFine_labelIds\.png .* 1 more of its 3"
    )
    with pytest.raises(DataError, match=message):
        load("cityscapes", root)
    for path in (root / "leftImg8bit/val").rglob("*.png"):
        path.unlink()
    write_cityscapes(tmp_path / "other")
    for path in (tmp_path / "other/leftImg8bit/train").rglob("*.png"):
        path.unlink()
    with pytest.raises(DataError, match=r"leftImg8bit/train holds no images"):
        load("cityscapes", tmp_path / "other")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"does not hold Cityscapes: there is no leftImg8bit\. It needs .*gtFine"):
        load("cityscapes", tmp_path / "empty")


def write_camvid(root: Path, *, classes: list[str] | None = CAMVID) -> Path:
    for number in range(4):
        save(root / f"images/x_{number}.jpg", photo(number, (12, 16)))
        save(root / f"masks/x_{number}.png", mask(number, (12, 16), values=(*range(11), 255)))
    write_lines(root / "train.txt", "x_2", "x_0", "x_3")
    write_lines(root / "val.txt", "x_1")
    if classes is not None:
        write_lines(root / "classes.txt", *classes)
    return root


@pytest.mark.parametrize("classes", [None, CAMVID])
def test_camvid(tmp_path: Path, classes: list[str] | None) -> None:
    root = write_camvid(tmp_path, classes=classes)
    assert load("camvid", root).image_size == (180, 240)
    data = load("camvid", root, image_size=[12, 16])
    assert [data.train.key(index) for index in range(3)] == ["x_2", "x_0", "x_3"]
    assert len(data.test) == 1, "its validation list is the reported part"
    assert (data.validation, data.reference_splits, data.labeled) == (None, None, None)
    assert data.class_names == tuple(CAMVID)
    assert np.array_equal(data.test.labels([0])[0], mask(1, (12, 16), values=(*range(11), 255)))
    assert len(data.palette) == len(set(data.palette)) == 11


def test_broken_camvid(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"classes\.txt names other classes than CamVid's 11 \(sky, .*data\.name=folder"
    ):
        load("camvid", write_camvid(tmp_path, classes=["Sky", *CAMVID[1:]]))
    (tmp_path / "classes.txt").unlink()
    (tmp_path / "masks/x_1.png").unlink()
    with pytest.raises(DataError, match=r"val\.txt has 'x_1', but .*masks has no mask"):
        load("camvid", tmp_path)
    (tmp_path / "train.txt").unlink()
    with pytest.raises(DataError, match=r"does not hold CamVid: there is no train\.txt"):
        load("camvid", tmp_path)


@pytest.mark.parametrize("name", ["voc", "cityscapes", "camvid", "folder"])
def test_a_root_is_needed(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"data\.name={name} needs data\.root=FOLDER"):
        load_dataset(DataConfig(name=name), task="segmentation")
