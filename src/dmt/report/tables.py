"""The report's tables: rounds, classes, confusion, pseudo labels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from dmt.report import numbers
from dmt.report.files import RunFiles, StageFiles
from dmt.report.story import final_stage
from dmt.report.terms import Column, Terms, figure_column
from dmt.scores import Scores

MAX_MATRIX_CLASSES = 25
"""A larger matrix cannot be read on a screen; the list of mix-ups says it then."""

NUM_MIX_UPS = 8


@dataclass(frozen=True, kw_only=True)
class RoundRow:
    """A stage as a line of the table, in words ready to show."""

    title: str
    cells: list[str]
    is_final: bool


@dataclass(frozen=True, kw_only=True)
class RoundTable:
    """All stages, under those columns that say anything."""

    columns: list[str]
    rows: list[RoundRow]
    notes: list[str]


@dataclass(frozen=True, kw_only=True)
class ClassRow:
    """A class before and after; `before` and `after` in percent, None where it does not occur in the test part.

    Attributes:
        count: sites of the test part whose true class it is; None where that is not known.
    """

    name: str
    count: int | None
    before: float | None
    after: float | None

    @property
    def difference(self) -> float | None:
        """Points."""
        return None if self.before is None or self.after is None else self.after - self.before


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A shaded cell: `shade` in [0, 1], `details` in small lines below the text."""

    text: str
    shade: float
    title: str = ""
    details: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ShadedTable:
    """Rows of shaded cells under column heads."""

    columns: list[str]
    rows: list[tuple[str, list[Cell]]]


@dataclass(frozen=True, kw_only=True)
class MixUp:
    """One class taken for another: `count` of the `total` sites of the true class."""

    true: str
    predicted: str
    count: int
    total: int


@dataclass(frozen=True, kw_only=True)
class Missing:
    """Classes that the same teachers never predicted.

    Attributes:
        names: the classes.
        stages: those that these teachers taught, by their short titles.
        always: whether that is all of them.
    """

    names: list[str]
    stages: tuple[str, ...]
    always: bool


def round_table(run: RunFiles) -> RoundTable:
    """A line for each stage."""
    columns = [column for column in _columns(run) if any(column.cell(stage.row) for stage in run.stages)]
    final = final_stage(run)
    rows = [
        RoundRow(
            title=_round_title(stage, run),
            cells=[column.cell(stage.row) for column in columns],
            is_final=stage is final and len(run.stages) > 1,
        )
        for stage in run.stages
    ]
    notes = [column.note for column in columns if column.note]
    return RoundTable(columns=[column.title for column in columns], rows=rows, notes=notes)


def short_title(stage: StageFiles, run: RunFiles) -> str:
    """`2`, or `2a` where there are several networks."""
    return f"{stage.row['round']}{stage.row['network'] if len(run.networks) > 1 else ''}"


def class_names(run: RunFiles) -> list[str]:
    """The classes' names; their numbers where neither the split nor a test part names them."""
    if run.classes:
        return run.classes
    for figures in (run.result.get("final", {}), run.result.get("supervised", {})):
        if run.terms.per_class in figures:
            return list(figures[run.terms.per_class])
    scores = [one for stage in run.stages for one in stage.scores.values()]
    return [str(number) for number in range(len(scores[0].confusion) if scores else 0)]


def class_rows(run: RunFiles) -> list[ClassRow]:
    """Each class's figure on the test part, supervised and final."""
    before = run.result.get("supervised", {}).get(run.terms.per_class, {})
    after = run.result.get("final", {}).get(run.terms.per_class, {})
    scores = final_stage(run).scores.get("test")
    counts = [] if scores is None else scores.confusion.sum(dim=1).tolist()
    return [
        ClassRow(name=name, count=count, before=before.get(name), after=after[name])
        for name, count in zip_longest(after, counts[: len(after)])
    ]


def confusion_table(scores: Scores, names: Sequence[str], terms: Terms) -> ShadedTable | None:
    """Rows true classes, columns predicted ones; None when it would be too large.

    Shaded by the root of the share of the row, so that a few mistakes show.
    """
    if len(names) > MAX_MATRIX_CLASSES:
        return None
    rows = []
    for name, row in zip(names, scores.confusion.tolist(), strict=True):
        total = sum(row)
        cells = [
            Cell(
                text=terms.confusion_cell(count, total),
                shade=math.sqrt(count / max(1, total)),
                title=f"{count:,} of {total:,} {terms.site}s of {name} predicted as {predicted}",
            )
            for predicted, count in zip(names, row, strict=True)
        ]
        rows.append((name, cells))
    return ShadedTable(columns=list(names), rows=rows)


def mix_ups(scores: Scores, names: Sequence[str]) -> list[MixUp]:
    """The most frequent wrong answers."""
    counts = scores.confusion.tolist()
    wrong = [
        (count, true, predicted)
        for true, row in enumerate(counts)
        for predicted, count in enumerate(row)
        if count and true != predicted
    ]
    return [
        MixUp(true=names[true], predicted=names[predicted], count=count, total=sum(counts[true]))
        for count, true, predicted in sorted(wrong, key=lambda one: (-one[0], *one[1:]))[:NUM_MIX_UPS]
    ]


def pseudo_table(run: RunFiles, names: Sequence[str]) -> ShadedTable | None:
    """Pseudo labels that each stage trained on, by class, shaded by the root of the share of the largest class."""
    stages = [stage for stage in run.stages if _is_counted(stage, len(names))]
    if not stages or not names:
        return None
    rows = [(name, [_pseudo_cell(stage, number) for stage in stages]) for number, name in enumerate(names)]
    return ShadedTable(columns=[short_title(stage, run) for stage in stages], rows=rows)


def never_predicted(run: RunFiles, names: Sequence[str]) -> list[Missing]:
    """Classes that the teachers of some stages never predicted; those of the same teachers together."""
    stages = [stage for stage in run.stages if _is_counted(stage, len(names))]
    found: dict[tuple[str, ...], list[str]] = {}
    for number, name in enumerate(names):
        without = tuple(short_title(stage, run) for stage in stages if stage.row["predicted_per_class"][number] == 0)
        if without:
            found.setdefault(without, []).append(name)
    return [Missing(names=held, stages=key, always=len(key) == len(stages)) for key, held in found.items()]


def _columns(run: RunFiles) -> list[Column]:
    several, headline = len(run.networks) > 1, run.terms.headline
    return [
        Column(title="network", cell=lambda row: row["network"] if several else ""),
        Column(title="top fraction", cell=lambda row: _fraction(row.get("top_fraction"))),
        Column(title="pseudo labels", cell=lambda row: _count_or_nothing(row.get("num_pseudo_labels"))),
        figure_column(
            "pseudo_label_accuracy",
            "of them right",
            "How many pseudo labels are right is known because this data set has the labels; training never saw them.",
        ),
        *run.terms.of_pseudo,
        Column(title="validation", cell=lambda row: numbers.figure(row.get("validation", {}).get(headline))),
        figure_column(headline, "test"),
        *run.terms.of_test,
        Column(title="time", cell=lambda row: numbers.duration(row["seconds"]) if "seconds" in row else ""),
    ]


def _round_title(stage: StageFiles, run: RunFiles) -> str:
    """`supervised` for what knows all labels and nothing else, else the number of the round."""
    is_sampled = run.starts_from_samples and not stage.is_supervised
    return "supervised" if stage.row["round"] == 0 and not is_sampled else str(stage.row["round"])


def _fraction(value: float | None) -> str:
    return "" if value is None else f"{100 * value:g}{numbers.NO_BREAK}%"


def _count_or_nothing(number: int | None) -> str:
    return numbers.count(number) if number else ""


def _is_counted(stage: StageFiles, num_classes: int) -> bool:
    """Whether the run recorded what was predicted and kept of each class."""
    columns = [stage.row.get(key) for key in ("predicted_per_class", "pseudo_labels_per_class")]
    return all(column is not None and len(column) == num_classes for column in columns)


def _pseudo_cell(stage: StageFiles, number: int) -> Cell:
    predicted, kept = stage.row["predicted_per_class"][number], stage.row["pseudo_labels_per_class"][number]
    most = max(1, *stage.row["pseudo_labels_per_class"])
    thresholds = stage.row.get("thresholds_per_class")
    threshold = thresholds[number] if thresholds else None
    if predicted == 0:
        return Cell(text=numbers.UNKNOWN, shade=0.0, title="never predicted")
    title = f"{kept:,} kept of {predicted:,} predicted"
    details = ["all"] if kept == predicted else [f"{numbers.share(kept, predicted)} of {numbers.count(predicted)}"]
    if threshold is not None and kept < predicted:
        details.append(f"\u2265 {numbers.confidence(threshold)}")
        title += f", those at least {numbers.confidence(threshold)} sure"
    return Cell(text=numbers.count(kept), shade=math.sqrt(kept / most), title=title, details=tuple(details))
