"""The report's tables: rounds, classes, confusion, pseudo labels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dmt.evaluate import Scores
from dmt.report.files import RunFiles, StageFiles
from dmt.report.story import accuracy_of, final_stage, signed

MAX_MATRIX_CLASSES = 25
"""A larger matrix cannot be read on a screen; the list of mix-ups says it then."""

NUM_MIX_UPS = 8


@dataclass(frozen=True, kw_only=True)
class RoundRow:
    """A stage as a line of the table, in words ready to show."""

    round: str
    network: str
    top_fraction: str
    num_pseudo: str
    pseudo_accuracy: str
    validation: str
    test: str
    fine_grained: str
    seconds: str
    is_final: bool


@dataclass(frozen=True, kw_only=True)
class ClassRow:
    """A class before and after; `before` and `after` in percent, None where it has no test image."""

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
    """A shaded cell: `shade` in [0, 1]."""

    text: str
    shade: float
    title: str = ""


@dataclass(frozen=True, kw_only=True)
class ShadedTable:
    """Rows of shaded cells under column heads."""

    columns: list[str]
    rows: list[tuple[str, list[Cell]]]


@dataclass(frozen=True, kw_only=True)
class MixUp:
    """One class taken for another: `count` of the `total` images of the true class."""

    true: str
    predicted: str
    count: int
    total: int


def round_rows(run: RunFiles) -> list[RoundRow]:
    """A line for each stage."""
    final = final_stage(run)
    return [_round_row(stage, is_final=stage is final) for stage in run.stages]


def class_names(run: RunFiles) -> list[str]:
    """The classes' names; their numbers where the run had no test part to name them."""
    for figures in (run.result.get("final", {}), run.result.get("supervised", {})):
        if "per_class_accuracy" in figures:
            return list(figures["per_class_accuracy"])
    scores = [one for stage in run.stages for one in stage.scores.values()]
    return [str(number) for number in range(scores[0].probabilities.shape[1] if scores else 0)]


def class_rows(run: RunFiles) -> list[ClassRow]:
    """Each class's test accuracy, supervised and final."""
    before = run.result.get("supervised", {}).get("per_class_accuracy", {})
    after = run.result.get("final", {}).get("per_class_accuracy", {})
    scores = final_stage(run).scores.get("test")
    counts = scores.targets.bincount(minlength=len(after)).tolist() if scores else [None] * len(after)
    return [
        ClassRow(name=name, count=counts[number], before=before.get(name), after=after[name])
        for number, name in enumerate(after)
    ]


def confusion_table(scores: Scores, names: Sequence[str]) -> ShadedTable | None:
    """Rows true classes, columns predicted ones; None when it would be too large.

    Shaded by the root of the share of the row, so that a few mistakes show.
    """
    if len(names) > MAX_MATRIX_CLASSES:
        return None
    counts = scores.confusion.tolist()
    rows = []
    for name, row in zip(names, counts, strict=True):
        total = max(1, sum(row))
        cells = [
            Cell(
                text=str(count) if count else "",
                shade=math.sqrt(count / total),
                title=f"{count} of {sum(row)} images of {name} predicted as {predicted}",
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
    """Pseudo labels that each stage trained on, by class, shaded against the largest class of the stage."""
    columns, counts = [], []
    several = len({stage.row["network"] for stage in run.stages}) > 1
    for stage in run.stages:
        selected = _selected_by_class(stage, len(names))
        if selected is not None:
            columns.append(f"{stage.row['round']}{stage.row['network'] if several else ''}")
            counts.append(selected)
    if not columns or not names:
        return None
    rows = [
        (name, [_pseudo_cell(*column[number], max(1, *(kept for kept, _ in column))) for column in counts])
        for number, name in enumerate(names)
    ]
    return ShadedTable(columns=columns, rows=rows)


def _round_row(stage: StageFiles, *, is_final: bool) -> RoundRow:
    row = stage.row
    fraction = row.get("top_fraction")
    return RoundRow(
        round="supervised" if row["round"] == 0 else str(row["round"]),
        network=row["network"],
        top_fraction="" if fraction is None else f"{100 * fraction:g}\u00a0%",
        num_pseudo=f"{row['num_pseudo_labels']:,}" if row.get("num_pseudo_labels") else "",
        pseudo_accuracy=_known(row.get("pseudo_label_accuracy")),
        validation=_known(accuracy_of(stage, "validation")),
        test=_known(accuracy_of(stage, "test")),
        fine_grained=_known(row.get("fine_grained_accuracy")),
        seconds=duration(row["seconds"]) if "seconds" in row else "",
        is_final=is_final,
    )


def duration(seconds: float) -> str:
    """`42 s`, `7 min` or `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f}\u00a0s"
    return f"{seconds / 60:.0f}\u00a0min" if seconds < 5400 else f"{seconds / 3600:.1f}\u00a0h"


def change(difference: float | None) -> str:
    """Points with their sign, or nothing."""
    return "" if difference is None else signed(difference)


def _known(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _selected_by_class(stage: StageFiles, num_classes: int) -> list[tuple[int, int]] | None:
    """(kept, predicted) of each class; None where the run recorded neither."""
    kept = stage.row.get("pseudo_labels_per_class")
    if stage.pseudo is None or kept is None or len(kept) != num_classes:
        return None
    label, _ = stage.pseudo
    predicted = label[(label >= 0) & (label < num_classes)].bincount(minlength=num_classes).tolist()
    return list(zip(kept, predicted, strict=True))


def _pseudo_cell(kept: int, predicted: int, most: int) -> Cell:
    return Cell(text=f"{kept:,}", shade=kept / most, title=f"{kept:,} kept of {predicted:,} predicted")
