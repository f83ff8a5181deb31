import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
import yaml

from dmt.data.pseudo_labels import Provenance, write_store
from dmt.errors import RunFolderError
from dmt.evaluate import Scores, save_scores
from dmt.report import write_report
from dmt.selection import confidence_code
from dmt.types import Prediction

CLASSES = ["cat", "<script>alert(1)</script>", "dog & fox"]
ACCURACY = {0: 50.0, 1: 75.0, 2: 87.5}
KEPT = {1: [7, 0, 0], 2: [8, 0, 6]}


def make_run(folder: Path, accuracies: dict[tuple[int, str], float], **changes: object) -> Path:
    """A finished run as files: stages by (round, network), each right on that percent of 40 test images."""
    rounds = []
    for (number, network), accuracy in accuracies.items():
        row = {"round": number, "network": network, "top_fraction": number / 2 or None, "num_pseudo_labels": 7 * number}
        row |= {"seconds": 95.0, "accuracy": accuracy, "fine_grained_accuracy": accuracy - 5}
        row |= {"validation": {"accuracy": 61.5, "fine_grained_accuracy": 50.0}}
        of_round = {"pseudo_label_accuracy": 93.2, "pseudo_labels_per_class": KEPT[number]} if number else {}
        rounds.append(row | of_round)
        stage = folder / ("supervised" if (number, network) == (0, "a") else f"rounds/{number}/{network}")
        stage.mkdir(parents=True)
        save_scores(stage / "scores.safetensors", {"test": scores(accuracy)})
        if number:
            write_pseudo_labels(stage)
    last, figures = rounds[-1], {"accuracy": rounds[-1]["accuracy"], "fine_grained_accuracy": 40.0}
    names = {name: 50.0 + number for number, name in enumerate(CLASSES)}
    result = {"format": 1, "task": "classification", "dataset": "pets", "method": "dmt", "scheme": "chain", "seed": 4}
    result |= {"num_labeled": 6, "num_validation": 0, "num_unlabeled": 30, "num_test": 40, "seconds": 7000.0}
    result |= {"peak_memory_mb": 1052, "supervised": {"network": "a", **rounds[0], "per_class_accuracy": names}}
    result |= {"rounds": rounds, "last_round": {key: last[key] for key in ("round", "network", "accuracy")}}
    result |= {"final": figures | {"per_class_accuracy": names}}
    result |= {"picked": {"what": f"round {last['round']}, network {last['network']}", "why": "it was the best"}}
    (folder / "result.json").write_text(json.dumps(result | changes))
    config = {"method": "dmt", "rounds": {"selection": "overall"}, "validation": {"source": "cross_validation"}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "environment.json").write_text(json.dumps({"torch": "2.9", "cpu": "some <b>cpu</b>"}))
    (folder / "splits").mkdir()
    (folder / "splits" / "labeled.txt").write_text("train/a&b\ntrain/c\n")
    lines = [{"stage": "supervised", "step": step, "loss": 1 / step} for step in (20, 40, 20)]
    (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)) + '\n{"stage": "sup')
    return folder


def scores(accuracy: float) -> Scores:
    """40 images of classes 0, 1, 2, 0, ...; the wrong answers come last and say the next class."""
    targets = torch.arange(40) % 3
    wrong = torch.arange(40) >= round(40 * accuracy / 100)
    answers = torch.where(wrong, (targets + 1) % 3, targets)
    return Scores(probabilities=torch.nn.functional.one_hot(answers, 3).float(), targets=targets)


def write_pseudo_labels(stage: Path) -> None:
    logits = torch.zeros(14, 3)
    logits[range(14), [0] * 8 + [2] * 6] = torch.linspace(5, 1, 14)
    prediction = Prediction(label=logits.argmax(1), code=confidence_code(logits))
    provenance = Provenance(teacher="t", teacher_hash="h", config_hash="c")
    write_store(stage / "pseudo_labels", [f"u{i}" for i in range(14)], prediction, provenance)


class Page(HTMLParser):
    """Checks that tags balance; collects text and tags."""

    VOID = frozenset({"meta", "link", "br", "img", "hr"})

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


def page_of(folder: Path) -> Page:
    path = write_report(folder)
    assert path == folder / "report.html"
    return Page(path.read_text(encoding="utf-8"))


@pytest.fixture
def chain(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run", {(number, "a"): accuracy for number, accuracy in ACCURACY.items()})


def test_headline_and_figures_of_a_chain(chain: Path) -> None:
    words = page_of(chain).words
    assert "Unlabeled images helped: 50.0 % with the labels alone, 87.5 % after the last round (+37.5 points)." in words
    assert "Picked: round 2, network a (87.5 % test accuracy): it was the best." in words
    assert "2-fold cross-validation over the 6 labels" in words
    for figure in ("93.2", "61.5", "2 min", "1.9 h", "1,052 MB", "seed 4", "run/config.yaml --run-dir"):
        assert figure in words


def test_names_from_outside_show_as_text(chain: Path) -> None:
    page = page_of(chain)
    assert "<script>alert(1)</script>" in page.text
    assert "dog & fox" in page.text
    assert "some <b>cpu</b>" in page.text
    assert "train/a&b" in page.text
    assert not {"script", "b"} & {tag for tag, _ in page.tags}


def test_page_needs_nothing_from_elsewhere(chain: Path) -> None:
    page = page_of(chain)
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "iframe", "img", "object"})
    links = [value for _, given in page.tags for key, value in given.items() if key in {"href", "src"}]
    assert links == ["data:,"]
    text = (chain / "report.html").read_text()
    assert not re.search(r"https?://|@import|url\(", text)
    assert "prefers-color-scheme: dark" in text


def test_same_files_give_the_same_bytes(chain: Path) -> None:
    first = write_report(chain).read_bytes()
    assert write_report(chain).read_bytes() == first


def test_confusion_and_mistakes(chain: Path) -> None:
    page = page_of(chain)
    titles = {given["title"] for tag, given in page.tags if tag == "td" and given.get("title")}
    # 35 of 40 right: images 35..39, of classes 2, 0, 1, 2, 0, are wrong; each says the next class.
    assert "2 of 14 images of cat predicted as <script>alert(1)</script>" in titles
    assert "11 of 13 images of dog & fox predicted as dog & fox" in titles
    assert "cat → <script>alert(1)</script> · 2 of 14" in page.words


def test_pseudo_labels_by_class(chain: Path) -> None:
    titles = [given["title"] for tag, given in page_of(chain).tags if tag == "td" and given.get("title")]
    kept = [title for title in titles if "kept of" in title]
    assert kept == [f"{a} kept of {b} predicted" for a, b in [(7, 8), (8, 8), (0, 0), (0, 0), (0, 6), (6, 6)]]


def test_a_round_without_counts_by_class_is_left_out(chain: Path) -> None:
    result = json.loads((chain / "result.json").read_text())
    del result["rounds"][1]["pseudo_labels_per_class"]
    (chain / "result.json").write_text(json.dumps(result))
    titles = [given["title"] for tag, given in page_of(chain).tags if tag == "td" and given.get("title")]
    assert [title for title in titles if "kept of" in title] == [f"{n} kept of {n} predicted" for n in (8, 0, 6)]


def test_mutual_run_with_ensemble(tmp_path: Path) -> None:
    accuracies = {(n, network): a + (network == "b") for n, a in ACCURACY.items() for network in ("a", "b")}
    page = page_of(make_run(tmp_path / "m", accuracies, scheme="mutual", ensemble={"accuracy": 90.1}))
    assert "90.1 %" in page.words
    assert "(+38.5 points)" in page.words
    assert "network b, test accuracy" in page.words
    assert sum(given.get("class") == "line c1" for tag, given in page.tags) == 1


@pytest.mark.parametrize("method", ["supervised", "oracle"])
def test_run_of_one_stage(tmp_path: Path, method: str) -> None:
    changes = {"method": method, "picked": {"what": "supervised", "why": "the only stage"}}
    page = page_of(make_run(tmp_path / "one", {(0, "a"): 80.0}, **changes))
    start = "Trained on all 6 labels" if method == "oracle" else "Trained on the 6 labels"
    assert f"{start}: 80.0 % accuracy on test images." in page.words
    assert "Picked" not in page.words


@pytest.mark.parametrize(
    ("accuracies", "opening"),
    [
        ((80.0, 70.0), "Unlabeled images did not help"),
        ((80.0, 80.0), "Unlabeled images did not help"),
        ((80.0, 82.5), "Unlabeled images may have helped"),
        ((40.0, 80.0), "Unlabeled images helped"),
    ],
)
def test_verdict_is_plain(tmp_path: Path, accuracies: tuple[float, float], opening: str) -> None:
    folder = make_run(tmp_path / "run", {(number, "a"): accuracy for number, accuracy in enumerate(accuracies)})
    words = page_of(folder).words
    assert opening in words
    assert ("(\u221210.0 points)" in words) == (accuracies[1] == 70.0)
    assert ("Chance alone" in words) == ("may have" in opening)


def test_only_result_json_is_needed(chain: Path) -> None:
    for path in [path for path in chain.rglob("*") if path.is_file() and path.name != "result.json"]:
        path.unlink()
    words = page_of(chain).words
    assert "Unlabeled images helped: 50.0 %" in words
    assert "standard error" not in words
    assert "Confusion" not in words


def test_damaged_optional_files_are_left_out(chain: Path) -> None:
    for path in [path for path in chain.rglob("*") if path.is_file() and path.name != "result.json"]:
        path.write_bytes(b"\xff{: [broken")
    assert "Unlabeled images helped: 50.0 %" in page_of(chain).words


def test_run_without_test_part(chain: Path) -> None:
    result = json.loads((chain / "result.json").read_text())
    for row in result["rounds"]:
        del row["accuracy"], row["fine_grained_accuracy"]
    result |= {"supervised": {"network": "a"}, "final": {}, "last_round": {"round": 2, "network": "a"}, "num_test": 0}
    result["rounds"][2]["validation"]["accuracy"] = 91.5
    (chain / "result.json").write_text(json.dumps(result | {"num_validation": 20}))
    words = page_of(chain).words
    assert "61.5 % with the labels alone, 91.5 % after the last round (+30.0 points)" in words
    assert "There is no test part" in words


def test_run_without_any_scores(chain: Path) -> None:
    result = json.loads((chain / "result.json").read_text())
    for row in result["rounds"]:
        del row["accuracy"], row["fine_grained_accuracy"], row["validation"]
    result |= {"supervised": {"network": "a"}, "final": {}, "last_round": {"round": 2, "network": "a"}, "num_test": 0}
    (chain / "result.json").write_text(json.dumps(result))
    assert "there were no labels to test on" in page_of(chain).words


def test_unfinished_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"no result\.json"):
        write_report(tmp_path)
    (tmp_path / "result.json").write_text("{")
    with pytest.raises(RunFolderError, match="not valid JSON"):
        write_report(tmp_path)
