"""Finished runs as files, and a page taken apart."""

import json
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import torch
import yaml

from dmt.report import write_report
from dmt.scores import ImageScores, PixelScores, save_scores

CLASSES = ["cat", "<script>alert(1)</script>", "dog & fox"]
ACCURACY = {0: 50.0, 1: 75.0, 2: 87.5}
PREDICTED = {1: [8, 0, 6], 2: [8, 0, 6]}
KEPT = {1: [7, 0, 0], 2: [8, 0, 6]}
THRESHOLDS = {1: [0.9312, None, None], 2: [0.0, None, 0.0]}

PIXELS = [9_000_000, 600_000, 45_000]
"""Of each class, in the masks of a segmentation run's test part."""


def make_run(folder: Path, accuracies: dict[tuple[int, str], float], **changes: object) -> Path:
    """A finished run as files: stages by (round, network), each right on that percent of 40 test images."""
    rounds = []
    for (number, network), accuracy in accuracies.items():
        name = "supervised" if (number, network) == (0, "a") else f"rounds/{number}/{network}"
        row = {"round": number, "network": network, "folder": name}
        row |= {"top_fraction": number / 2 or None, "num_pseudo_labels": 7 * number}
        row |= {"seconds": 95.0, "accuracy": accuracy, "fine_grained_accuracy": accuracy - 5}
        row |= {"validation": {"accuracy": 61.5, "fine_grained_accuracy": 50.0}}
        rounds.append(row | (_taught(number) if number else {}))
        save_scores(folder / name / "scores.safetensors", {"test": image_scores(accuracy)})
    last, figures = rounds[-1], {"accuracy": rounds[-1]["accuracy"], "fine_grained_accuracy": 40.0}
    names = {name: 50.0 + number for number, name in enumerate(CLASSES)}
    result = {"task": "classification", "dataset": "pets", "num_unlabeled": 30}
    result |= {"supervised": {"network": "a", **rounds[0], "per_class_accuracy": names}}
    result |= {"rounds": rounds, "last_round": {key: last[key] for key in ("round", "network", "accuracy")}}
    result |= {"final": figures | {"per_class_accuracy": names}}
    return finish(folder, result | changes)


def make_mask_run(folder: Path, figures: Mapping[str, float], **changes: object) -> Path:
    """A finished segmentation run as files: stages by folder, each with a share of all pixels right, percent."""
    rounds, scores = [], {}
    for name, accuracy in figures.items():
        number, network = (0, "a") if name == "supervised" else (int(name.split("/")[1]), name.split("/")[2])
        scores[name] = pixel_scores(accuracy)
        row = {"round": number, "network": network, "folder": name, "seconds": 95.0, **scores[name].figures()}
        row |= {"top_fraction": number / 2 or None, "num_pseudo_labels": 7_000_000 * number}
        if number:
            row |= {"pseudo_label_accuracy": 93.2, "pseudo_label_mean_iou": 71.4}
            row |= {"predicted_per_class": [12_345_678, 0, 40], "pseudo_labels_per_class": [6_172_839, 0, 40]}
            row |= {"thresholds_per_class": [0.99987, None, 0.0]}
        rounds.append(row)
        save_scores(folder / name / "scores.safetensors", {"test": scores[name]})
    last = rounds[-1]
    result = {"task": "segmentation", "dataset": "scenes", "num_unlabeled": 300}
    result |= {"supervised": {"network": "a", **_final(scores["supervised"])}, "rounds": rounds}
    result |= {"last_round": {key: last[key] for key in ("round", "network", "mean_iou")}}
    result |= {"final": _final(scores[last["folder"]])}
    return finish(folder, result | changes)


def finish(folder: Path, result: dict[str, Any]) -> Path:
    """What the runs of both tasks have."""
    last = result["rounds"][-1]
    picked = {"what": f"round {last['round']}, network {last['network']}", "why": "it was the best"}
    common = {"format": 1, "method": "dmt", "scheme": "chain", "seed": 4, "num_labeled": 6, "num_validation": 0}
    common |= {"num_test": 40, "seconds": 7000.0, "peak_memory_mb": 1052, "picked": picked}
    (folder / "result.json").write_text(json.dumps(common | result))
    config = {"method": "dmt", "rounds": {"selection": "overall"}, "validation": {"source": "cross_validation"}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "environment.json").write_text(json.dumps({"torch": "2.9", "cpu": "some <b>cpu</b>"}))
    (folder / "splits").mkdir()
    (folder / "splits" / "labeled.txt").write_text("train/a&b\ntrain/c\n")
    lines = [{"stage": "supervised", "step": step, "loss": 1 / step} for step in (20, 40, 20)]
    (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)) + '\n{"stage": "sup')
    return folder


def image_scores(accuracy: float) -> ImageScores:
    """40 images of classes 0, 1, 2, 0, ...; the wrong answers come last and say the next class."""
    targets = torch.arange(40) % 3
    wrong = torch.arange(40) >= round(40 * accuracy / 100)
    answers = torch.where(wrong, (targets + 1) % 3, targets)
    return ImageScores(probabilities=torch.nn.functional.one_hot(answers, 3).float(), targets=targets)


def pixel_scores(accuracy: float) -> PixelScores:
    """`PIXELS`, dealt evenly to 40 images; of each class the wrong answers say the next class."""
    confusion = torch.zeros(3, 3, dtype=torch.int64)
    for k, count in enumerate(PIXELS):
        right = round(count / 40 * accuracy / 100)
        confusion[k, k], confusion[k, (k + 1) % 3] = right, count // 40 - right
    return PixelScores.of(confusion.repeat(40, 1, 1))


def _final(scores: PixelScores) -> dict[str, Any]:
    return scores.figures() | {"per_class_iou": scores.per_class(CLASSES)}


def _taught(number: int) -> dict[str, Any]:
    return {
        "pseudo_label_accuracy": 93.2,
        "predicted_per_class": PREDICTED[number],
        "pseudo_labels_per_class": KEPT[number],
        "thresholds_per_class": THRESHOLDS[number],
    }


class Page(HTMLParser):
    """Checks that tags balance; collects text and tags."""

    VOID = frozenset({"meta", "link", "br", "img", "hr"})
    CELLS = frozenset({"td", "th", "dt", "dd", "small"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.text += " " if tag in self.CELLS else ""
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.text += data

    @property
    def words(self) -> str:
        return " ".join(self.text.split())

    @property
    def cell_titles(self) -> list[str]:
        return [given["title"] for tag, given in self.tags if tag == "td" and given.get("title")]


def page_of(folder: Path) -> Page:
    path = write_report(folder)
    assert path == folder / "report.html"
    return Page(path.read_text(encoding="utf-8"))
