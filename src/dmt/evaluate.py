"""Scoring: of networks on labeled parts, and of pseudo labels against the true labels that only this file opens."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from dmt.data.parts import Part, SealedLabels
from dmt.data.pseudo_labels import PseudoLabels
from dmt.engine import Engine
from dmt.files import write_atomic
from dmt.inference import infer
from dmt.metrics import accuracy, confusion_matrix, fine_grained_accuracy, per_class_accuracy
from dmt.types import Observer


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What a network said of a labeled part: `(n, C)` probabilities, `(n,)` true classes."""

    probabilities: Tensor
    targets: Tensor

    @property
    def correct(self) -> Tensor:
        """`(n,)` bool."""
        return self.probabilities.argmax(dim=1) == self.targets

    @property
    def confusion(self) -> Tensor:
        """`(C, C)` counts, rows true classes."""
        num_classes = self.probabilities.shape[1]
        return confusion_matrix(self.probabilities.argmax(dim=1), self.targets, num_classes=num_classes)

    def figures(self) -> dict[str, float]:
        """Accuracy and fine-grained accuracy, percent."""
        return {
            "accuracy": round(accuracy(self.confusion), 4),
            "fine_grained_accuracy": round(fine_grained_accuracy(self.probabilities, self.targets), 4),
        }

    def per_class(self, class_names: Sequence[str]) -> dict[str, float | None]:
        """Accuracy of each true class, percent; None for a class without images."""
        values = per_class_accuracy(self.confusion).tolist()
        return {
            name: None if value != value else round(value, 4) for name, value in zip(class_names, values, strict=True)
        }


def pool(scores: Sequence[Scores]) -> Scores:
    """The scores of several disjoint parts as those of one."""
    return Scores(
        probabilities=torch.cat([one.probabilities for one in scores]),
        targets=torch.cat([one.targets for one in scores]),
    )


def ensemble(scores: Sequence[Scores]) -> Scores:
    """Several networks' mean probabilities on the same part."""
    return Scores(
        probabilities=torch.stack([one.probabilities for one in scores]).mean(dim=0), targets=scores[0].targets
    )


def evaluate(
    network: nn.Module, part: Part, *, engine: Engine, batch_size: int, workers: int, title: str, observer: Observer
) -> Scores:
    """A network's probabilities on a labeled part, single view."""
    (probabilities,) = infer(
        [network],
        part,
        lambda logits: (logits[0].softmax(dim=1),),
        engine=engine,
        batch_size=batch_size,
        workers=workers,
        title=title,
        observer=observer,
    )
    return Scores(probabilities=probabilities, targets=part.labels(range(len(part))))


def pseudo_label_accuracy(pseudo: PseudoLabels, truth: SealedLabels) -> float:
    """Percent of the selected pseudo labels that are right; for the report, never for training."""
    targets = truth.open().labels(pseudo.positions.tolist())
    return float(100.0 * (pseudo.label == targets).double().mean())


def save_scores(path: Path, scores: dict[str, Scores]) -> None:
    """Write named scores (`test`, `validation`) to one safetensors file."""
    tensors = {
        f"{name}/{field}": tensor.contiguous() for name, one in scores.items() for field, tensor in vars(one).items()
    }
    content = save(tensors)
    write_atomic(path, lambda temporary: temporary.write_bytes(content))


def load_scores(path: Path) -> dict[str, Scores]:
    """Read what `save_scores` wrote."""
    tensors = load_file(path)
    names = sorted({key.partition("/")[0] for key in tensors})
    return {
        name: Scores(probabilities=tensors[f"{name}/probabilities"], targets=tensors[f"{name}/targets"])
        for name in names
    }
