"""The words that every layer shares.

Shape legend, used in all docstrings: N sites or images in a batch, C classes, `*S` the site grid of an image: `()` in
classification (a site is an image), `(H, W)` in segmentation (a site is a pixel). Logits are `(N, C, *S)`; labels,
confidences and weights are `(N, *S)`; images are `(N, channels, H, W)`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias

if TYPE_CHECKING:  # torch takes seconds to load, and the config needs the constants alone
    from torch import Tensor

UNLABELED = -1
"""The class index that stands for "no label" in label files, and the ignore index of classification."""

IGNORE_INDEX = 255
"""The class index that stands for "ignored" in masks."""

Start: TypeAlias = Literal["scratch", "finetune"]
Selection: TypeAlias = Literal["overall", "per_class", "class_prior", "class_share", "renormalized", "threshold"]
BY_SHARES: Final = ("class_prior", "class_share")
"""Those that need to know what share of all sites each class is believed to have."""
LabeledSubset: TypeAlias = Literal["all", "dms_a", "dms_b"]


@dataclass(frozen=True, kw_only=True)
class PseudoSpec:
    """Whose pseudo labels a stage trains on, and how many of them.

    `top_fraction` is the paper's alpha in (0, 1]; the teacher is network `teacher` as it was after `teacher_round`.
    `threshold` is what `threshold` selection goes by instead of the fraction.
    """

    teacher: str
    teacher_round: int
    top_fraction: float
    selection: Selection
    threshold: float | None = None


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One training run of the plan: which networks it trains, from what start, on which labels.

    Attributes:
        round: 0 is the supervised warm start; the paper's iterations are 1, 2, ...
        trains: the networks this stage trains; their labels name the folders.
        start: `scratch` (fresh initial weights, which may be pretrained) or `finetune` (own weights of the last round).
        pseudo: the pseudo labels to train on, or None.
        unlabeled: whether batches carry unlabeled images without any label (online methods).
        labeled_subset: all labels, or one of the two difference-maximised halves (paper, section 4.1.2).
    """

    round: int
    trains: tuple[str, ...]
    start: Start
    pseudo: PseudoSpec | None = None
    unlabeled: bool = False
    labeled_subset: LabeledSubset = "all"

    @property
    def network(self) -> str:
        """The label of the first (in offline methods: the only) network that this stage trains."""
        return self.trains[0]

    @property
    def is_supervised(self) -> bool:
        """Whether the stage sees labeled images only, and so runs on the supervised budget."""
        return self.pseudo is None and not self.unlabeled

    @property
    def folder(self) -> str:
        """Where the stage keeps its files, relative to the run folder."""
        if self.round == 0 and self.network == "a" and self.labeled_subset == "all":
            return "supervised"
        return f"rounds/{self.round}/{self.network}"

    @property
    def title(self) -> str:
        """The stage in a reader's words."""
        return stage_title({"folder": self.folder, "round": self.round, "network": self.network})


def stage_title(row: Mapping[str, Any]) -> str:
    """The title of the stage that a row of result.json is of."""
    return "supervised" if row["folder"] == "supervised" else f"round {row['round']}, network {row['network']}"


def networks_of(plan: Sequence[Stage]) -> list[str]:
    """Labels of the networks that a plan trains, in order."""
    return sorted({label for stage in plan for label in stage.trains})


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One step's data on the training device.

    Attributes:
        images: `(N, channels, H, W)`, float in [0, 1]; a network normalises by itself.
        targets: `(N, *S)` int64; a true label, a pseudo label, or the ignore index.
        confidence: `(N, *S)` float; the teacher's c_A, 1 where labeled.
        is_labeled: `(N,)` bool; position in the batch carries no meaning.
        class_weights: `(C,)` float, what a site of each class counts in the loss; None = all alike.
    """

    images: Tensor
    targets: Tensor
    confidence: Tensor
    is_labeled: Tensor
    class_weights: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """A teacher's answer for a batch: hard labels and confidence codes, both `(N, *S)`; label -1 where not finite."""

    label: Tensor
    code: Tensor


@dataclass(frozen=True, kw_only=True)
class StepOutput:
    """What a training step returns: the scalar loss to minimise, and scalars (still on the device) worth logging."""

    loss: Tensor
    logs: Mapping[str, Tensor | float] = field(default_factory=dict)


class SiteRule(Protocol):
    """All that offline methods differ in inside a step."""

    def __call__(self, logits: Tensor, label: Tensor, confidence: Tensor, /) -> tuple[Tensor, Tensor]:
        """The student's logits, the pseudo label and the teacher's confidence -> the target and its weight."""


class Observer(Protocol):
    """What a run tells the outside while it works; the command line's live view is one."""

    def run_started(self, folder: str, num_stages: int) -> None:
        """The run folder is ours, and so many stages are to come, those of folds included."""

    def task_started(self, title: str, total: int, done: int = 0) -> None:
        """A piece of work (training, labeling, evaluation) of `total` units begins, of which `done` are done."""

    def task_advanced(self, done: int, note: str = "") -> None:
        """`done` units of the current piece are done."""

    def task_finished(self) -> None:
        """The current piece is done."""

    def stage_finished(self, title: str, note: str) -> None:
        """A stage is done; `note` is its outcome in a few words."""

    def message(self, text: str) -> None:
        """A sentence for the user."""
