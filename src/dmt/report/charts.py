"""Line charts as geometry: numbers and path strings that the template draws as inline SVG."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

MAX_POINTS = 160
"""A curve of more points than pixels only makes the page heavy."""

MIN_SPAN = 5.0
"""Points that a chart of rounds spans at least, so that a difference of tenths does not look like a cliff."""

INSET = 0.05
"""Room beside the first and the last round, as a share of the rounds, for the figures above their points."""


@dataclass(frozen=True, kw_only=True)
class Frame:
    """The size of a chart, and the margins around what it plots, in SVG units."""

    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float


@dataclass(frozen=True, kw_only=True)
class Series:
    """A named line through (x, y) points, x rising."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A place on an axis, or a point of a line, and the words for it."""

    x: float
    y: float
    label: str


@dataclass(frozen=True, kw_only=True)
class Line:
    """A series, placed."""

    name: str
    path: str
    marks: list[Mark]


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Everything that the template needs to draw.

    Attributes:
        title: what is shown, for screen readers too.
        reference: the dashed line, if any.
    """

    title: str
    frame: Frame
    x_ticks: list[Mark]
    y_ticks: list[Mark]
    lines: list[Line]
    reference: Mark | None = None


ROUND_FRAME = Frame(width=720, height=300, left=46, right=20, top=22, bottom=40)
CURVE_FRAME = Frame(width=240, height=104, left=36, right=6, top=8, bottom=18)


def round_chart(series: Sequence[Series], *, title: str, reference: tuple[str, float] | None) -> Chart:
    """Percent by round; `reference` names the dashed line and says where it lies."""
    values = [y for one in series for _, y in one.points] + ([reference[1]] if reference else [])
    spare = max(0.0, MIN_SPAN - (max(values) - min(values))) / 2
    y_ticks = nice_ticks(max(0.0, min(values) - spare), min(100.0, max(values) + spare))
    rounds = sorted({x for one in series for x, _ in one.points})
    inset = INSET * (rounds[-1] - rounds[0])
    place = _Place(ROUND_FRAME, (rounds[0] - inset, rounds[-1] + inset), (y_ticks[0], y_ticks[-1]))
    return Chart(
        title=title,
        frame=ROUND_FRAME,
        x_ticks=[place.mark(x, y_ticks[0], f"{x:g}") for x in rounds],
        y_ticks=[place.mark(rounds[0], y, f"{y:g}") for y in y_ticks],
        lines=[place.line(one, "{:.1f}") for one in series],
        reference=place.mark(rounds[-1], reference[1], reference[0]) if reference else None,
    )


def curve_chart(title: str, points: Sequence[tuple[float, float]], *, high: float) -> Chart:
    """A small chart of one logged value by step, from 0 to about `high`, which charts to be compared share."""
    finite = [(x, y) for x, y in points if math.isfinite(y)] or [(0.0, 0.0)]
    shown = thin(finite, MAX_POINTS)
    y_ticks = nice_ticks(min(0.0, *(y for _, y in finite)), high if high > 0 else 1.0, count=2)
    last = finite[-1][0]
    place = _Place(CURVE_FRAME, (min(0.0, finite[0][0]), last), (y_ticks[0], y_ticks[-1]))
    return Chart(
        title=title,
        frame=CURVE_FRAME,
        x_ticks=[place.mark(last, y_ticks[0], f"step {last:g}")],
        y_ticks=[place.mark(0.0, y, f"{y:g}") for y in y_ticks],
        lines=[place.line(Series(name=title, points=shown), "{:.3g}")],
    )


def nice_ticks(low: float, high: float, *, count: int = 4) -> list[float]:
    """About `count` + 1 round numbers from at most `low` to at least `high`."""
    raw = ((high - low) or 1.0) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(first, max(last, first + 1) + 1)]


def thin(points: Sequence[tuple[float, float]], most: int) -> list[tuple[float, float]]:
    """At most `most` of the points, evenly spaced, the first and the last among them."""
    if len(points) <= most:
        return list(points)
    return [points[round(number * (len(points) - 1) / (most - 1))] for number in range(most)]


@dataclass(frozen=True)
class _Place:
    """From data to SVG units."""

    frame: Frame
    x_range: tuple[float, float]
    y_range: tuple[float, float]

    def mark(self, x: float, y: float, label: str) -> Mark:
        frame = self.frame
        across = _share(x, self.x_range) * (frame.width - frame.left - frame.right)
        up = _share(y, self.y_range) * (frame.height - frame.top - frame.bottom)
        return Mark(x=round(frame.left + across, 1), y=round(frame.height - frame.bottom - up, 1), label=label)

    def line(self, series: Series, form: str) -> Line:
        marks = [self.mark(x, y, form.format(y)) for x, y in series.points]
        path = "M" + " L".join(f"{mark.x:g} {mark.y:g}" for mark in marks)
        return Line(name=series.name, path=path, marks=marks)


def _share(value: float, span: tuple[float, float]) -> float:
    low, high = span
    return (value - low) / (high - low) if high > low else 0.5
