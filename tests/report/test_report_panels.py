import numpy as np
import pytest
import torch
from PIL import Image

from dmt.report.panels import Panel, class_map, hatching, photo, ramp, weight_map
from dmt.report.sheets import Block, Key, Row, blank_key, class_key, draw_sheet, weight_key

PALETTE = [(10, 20, 30), (200, 30, 40), (50, 210, 60)]


@pytest.mark.parametrize(
    ("size", "fitted"),
    [((64, 64), (256, 256)), ((60, 128), (120, 256)), ((200, 130), (200, 130)), ((1024, 2048), (128, 256))],
)
def test_panels_fill_the_box_and_keep_their_aspect(size: tuple[int, int], fitted: tuple[int, int]) -> None:
    drawn = photo("", torch.zeros(3, *size, dtype=torch.uint8)).fitted(256)
    assert (drawn.height, drawn.width) == fitted


def test_a_thin_panel_keeps_a_pixel() -> None:
    assert photo("", torch.zeros(3, 1, 4000, dtype=torch.uint8)).fitted(100).size == (100, 1)


@pytest.mark.parametrize(("height", "width", "factor"), [(8, 8, 4), (5, 9, 3), (16, 2, 2)])
def test_small_images_grow_pixel_by_pixel(height: int, width: int, factor: int) -> None:
    image = torch.randint(0, 256, (3, height, width), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    drawn = np.asarray(photo("", image).fitted(max(height, width) * factor))
    for y in range(height * factor):
        for x in range(width * factor):
            assert drawn[y, x].tolist() == image[:, y // factor, x // factor].tolist()


def test_gray_photographs_are_gray() -> None:
    image = torch.arange(6, dtype=torch.uint8).reshape(1, 2, 3)
    assert photo("", image).pixels.tolist() == [[[3 * y + x] * 3 for x in range(3)] for y in range(2)]


@pytest.mark.parametrize("bands", [2, 4, 12])
def test_of_bands_that_are_no_colors_the_first_is_drawn(bands: int) -> None:
    image = torch.arange(6 * bands, dtype=torch.uint8).reshape(bands, 2, 3)
    assert photo("", image).pixels.tolist() == photo("", image[:1]).pixels.tolist()


def test_a_shrinking_map_mixes_no_colors() -> None:
    labels = torch.randint(0, 3, (90, 130), generator=torch.Generator().manual_seed(2))
    drawn = np.asarray(class_map("", labels, PALETTE).fitted(40))
    assert {tuple(color) for color in drawn.reshape(-1, 3).tolist()} == set(PALETTE)


@pytest.mark.parametrize("ignored", [255, 3, -1])
def test_classes_have_their_colors_and_what_has_none_is_hatched(ignored: int) -> None:
    labels = torch.tensor([[0, 2], [ignored, 2]])
    panel = class_map("mask", labels, PALETTE)
    assert panel.classes == {0, 2}
    drawn = np.asarray(panel.fitted(40))
    assert drawn[5, 5].tolist() == list(PALETTE[0])
    assert drawn[25, 25].tolist() == list(PALETTE[2])
    assert np.array_equal(drawn[20:, :20], np.asarray(hatching(40, 40))[20:, :20])


def test_weights_rise_from_dark_to_light() -> None:
    colors = ramp(np.linspace(0, 1, 11)).astype(int)
    lightness = (colors * [0.2126, 0.7152, 0.0722]).sum(axis=1)
    assert (np.diff(lightness) > 5).all()
    low, middle, high = ramp(np.array([0.25, 0.375, 0.5])).astype(int)
    assert np.abs(middle - (low + high) / 2).max() <= 1


def test_weights_are_hatched_where_there_is_no_label() -> None:
    panel = weight_map("", torch.tensor([[0.0, 1.0]]), blank=torch.tensor([[True, False]]))
    drawn = np.asarray(panel.fitted(32))
    assert np.array_equal(drawn[:, :16], np.asarray(hatching(32, 16))[:, :16])
    assert drawn[3, 20].tolist() == ramp(np.array(1.0)).tolist()


def block(*names: str, size: tuple[int, int] = (8, 8)) -> Block:
    colors = [np.full((*size, 3), PALETTE[number % 3], dtype=np.uint8) for number in range(len(names))]
    panels = [Panel(caption=name, kind="photo", pixels=color) for name, color in zip(names, colors, strict=True)]
    return Block(title="a title", rows=[Row(name="one", panels=panels)] * 2)


def keys() -> list[Key]:
    return [class_key("sky", PALETTE[1]), blank_key("no label"), weight_key("weight 0 to 1")]


def boxes_of(sheet: Image.Image, color: tuple[int, int, int]) -> tuple[int, int]:
    """How many pixels have a color, and how many columns of the sheet they are in."""
    has = (np.asarray(sheet) == color).all(axis=2)
    return int(has.sum()), int(has.any(axis=0).sum())


@pytest.mark.parametrize("box", [64, 256])
def test_a_sheet_shows_every_panel_whole(box: int) -> None:
    sheet = draw_sheet([block("x", "y"), block("x", "y", "z")], [], box=box)
    assert boxes_of(sheet, PALETTE[0]) == (4 * box * box, box)
    assert boxes_of(sheet, PALETTE[1]) == (4 * box * box, box)
    assert boxes_of(sheet, PALETTE[2]) == (2 * box * box, box)


def test_images_of_several_sizes_share_the_columns() -> None:
    sheet = draw_sheet([block("x", "y", size=(8, 4)), block("x", "y", size=(4, 8))], [], box=64)
    assert boxes_of(sheet, PALETTE[0]) == (4 * 64 * 32, 64)


def test_the_legend_holds_every_color() -> None:
    plain = draw_sheet([block("x")], [], box=128)
    sheet = draw_sheet([block("x")], keys(), box=128)
    assert boxes_of(sheet, PALETTE[1])[0] > boxes_of(plain, PALETTE[1])[0]
    assert boxes_of(sheet, tuple(ramp(np.array(0.0)).tolist()))[0] > 0
    assert sheet.width == plain.width


@pytest.mark.parametrize(
    "name", ["two\nlines", "\u6c34\u9e1f \U0001f9a4", "word " * 200, "", "\x00\x1b[31m", "x" * 5000]
)
def test_names_from_outside_break_no_sheet(name: str) -> None:
    plain = draw_sheet([block("x", "y")], keys(), box=64)
    hostile = Block(title=name, rows=block(name, name).rows)
    sheet = draw_sheet([hostile], [class_key(name, PALETTE[0]), *keys()], box=64)
    assert sheet.width == plain.width
    assert boxes_of(sheet, PALETTE[1])[0] >= 2 * 64 * 64


def test_many_classes_take_several_lines() -> None:
    one, many = (draw_sheet([block("x", "y")], [class_key("a class", PALETTE[0])] * count, box=64) for count in (1, 30))
    assert many.width == one.width
    assert many.height > one.height + 5 * 13
    assert boxes_of(many, PALETTE[0])[0] == 30 * 13 * 13 + 2 * 64 * 64
