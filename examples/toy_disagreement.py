"""Why two models can correct what one cannot (the paper's Fig. 3, as an experiment one can run).

Two half moons, a few labels. Model A learns from some of them, model B from others, so they err in different places.
Then each labels the unlabeled points for the other, the surest first, as in Algorithm 2: once with every pseudo
label counted alike (weight 1), once with the dynamic loss. The picture shows where A and B disagree, what each label of
A counts for B, and where A ends.

    pip install 'dmt-ssl[plots]'
    python examples/toy_disagreement.py --output toy.png
"""

import argparse
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import make_moons
from torch import Tensor, nn

from dmt.losses import dynamic_loss, dynamic_weights
from dmt.selection import select_top

TOP_FRACTIONS = (0.2, 0.4, 0.6, 0.8, 1.0)
GAMMA = 3.0
LABELED_OF_EACH = 3
"""Labels of each class that a model learns from; no label is common to A and B."""


def main(arguments: Sequence[str] | None = None) -> dict[str, list[float]]:
    """Run it for each seed, print a line each, and draw the first seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10, help="how many")
    parser.add_argument("--steps", type=int, default=150, help="of each round")
    parser.add_argument("--output", type=Path, help="a picture; none is drawn by default")
    options = parser.parse_args(arguments)
    accuracies: dict[str, list[float]] = {"supervised": [], "weight 1": [], "dmt": []}
    for seed in range(options.seeds):
        toy = Toy(seed, steps=options.steps)
        start = [toy.supervised(subset) for subset in toy.subsets]
        ends = {"supervised": start} | {
            name: toy.mutual(start, is_dynamic=name == "dmt") for name in ("weight 1", "dmt")
        }
        for name, pair in ends.items():
            accuracies[name].append(np.mean([toy.accuracy(model) for model in pair]).item())
        print(f"seed {seed}: " + ", ".join(f"{name} {values[-1]:.1f} %" for name, values in accuracies.items()))
        if seed == 0 and options.output:
            draw(toy, start, ends["dmt"], options.output)
    print("mean:   " + ", ".join(f"{name} {np.mean(values):.1f} %" for name, values in accuracies.items()))
    return accuracies


class Toy:
    """The points of one seed, and what is done with them.

    Attributes:
        points: `(N, 2)`.
        truth: `(N,)`; only the labels of `subsets` are learned from.
        subsets: of the labeled points, for A and for B.
        unlabeled: the positions of all others.
    """

    def __init__(self, seed: int, *, steps: int) -> None:
        points, truth = make_moons(400, noise=0.1, random_state=seed)
        self.points, self.truth = torch.from_numpy(points).float(), torch.from_numpy(truth)
        self.steps, self.random = steps, torch.Generator().manual_seed(seed)
        draws = [torch.randperm(200, generator=self.random)[: 2 * LABELED_OF_EACH] for _ in range(2)]
        by_class = [torch.nonzero(self.truth == k).flatten()[draw] for k, draw in enumerate(draws)]
        self.subsets = [torch.cat([ks[n::2] for ks in by_class]) for n in range(2)]
        labeled = torch.zeros(len(self.points), dtype=torch.bool)
        labeled[torch.cat(self.subsets)] = True
        self.unlabeled = torch.nonzero(~labeled).flatten()

    def accuracy(self, model: nn.Module) -> float:
        """Percent of the unlabeled points."""
        right = model(self.points[self.unlabeled]).argmax(dim=1) == self.truth[self.unlabeled]
        return 100.0 * right.float().mean().item()

    def supervised(self, subset: Tensor) -> nn.Module:
        """A model of a few labels."""
        with torch.random.fork_rng():
            torch.manual_seed(int(torch.randint(2**31, (), generator=self.random)))
            model = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2))
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        for _ in range(self.steps):
            loss = nn.functional.cross_entropy(model(self.points[subset]), self.truth[subset])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return model

    def mutual(self, start: Sequence[nn.Module], *, is_dynamic: bool) -> list[nn.Module]:
        """Algorithm 2: in each round, what B was labels for A, and what A was labels for B."""
        pair = [deepcopy(model) for model in start]
        for fraction in TOP_FRACTIONS:
            labels = [self.labels_of(model, fraction) for model in pair]
            for student, subset, (kept, label, confidence) in zip(pair, self.subsets, labels[::-1], strict=True):
                self._round(student, subset, kept, label, confidence, is_dynamic=is_dynamic)
        return pair

    @torch.no_grad()
    def labels_of(self, teacher: nn.Module, fraction: float) -> tuple[Tensor, Tensor, Tensor]:
        """Positions, labels and confidence of the top fraction of each predicted class."""
        confidence, label = teacher(self.points[self.unlabeled]).softmax(dim=1).max(dim=1)
        kept = select_top(confidence, label, fraction, per_class=True)
        return self.unlabeled[kept], label[kept], confidence[kept]

    def _round(
        self, student: nn.Module, subset: Tensor, kept: Tensor, label: Tensor, confidence: Tensor, *, is_dynamic: bool
    ) -> None:
        points, targets = self.points[torch.cat([subset, kept])], torch.cat([self.truth[subset], label])
        optimizer = torch.optim.Adam(student.parameters(), lr=0.01)
        for _ in range(self.steps):
            logits = student(points)
            weights = torch.ones(len(targets))
            if is_dynamic:
                weights[len(subset) :] = self.weights(logits[len(subset) :].detach(), label, confidence)
            loss = dynamic_loss(logits, targets, weights)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    @staticmethod
    def weights(logits: Tensor, label: Tensor, confidence: Tensor) -> Tensor:
        """Eq. 3."""
        return dynamic_weights(logits, label, confidence, gamma_agree=GAMMA, gamma_disagree=GAMMA)


def draw(toy: Toy, start: Sequence[nn.Module], end: Sequence[nn.Module], path: Path) -> None:
    """Four panels: A, B and where they disagree, what A's labels count for B, A in the end."""
    from matplotlib.figure import Figure

    with torch.no_grad():
        of_a, of_b, of_end = (model(toy.points).softmax(dim=1) for model in (*start, end[0]))
        confidence, label = of_a[toy.unlabeled].max(dim=1)
        weights = toy.weights(start[1](toy.points[toy.unlabeled]), label, confidence)
    points, is_right = toy.points.numpy(), label == toy.truth[toy.unlabeled]
    figure = Figure(figsize=(12, 3.2), layout="constrained")
    panels = figure.subplots(1, 4, sharex=True, sharey=True, subplot_kw={"xticks": [], "yticks": []})
    titles = (
        "A, and its labels",
        "B, and its labels; x: A says otherwise",
        f"weight of A's labels for B\nright {weights[is_right].mean():.2f}, wrong {weights[~is_right].mean():.2f}",
        "A after the rounds",
    )
    for panel, title in zip(panels, titles, strict=True):
        panel.set_title(title, fontsize=10)
    for panel, answer in zip(panels[[0, 1, 3]], (of_a, of_b, of_end), strict=True):
        panel.scatter(*points.T, c=np.where(answer.argmax(dim=1) == 1, "goldenrod", "seagreen"), s=8, linewidths=0)
    for panel, subset in zip(panels, toy.subsets, strict=False):
        panel.scatter(*points[subset].T, facecolors="none", edgecolors="black", s=60)
    differ = (of_a.argmax(dim=1) != of_b.argmax(dim=1)).numpy()
    panels[1].scatter(*points[differ].T, c="black", marker="x", s=14, linewidths=0.8)
    shades = panels[2].scatter(*points[toy.unlabeled].T, c=weights, vmin=0, vmax=1, s=8, linewidths=0)
    figure.colorbar(shades, ax=panels[2], shrink=0.8)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
