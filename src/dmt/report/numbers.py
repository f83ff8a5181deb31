"""Numbers as a reader likes them: short, signed, with their unit."""

import math

MINUS = "\u2212"
NO_BREAK = "\u00a0"
UNKNOWN = "\u2013"

_LARGEST_IN_FULL = 99_999
_UNITS = {"k": 10**3, "M": 10**6, "G": 10**9}
_MOST_DECIMALS = 6


def percent(value: float | None) -> str:
    """`81.6 %`, or a dash."""
    return UNKNOWN if value is None else f"{value:.1f}{NO_BREAK}%"


def figure(value: float | None) -> str:
    """`81.6`, or nothing."""
    return "" if value is None else f"{value:.1f}"


def signed(value: float) -> str:
    """`+3.2` or a true minus sign."""
    rounded = round(value, 1)
    sign = "+" if rounded > 0 else MINUS if rounded < 0 else ""
    return f"{sign}{abs(rounded):.1f}"


def change(difference: float | None) -> str:
    """Points with their sign, or nothing."""
    return "" if difference is None else signed(difference)


def tone(difference: float | None) -> str:
    """`better`, `worse` or nothing, of points as they are shown."""
    rounded = round(difference or 0.0, 1)
    return "better" if rounded > 0 else "worse" if rounded < 0 else ""


def count(number: int) -> str:
    """`99,999` in full; above that three digits: `123 k`, `12.3 M`."""
    if number <= _LARGEST_IN_FULL:
        return f"{number:,}"
    short, unit = next((number / size, unit) for unit, size in _UNITS.items() if number / size < 999.5 or unit == "G")
    decimals = 0 if short >= 99.95 else 1 if short >= 9.995 else 2
    return f"{short:.{decimals}f}{NO_BREAK}{unit}"


def share(part: int, whole: int) -> str:
    """`20 %`; one that is small but there as `< 1 %`, and one that is nearly all not as all."""
    if whole == 0:
        return UNKNOWN
    percents = 100 * part / whole
    if 0 < percents < 1:
        return f"<{NO_BREAK}1{NO_BREAK}%"
    return f"{min(round(percents), 99) if part < whole else 100}{NO_BREAK}%"


def confidence(value: float) -> str:
    """`0.98`; near 1 with as many nines as it has. Rounded down, so that `at least` stays true."""
    nines = -math.log10(1.0 - value) if value < 1.0 else math.inf
    decimals = max(2, math.ceil(min(nines, _MOST_DECIMALS)))
    lowest_units = min(math.floor(value * 10**decimals + 1e-9), 10**decimals - 1)
    return f"{lowest_units / 10**decimals:.{decimals}f}"


def duration(seconds: float) -> str:
    """`42 s`, `7 min` or `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f}{NO_BREAK}s"
    return f"{seconds / 60:.0f}{NO_BREAK}min" if seconds < 5400 else f"{seconds / 3600:.1f}{NO_BREAK}h"
