"""Scoring networks on labeled parts, and pseudo labels against the truth."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dmt import evaluate as evaluation
from dmt.data.parts import Part, SealedLabels
from dmt.data.pseudo_labels import PseudoSummary
from dmt.engine import Engine
from dmt.evaluate import evaluate, pseudo_label_figures
from dmt.progress import Silent
from dmt.scores import ImageScores, PixelScores, Scores
from dmt.tasks import CLASSIFICATION, SEGMENTATION, Task
from tiny_runs import MaskedArrays, masked_images, striped_images, tiny_mask_network, tiny_network


def masks() -> MaskedArrays:
    return masked_images(11, seed=0)


def stripes() -> MaskedArrays:
    images, labels = striped_images(11, seed=0)

    class Classes(MaskedArrays):
        def size(self, index: int) -> tuple[int, int]:
            return 8, 8

    return Classes(list(images), list(labels), "train")


def score(
    networks: Sequence[nn.Module], part: Part, task: Task, *, engine: Engine | None = None, batch_size: int = 4
) -> Scores:
    return evaluate(
        networks,
        part,
        task=task,
        engine=engine or Engine("fp32"),
        batch_size=batch_size,
        workers=0,
        title="try",
        observer=Silent(),
    )


def networks_for(task: Task) -> list[nn.Module]:
    torch.manual_seed(1)
    make = tiny_mask_network if task.is_dense else tiny_network
    return [make().eval(), make().eval()]


def mean_probabilities(networks: Sequence[nn.Module], image: Tensor) -> Tensor:
    """`(1, C, *S)`, of one image alone."""
    with torch.no_grad():
        return torch.stack([one(image[None].float() / 255).softmax(dim=1) for one in networks]).mean(dim=0)


CHOSEN = (7, 0, 10, 3, 4, 9)


@pytest.mark.parametrize("batch_size", [1, 2, 50])
@pytest.mark.parametrize("count", [1, 2])
def test_masks_are_scored_image_by_image_in_the_order_of_the_part(count: int, batch_size: int) -> None:
    source, networks = masks(), networks_for(SEGMENTATION)[:count]
    scores = score(networks, Part(source, CHOSEN), SEGMENTATION, batch_size=batch_size)
    assert isinstance(scores, PixelScores)
    assert len(scores) == len(CHOSEN)
    matrices = torch.zeros(len(CHOSEN), 3, 3, dtype=torch.int64)
    for position, index in enumerate(CHOSEN):
        guess, target = mean_probabilities(networks, source.pixels[index])[0].argmax(dim=0), source.masks[index]
        for truth, answer in zip(target.flatten().tolist(), guess.flatten().tolist(), strict=True):
            if truth != 255:
                matrices[position, truth, answer] += 1
    for name, value in vars(PixelScores.of(matrices)).items():
        assert torch.equal(getattr(scores, name), value), name


def test_scores_of_many_batches_are_put_together_as_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the matrices of the batches, one an image where images differ in size, would fill the memory."""
    source, networks, asked = masks(), networks_for(SEGMENTATION)[:1], list[int]()
    whole = score(networks, Part(source, tuple(range(11))), SEGMENTATION)

    class Counting(Engine):
        def gather(self, values: Sequence[Any]) -> list[Any]:
            asked.append(len(values))
            return list(values)

    monkeypatch.setattr(evaluation, "_POOLED_TOGETHER", 3)
    part = Part(source, tuple(range(11)))
    pooled = score(networks, part, SEGMENTATION, engine=Counting("fp32"), batch_size=1)
    assert asked == [3 + 2]
    for name, value in vars(whole).items():
        assert torch.equal(getattr(pooled, name), value)


@pytest.mark.parametrize("count", [1, 2])
def test_images_are_scored_by_mean_probabilities(count: int) -> None:
    source, networks = stripes(), networks_for(CLASSIFICATION)[:count]
    scores = score(networks, Part(source, CHOSEN), CLASSIFICATION)
    assert isinstance(scores, ImageScores)
    expected = torch.cat([mean_probabilities(networks, source.pixels[index]) for index in CHOSEN])
    torch.testing.assert_close(scores.probabilities, expected)
    assert scores.targets.tolist() == [int(source.masks[index]) for index in CHOSEN]


@pytest.mark.parametrize("task", [CLASSIFICATION, SEGMENTATION])
def test_processes_put_their_shares_together_in_order(task: Task) -> None:
    source, networks = masks() if task.is_dense else stripes(), networks_for(task)[:1]
    part = Part(source, tuple(range(11)))
    alone = score(networks, part, task, batch_size=2)
    gathered: list[Any] = []

    class Shared(Engine):
        """The last of two processes that work one after the other has everybody's scores."""

        def gather(self, values: Sequence[Any]) -> list[Any]:
            gathered.extend(values)
            return list(gathered)

    for rank in (1, 0):
        engine = Shared("fp32")
        engine.rank, engine.world_size = rank, 2
        together = score(networks, part, task, engine=engine, batch_size=2)
    for name, value in vars(alone).items():
        assert torch.equal(getattr(together, name), value)


@dataclass(frozen=True)
class Kept:
    """Some pseudo labels."""

    positions: Tensor
    labels: Sequence[Tensor]
    summary: PseudoSummary

    def __len__(self) -> int:
        return len(self.positions)

    def read(self, items: Sequence[int]) -> tuple[Tensor, Tensor]:
        label = torch.stack([self.labels[item] for item in items])
        return label, torch.zeros_like(label, dtype=torch.int32)


NO_SUMMARY = PseudoSummary(predicted=(), kept=(), thresholds=())


def noisy(source: MaskedArrays, positions: Sequence[int], *, ignored: float) -> Kept:
    """Half of the true labels, the rest at random; some are not kept."""
    random = torch.Generator().manual_seed(3)
    labels = []
    for position in positions:
        truth = source.masks[position]
        other = torch.randint(3, truth.shape, generator=random)
        label = torch.where((torch.rand(truth.shape, generator=random) < 0.5) & (truth != 255), truth, other)
        labels.append(torch.where(torch.rand(truth.shape, generator=random) < ignored, 255, label))
    return Kept(torch.tensor(positions), labels, NO_SUMMARY)


def test_pseudo_masks_are_held_against_the_truth_where_both_are_known() -> None:
    source = masks()
    pseudo = noisy(source, [4, 1, 9, 2], ignored=0.4)
    found = pseudo_label_figures(
        pseudo, SealedLabels(Part(source, tuple(range(11)))), task=SEGMENTATION, num_classes=3, engine=Engine("fp32")
    )
    pairs = [
        pair
        for position, label in zip(pseudo.positions.tolist(), pseudo.labels, strict=True)
        for pair in zip(label.flatten().tolist(), source.masks[position].flatten().tolist(), strict=True)
        if 255 not in pair
    ]
    right = 100 * sum(guess == truth for guess, truth in pairs) / len(pairs)
    overlaps = [100 * sum(pair == (k, k) for pair in pairs) / sum(k in pair for pair in pairs) for k in range(3)]
    assert found == {
        "pseudo_label_accuracy": pytest.approx(right, abs=6e-5),
        "pseudo_label_mean_iou": pytest.approx(sum(overlaps) / 3, abs=6e-5),
    }


def test_pseudo_masks_whose_truth_is_ignored_can_still_be_written() -> None:
    source = masks()
    truth = replace(source, masks=[torch.full_like(mask, 255) for mask in source.masks])
    sealed = SealedLabels(Part(truth, tuple(range(11))))
    found = pseudo_label_figures(
        noisy(source, [4, 1], ignored=0.4), sealed, task=SEGMENTATION, num_classes=3, engine=Engine("fp32")
    )
    assert json.dumps(found, allow_nan=False)


def test_pseudo_labels_of_images_are_held_against_the_truth() -> None:
    source = stripes()
    positions = [9, 0, 3, 4, 10]
    truth = [int(source.masks[position]) for position in positions]
    guesses = [truth[0], truth[1], (truth[2] + 1) % 3, truth[3], (truth[4] + 2) % 3]
    pseudo = Kept(torch.tensor(positions), [torch.tensor(guess) for guess in guesses], NO_SUMMARY)
    sealed = SealedLabels(Part(source, tuple(range(11))))
    found = pseudo_label_figures(pseudo, sealed, task=CLASSIFICATION, num_classes=3, engine=Engine("fp32"))
    assert found == {"pseudo_label_accuracy": 60.0}


def test_positions_are_those_of_the_unlabeled_part() -> None:
    source = masks()
    part = Part(source, (10, 8, 6))
    pseudo = Kept(torch.tensor([2, 0]), [source.masks[6], source.masks[10]], NO_SUMMARY)
    found = pseudo_label_figures(pseudo, SealedLabels(part), task=SEGMENTATION, num_classes=3, engine=Engine("fp32"))
    assert found == {"pseudo_label_accuracy": 100.0, "pseudo_label_mean_iou": 100.0}
