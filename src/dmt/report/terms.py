"""All that the reports of the two tasks differ in: words, and which figures they show."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dmt.report import numbers
from dmt.tasks import CLASSIFICATION, SEGMENTATION, Task


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of the table of rounds.

    Attributes:
        title: its head.
        cell: what it says of a line of `rounds` in result.json; nothing where nothing is known.
        note: a sentence that explains it.
    """

    title: str
    cell: Callable[[Mapping[str, Any]], str]
    note: str = ""


def figure_column(key: str, title: str, note: str = "") -> Column:
    """A figure in percent, by its key."""
    return Column(title=title, cell=lambda row: numbers.figure(row.get(key)), note=note)


@dataclass(frozen=True, kw_only=True)
class Terms:
    """One task's words and figures.

    Attributes:
        task: see there; its scores name the figures.
        opening: the headline's figure where it opens a sentence.
        class_figure: the figure of a single class.
        explanation: what the headline's figure is, where that needs saying.
        site: one of what is predicted.
        labels: what labeled images are counted as.
        confusion_cell: (count, count of the row) -> what a cell of the confusion matrix says.
        confusion_unit: what that is, in words.
        of_pseudo, of_test: further columns, about pseudo labels and about the test part.
    """

    task: Task
    opening: str
    class_figure: str
    explanation: str
    site: str
    labels: str
    confusion_cell: Callable[[int, int], str]
    confusion_unit: str
    of_pseudo: tuple[Column, ...]
    of_test: tuple[Column, ...]

    @property
    def headline(self) -> str:
        """The key of the figure that a result is judged by."""
        return self.task.scores.headline

    @property
    def title(self) -> str:
        """The same in words."""
        return self.task.scores.title

    @property
    def per_class(self) -> str:
        """The key of its figures by class."""
        return self.task.scores.per_class_figure


def _count_cell(count: int, total: int) -> str:
    return str(count) if count else ""


def _share_cell(count: int, total: int) -> str:
    percents = round(100 * count / total) if total else 0
    return str(percents) if percents else ""


_IMAGES = Terms(
    task=CLASSIFICATION,
    opening="Accuracy",
    class_figure="accuracy",
    explanation="",
    site="image",
    labels="labels",
    confusion_cell=_count_cell,
    confusion_unit="images",
    of_pseudo=(),
    of_test=(
        figure_column(
            "fine_grained_accuracy",
            "fine-grained",
            "Fine-grained accuracy counts a right answer as the probability given to it.",
        ),
    ),
)
_PIXELS = Terms(
    task=SEGMENTATION,
    opening="Mean IoU",
    class_figure="IoU",
    explanation=(
        "The IoU of a class is the share of the pixels of this class, true or predicted, that are both; mean IoU is "
        "the mean over the classes that occur."
    ),
    site="pixel",
    labels="labeled images",
    confusion_cell=_share_cell,
    confusion_unit="percent of the row",
    of_pseudo=(figure_column("pseudo_label_mean_iou", "their mean IoU"),),
    of_test=(figure_column("pixel_accuracy", "pixel accuracy"),),
)
TERMS = {terms.task.name: terms for terms in (_IMAGES, _PIXELS)}
"""By the name of the task."""
