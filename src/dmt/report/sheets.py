"""Rows of panels on white paper, with captions and a legend."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dmt.report.panels import Color, Panel, hatching, ramp

_PAPER, _INK, _SOFT, _RULE = (255, 255, 255), (35, 40, 45), (95, 104, 112), (230, 226, 218)
_ELLIPSIS = "\u2026"
_SMALLEST_LETTER = 13


@dataclass(frozen=True, kw_only=True)
class Row:
    """An image in all its panels, and its name."""

    name: str
    panels: Sequence[Panel]


@dataclass(frozen=True, kw_only=True)
class Block:
    """Rows under a title; the captions of the first are those of all."""

    title: str
    rows: Sequence[Row]


@dataclass(frozen=True, kw_only=True)
class Key:
    """An entry of the legend: a name, and what it stands for, drawn to a given width and height."""

    name: str
    pixels: np.ndarray


def class_key(name: str, color: Color) -> Key:
    """A class and its color."""
    return Key(name=name, pixels=np.full((1, 1, 3), color, dtype=np.uint8))


def blank_key(name: str) -> Key:
    """What hatching means."""
    return Key(name=name, pixels=np.asarray(hatching(16, 16)))


def weight_key(name: str) -> Key:
    """What the colors of weights mean, from 0 to 1."""
    return Key(name=name, pixels=ramp(np.linspace(0.0, 1.0, 96))[None])


def draw_sheet(blocks: Sequence[Block], keys: Sequence[Key], *, box: int) -> Image.Image:
    """All blocks, one below the other, and the legend.

    Args:
        blocks: at least one, none empty.
        keys: the legend, from left to right.
        box: the side of the square that each panel is fitted into, in pixels.
    """
    drawn = [[[panel.fitted(box) for panel in row.panels] for row in block.rows] for block in blocks]
    panels = [panel for rows in drawn for row in rows for panel in row]
    num_columns = max(len(row) for rows in drawn for row in rows)
    layout = _Layout(max(panel.width for panel in panels), num_columns)
    strips = []
    for block, rows in zip(blocks, drawn, strict=True):
        strips += [layout.title(block.title), layout.captions([panel.caption for panel in block.rows[0].panels])]
        strips += [layout.row(row) for row in rows]
    return layout.stack([*strips, layout.legend(keys)])


class _Layout:
    """Strips of paper as wide as the sheet, to be put below each other; letters scale with the columns."""

    def __init__(self, column: int, num_columns: int) -> None:
        self._letter = max(_SMALLEST_LETTER, round(column / 13))
        self._font = ImageFont.load_default(self._letter)
        self._title_font = ImageFont.load_default(round(1.2 * self._letter))
        self._column = column
        self._gap = max(6, column // 24)
        self._margin = 2 * self._gap
        self._width = 2 * self._margin + num_columns * (column + self._gap) - self._gap

    def title(self, text: str) -> Image.Image:
        """The head of a block."""
        strip, draw = self._strip(round(2.6 * self._letter))
        shown = self._shortened(text, self._title_font, self._width - 2 * self._margin)
        draw.text((self._margin, self._letter), shown, _INK, self._title_font)
        return strip

    def captions(self, texts: Sequence[str]) -> Image.Image:
        """The heads of the columns."""
        strip, draw = self._strip(round(1.7 * self._letter))
        for number, text in enumerate(texts):
            shown = self._shortened(text, self._font, self._column)
            draw.text((self._left(number), 0.3 * self._letter), shown, _SOFT, self._font)
        return strip

    def row(self, panels: Sequence[Image.Image]) -> Image.Image:
        """Panels side by side."""
        strip, draw = self._strip(max(panel.height for panel in panels) + self._gap)
        for number, panel in enumerate(panels):
            x, y = self._left(number), 1
            strip.paste(panel, (x, y))
            draw.rectangle((x - 1, y - 1, x + panel.width, y + panel.height), outline=_RULE)
        return strip

    def legend(self, keys: Sequence[Key]) -> Image.Image:
        """Swatches and names, in as many lines as they need."""
        line_height, right = round(1.8 * self._letter), self._width - self._margin
        places, x, y = [], self._margin, self._gap
        swatches = [Image.fromarray(key.pixels) for key in keys]
        names = [self._shortened(key.name, self._font, self._column) for key in keys]
        for swatch, name in zip(swatches, names, strict=True):
            width = max(self._letter, swatch.width)
            needed = width + self._gap + round(self._font.getlength(name))
            if x > self._margin and x + needed > right:
                x, y = self._margin, y + line_height
            places.append((x, y, width))
            x += needed + 2 * self._gap
        strip, draw = self._strip(y + line_height)
        for swatch, name, (x, y, width) in zip(swatches, names, places, strict=True):
            strip.paste(swatch.resize((width, self._letter), Image.Resampling.NEAREST), (x, y))
            draw.text((x + width + self._gap, y + self._letter / 2), name, _SOFT, self._font, anchor="lm")
        return strip

    def stack(self, strips: Sequence[Image.Image]) -> Image.Image:
        """The strips as one sheet."""
        sheet = Image.new("RGB", (self._width, sum(strip.height for strip in strips) + self._gap), _PAPER)
        y = 0
        for strip in strips:
            sheet.paste(strip, (0, y))
            y += strip.height
        return sheet

    def _strip(self, height: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
        strip = Image.new("RGB", (self._width, height), _PAPER)
        return strip, ImageDraw.Draw(strip)

    def _left(self, column: int) -> int:
        return self._margin + column * (self._column + self._gap)

    def _shortened(self, text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, width: int) -> str:
        """A name from outside on one line, cut to fit."""
        line = " ".join(text.split())
        if font.getlength(line) <= width:
            return line
        kept = bisect_left(range(len(line)), True, key=lambda end: font.getlength(line[: end + 1] + _ELLIPSIS) > width)
        return line[:kept] + _ELLIPSIS
