import math

import pytest

from dmt.report import numbers


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (0, "0"),
        (99_999, "99,999"),
        (100_000, "100 k"),
        (999_499, "999 k"),
        (999_500, "1.00 M"),
        (9_994_999, "9.99 M"),
        (9_995_000, "10.0 M"),
        (12_345_678, "12.3 M"),
        (123_456_789, "123 M"),
        (1_234_567_890, "1.23 G"),
        (12_345_678_901_234, "12346 G"),
    ],
)
def test_counts_are_short(number: int, shown: str) -> None:
    assert numbers.count(number).replace(numbers.NO_BREAK, " ") == shown


@pytest.mark.parametrize("nines", range(17))
@pytest.mark.parametrize("digit", [1, 4, 9])
def test_confidences_are_rounded_down_and_keep_their_nines(nines: int, digit: int) -> None:
    value = 1.0 - digit * 10.0**-nines if nines else digit / 10
    shown = numbers.confidence(value)
    assert float(shown) < 1.0
    assert float(shown) <= value + 1e-9
    assert value - float(shown) <= max(1.0 - value, 0.01)
    if 2 <= nines <= 6:
        assert shown.startswith("0." + "9" * (nines - 1))


@pytest.mark.parametrize(
    ("part", "whole", "shown"),
    [
        (0, 0, "\u2013"),
        (0, 7, "0 %"),
        (1, 1000, "< 1 %"),
        (1, 8, "12 %"),
        (999, 1000, "99 %"),
        (1000, 1000, "100 %"),
    ],
)
def test_shares_do_not_round_to_nothing_or_all(part: int, whole: int, shown: str) -> None:
    assert numbers.share(part, whole).replace(numbers.NO_BREAK, " ") == shown


@pytest.mark.parametrize("value", [-3.26, -0.05, -0.04, 0.0, 0.04, 0.06, 1.0, 12.34])
def test_signs_and_tones_go_by_what_is_shown(value: float) -> None:
    shown = numbers.signed(value)
    assert shown.lstrip(f"+{numbers.MINUS}") == f"{abs(value):.1f}"
    has_sign = f"{abs(value):.1f}" != "0.0"
    assert shown.startswith("+") == (has_sign and value > 0)
    assert shown.startswith(numbers.MINUS) == (has_sign and value < 0)
    assert numbers.tone(value) == ("" if not has_sign else "better" if value > 0 else "worse")


@pytest.mark.parametrize(("seconds", "shown"), [(42.4, "42 s"), (90, "2 min"), (5399, "90 min"), (5400, "1.5 h")])
def test_durations(seconds: float, shown: str) -> None:
    assert numbers.duration(seconds).replace(numbers.NO_BREAK, " ") == shown


def test_what_is_unknown() -> None:
    assert (numbers.percent(None), numbers.figure(None), numbers.change(None)) == ("\u2013", "", "")
    assert numbers.tone(None) == ""
    assert not math.isnan(float(numbers.confidence(1.0)))
