"""A comparison as text: Markdown for pages, CSV for programs."""

import csv
import io
import math
import statistics
from collections.abc import Mapping, Sequence

from dmt.compare.comparison import CONFIDENCE, Comparison, Difference, Row


def headings(comparison: Comparison, *, by_seed: bool) -> list[str]:
    """Of the first table: the name, each seed where asked for, and what they come to."""
    seeds = [f"seed {seed}" for seed in comparison.seeds] if by_seed else []
    gap = ["of the gap"] if _has_gap(comparison.rows()) else []
    return ["", *seeds, "mean ± sd", f"gain [{CONFIDENCE:.0%}]", *gap, "above", "s a run"]


def lines(comparison: Comparison, *, by_seed: bool) -> list[list[str]]:
    """The texts of the first table."""
    rows = comparison.rows()
    return [_cells(row, by_seed=by_seed, has_gap=_has_gap(rows)) for row in rows]


def _has_gap(rows: Sequence[Row]) -> bool:
    return any(row.gap_share is not None for row in rows)


def _cells(row: Row, *, by_seed: bool, has_gap: bool) -> list[str]:
    gain = Difference(row.over_baseline) if row.over_baseline else None
    gap = ["" if row.gap_share is None else f"{row.gap_share:.0f}%"] if has_gap else []
    return [
        row.name,
        *(f"{figure:.1f}" for figure in row.figures if by_seed),
        f"{row.mean:.1f}" if math.isnan(row.spread) else f"{row.mean:.1f} ± {row.spread:.1f}",
        with_interval(gain) if gain else "",
        *gap,
        wins(gain) if gain else "",
        f"{statistics.median(row.seconds):,.0f}" if row.seconds else "",
    ]


def difference_cells(later: str, earlier: str, difference: Difference) -> list[str]:
    """The texts of a line of the second table."""
    return [f"{later} - {earlier}", with_interval(difference), wins(difference)]


LEGEND = (
    "Percent. Gain: mean paired difference to the run's own supervised training, or to the network's own start of its "
    "rounds where that is better, with its interval by Student's t. "
    "Above: seeds with a gain, or a difference, above 0. Of the gap: the gain by the oracle's."
)

ALONE = "labels alone"
"""What rows of the first table are held against."""

DIFFERENCE_HEADINGS = ["paired difference", f"mean [{CONFIDENCE:.0%}]", "above"]


def with_interval(difference: Difference) -> str:
    """`+8.4 [+5.5, +11.4]`, or the mean alone of one seed."""
    mean, half = difference.mean, difference.half_width
    interval = "" if math.isnan(half) else f" [{mean - half:+.1f}, {mean + half:+.1f}]"
    return f"{mean:+.1f}{interval}"


def wins(difference: Difference) -> str:
    """`4 of 5`."""
    return f"{difference.wins} of {len(difference.values)}"


def as_markdown(comparison: Comparison, *, command: str) -> str:
    """Both tables, with the command that makes them."""
    parts = [f"{comparison.title}\n", *_table(headings(comparison, by_seed=True), lines(comparison, by_seed=True))]
    if differences := comparison.differences():
        parts += ["", *_table(DIFFERENCE_HEADINGS, [difference_cells(*one) for one in differences])]
    parts += ["", *left_out(comparison)]
    return "\n".join([*parts, LEGEND, "", f"`{command}`", ""])


def left_out(comparison: Comparison) -> list[str]:
    """A paragraph for each candidate that diverged, and so is in no table."""
    return [f"Left out, since a run diverged: {message}\n" for message in comparison.diverged.values()]


def as_csv(comparison: Comparison) -> str:
    """A line for each run, with a heading."""
    return _csv(list(comparison.records()))


def as_table_csv(comparison: Comparison) -> str:
    """Both tables in one, unrounded: each row of the first against the labels alone, then each paired difference.

    Empty is what there is not: of one seed, a standard deviation or an interval.
    """
    rows = comparison.rows()
    by_name = {row.name: row for row in rows}
    records = [_record(row, ALONE, row.over_baseline) for row in rows]
    records += [_record(by_name[later], earlier, one.values) for later, earlier, one in comparison.differences()]
    return _csv(records)


def _record(row: Row, against: str, differences: Sequence[float]) -> dict[str, str | float]:
    """A row beside what it is held against."""
    record: dict[str, str | float] = {"row": row.name, "seeds": len(row.figures), "mean": row.mean, "sd": row.spread}
    record["seconds"] = statistics.median(row.seconds) if row.seconds else math.nan
    record["against"] = against if differences else ""
    one = Difference(differences or [math.nan])
    record |= {"difference": one.mean, "low": one.mean - one.half_width, "high": one.mean + one.half_width}
    record["of_the_gap"] = row.gap_share if against == ALONE and row.gap_share is not None else math.nan
    record |= {"above": one.wins, "equal": one.values.count(0.0)} if differences else {"above": "", "equal": ""}
    return {key: "" if isinstance(value, float) and math.isnan(value) else value for key, value in record.items()}


def _csv(records: Sequence[Mapping[str, object]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    rule = f"|{'---|' * len(heads)}"
    return [_line(heads), rule, *map(_line, rows)]


def _line(texts: Sequence[str]) -> str:
    return f"| {' | '.join(text.replace('|', chr(92) + '|') for text in texts)} |"
