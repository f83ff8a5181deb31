"""Scoring: of networks on labeled parts, and of pseudo labels against the true labels that only this file opens."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dmt.data.parts import Part, SealedLabels
from dmt.data.pseudo_labels import PseudoLabels
from dmt.engine import Engine
from dmt.errors import DataError
from dmt.inference import infer
from dmt.metrics import accuracy, confusion_matrix, mean_iou
from dmt.scores import Scores, rounded
from dmt.tasks import Task
from dmt.types import Observer

Scored = tuple[list[int], Scores]
"""Positions of some images, and their scores."""

_POOLED_TOGETHER = 100
"""Batches whose scores become one: those of masks hold a matrix of the classes, however few images they are of."""


def evaluate(
    networks: Sequence[nn.Module],
    part: Part,
    *,
    task: Task,
    engine: Engine,
    batch_size: int,
    workers: int,
    title: str,
    observer: Observer,
) -> Scores:
    """Scores of a network, or of several by their mean probabilities, on a labeled part; single view."""
    batches = infer(
        networks, part, engine=engine, batch_size=batch_size, workers=workers, title=title, observer=observer
    )
    whole, pending = list[Scored](), list[Scored]()
    for positions, logits in batches:
        probabilities = torch.stack([one.softmax(dim=1) for one in logits]).mean(dim=0)
        targets = part.labels(positions).to(engine.device)
        pending.append((list(positions), task.scores.measure(probabilities, targets)))
        if len(pending) == _POOLED_TOGETHER:
            whole, pending = [*whole, _together(pending)], []
    positions, scores = _together(engine.gather([*whole, *pending]))
    return scores.in_order(torch.tensor(positions).argsort())


def _together(scored: Sequence[Scored]) -> Scored:
    kind = type(scored[0][1])
    return [place for places, _ in scored for place in places], kind.pool([one for _, one in scored])


def pseudo_label_figures(
    pseudo: PseudoLabels, truth: SealedLabels, *, task: Task, num_classes: int, engine: Engine
) -> dict[str, float]:
    """How many of the selected pseudo labels are right, percent; for the report, never for training.

    Raises:
        DataError: when a true label cannot be read; on every process, wherever it happened.
    """
    # Masks one by one: they differ in size, and all of them are more than memory holds.
    size = 1 if task.is_dense else max(1, len(pseudo))
    starts = range(0, len(pseudo), size)
    known = truth.open()
    confusion, problem = torch.zeros(num_classes, num_classes, dtype=torch.int64), ""
    try:
        for number in engine.share(len(starts)):
            items = list(range(starts[number], min(starts[number] + size, len(pseudo))))
            confusion += _held_against(pseudo, known, items, num_classes)
    except DataError as error:
        problem = str(error)
    told = engine.gather([(confusion, problem)])
    if problems := [text for _, text in told if text]:
        raise DataError(problems[0])
    total = torch.stack([one for one, _ in told]).sum(dim=0)
    figures = {"pseudo_label_accuracy": accuracy(total)}
    return rounded(figures | ({"pseudo_label_mean_iou": float(mean_iou(total))} if task.is_dense else {}))


def _held_against(pseudo: PseudoLabels, known: Part, items: list[int], num_classes: int) -> Tensor:
    label = pseudo.read(items)[0].flatten()
    target = known.labels(pseudo.positions[items].tolist()).flatten()
    kept = (label >= 0) & (label < num_classes)
    return confusion_matrix(label[kept], target[kept], num_classes=num_classes)
