import itertools
import math

import pytest

from dmt.report.charts import ROUND_FRAME, Series, curve_chart, nice_ticks, round_chart, thin


@pytest.mark.parametrize("low", [0.0, 0.003, 37.2, 81.5])
@pytest.mark.parametrize("span", [0.0004, 0.9, 3.0, 14.9, 60.0])
def test_ticks_are_round_and_cover(low: float, span: float) -> None:
    ticks = nice_ticks(low, low + span)
    assert ticks[0] <= low + 1e-9
    assert ticks[-1] >= low + span - 1e-9
    steps = {round(b - a, 9) for a, b in itertools.pairwise(ticks)}
    assert len(steps) == 1
    step = steps.pop()
    assert round(step / 10 ** math.floor(math.log10(step) + 1e-6), 6) in {1, 2, 5}
    assert 2 <= len(ticks) <= 7


def test_a_chart_of_rounds_places_points_in_proportion() -> None:
    chart = round_chart(
        [Series(name="a", points=[(0, 80.0), (1, 90.0), (2, 100.0)])], title="t", reference=("base", 80.0)
    )
    assert [tick.label for tick in chart.y_ticks] == ["80", "85", "90", "95", "100"]
    first, middle, last = chart.lines[0].marks
    assert first.y == ROUND_FRAME.height - ROUND_FRAME.bottom
    assert last.y == ROUND_FRAME.top
    assert ROUND_FRAME.left < first.x < middle.x < last.x < ROUND_FRAME.width - ROUND_FRAME.right
    assert (middle.x, middle.y) == pytest.approx(((first.x + last.x) / 2, (first.y + last.y) / 2), abs=0.1)
    assert chart.reference is not None
    assert chart.reference.y == first.y


def test_flat_and_perfect_figures_stay_inside() -> None:
    chart = round_chart([Series(name="a", points=[(0, 100.0), (1, 100.0)])], title="t", reference=None)
    assert chart.y_ticks[-1].label == "100"
    assert all(mark.y == ROUND_FRAME.top for mark in chart.lines[0].marks)


def test_curves_of_no_extent_or_not_finite() -> None:
    assert curve_chart("loss", [(20, 0.0)], high=0.0).lines[0].marks
    assert len(curve_chart("loss", [(20, math.nan), (40, 1.0)], high=1.0).lines[0].marks) == 1


def test_thin_keeps_both_ends() -> None:
    points = [(float(i), float(i)) for i in range(1000)]
    shown = thin(points, 160)
    assert len(shown) == 160
    assert (shown[0], shown[-1]) == (points[0], points[-1])
    assert thin(points[:5], 160) == points[:5]


def test_a_small_difference_looks_small() -> None:
    chart = round_chart([Series(name="a", points=[(0, 94.4), (1, 95.3)])], title="t", reference=None)
    low, high = float(chart.y_ticks[0].label), float(chart.y_ticks[-1].label)
    assert high - low >= 5
