"""Who teaches a stage, and which of its teacher's labels it trains on."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from dmt.data.pseudo_labels import PseudoLabels
from dmt.data.pseudo_masks import MaskStore, read_masks
from dmt.errors import DataError
from dmt.label import renormalized_by, weights_hash
from dmt.progress import Silent
from dmt.train import Training
from tiny_runs import RunMasks, mask_runner, recorded_trainings, tiny_mask_network, tiny_masks


@pytest.fixture
def run_masks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> RunMasks:
    return mask_runner(monkeypatch, tmp_path)


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> dict[str, Training]:
    return recorded_trainings(monkeypatch)


def keys_of(folder: Path, part: str) -> list[str]:
    return (folder / "run" / "splits" / f"{part}.txt").read_text().split()


def weights_of(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "last.safetensors")


def equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def teachers(folder: Path) -> dict[str, tuple[str, str]]:
    """Who made the pseudo labels of each stage, in words and as the hash of its weights."""
    manifests = {path: json.loads(path.read_text()) for path in sorted(folder.rglob("pseudo_labels/manifest.json"))}
    return {
        str(path.parent.parent.relative_to(folder)): (manifest["teacher"], manifest["teacher_hash"])
        for path, manifest in manifests.items()
    }


def test_teachers_are_the_other_network_of_the_round_before(
    run_masks: RunMasks, trainings: dict[str, Training], tmp_path: Path
) -> None:
    """Spec 1.11; every student goes on from its own weights (here nothing is trained, so they are kept)."""
    run_masks(rounds={"top_fractions": [0.5, 1.0]})
    folder = tmp_path / "run"

    def made_by(title: str, stage: str) -> tuple[str, str]:
        return title, weights_hash(folder / stage / "last.safetensors")

    assert teachers(folder) == {
        "rounds/1/a": made_by("round 0, network b", "rounds/0/b"),
        "rounds/1/b": made_by("supervised", "supervised"),
        "rounds/2/a": made_by("round 1, network b", "rounds/1/b"),
        "rounds/2/b": made_by("round 1, network a", "rounds/1/a"),
    }
    a, b = weights_of(folder / "supervised"), weights_of(folder / "rounds/0/b")
    assert not equal(a, b)
    for number in (1, 2):
        assert equal(weights_of(folder / f"rounds/{number}/a"), a)
        assert equal(weights_of(folder / f"rounds/{number}/b"), b)
    assert list(trainings) == [
        "supervised", "round 0, network b", "round 1, network a", "round 1, network b", "round 2, network a",
        "round 2, network b",
    ]  # fmt: skip


def test_with_samples_round_one_stands_on_them_and_not_on_the_baseline(
    run_masks: RunMasks, trainings: dict[str, Training], tmp_path: Path
) -> None:
    run_masks(rounds={"top_fractions": [0.5], "dms_share": 0.6}, data={"name": "bands", "num_labeled": 5})
    folder = tmp_path / "run"
    assert teachers(folder) == {
        "rounds/1/a": ("round 0, network b", weights_hash(folder / "rounds/0/b/last.safetensors")),
        "rounds/1/b": ("round 0, network a", weights_hash(folder / "rounds/0/a/last.safetensors")),
    }
    for network in "ab":
        assert equal(weights_of(folder / f"rounds/1/{network}"), weights_of(folder / f"rounds/0/{network}"))
    assert not equal(weights_of(folder / "supervised"), weights_of(folder / "rounds/0/a"))
    labeled = {title: training.batches.labeled.indices for title, training in trainings.items()}
    everything = set(labeled["supervised"])
    first, second = set(labeled["round 0, network a"]), set(labeled["round 0, network b"])
    assert (len(everything), len(first), len(second)) == (5, 3, 3)
    assert first | second == everything
    assert len(first & second) == 1, "samples overlap as little as they can"
    for network in "ab":
        assert set(labeled[f"round 1, network {network}"]) == everything


def read_all(pseudo: PseudoLabels) -> list[tuple[Tensor, Tensor]]:
    return [pseudo.read([item]) for item in range(len(pseudo))]


def training_of(trainings: dict[str, Training], title: str) -> PseudoLabels:
    pseudo = trainings[title].batches.pseudo
    assert pseudo is not None
    return pseudo


def test_renormalized_labels_are_those_of_the_thresholds_of_direct_ranking(
    run_masks: RunMasks, trainings: dict[str, Training], tmp_path: Path
) -> None:
    """Both stores are kept; the second holds what the teacher says under the thresholds of the first."""
    run_masks(method="cbst", rounds={"top_fractions": [0.3], "selection": "renormalized"})
    found = read_all(training_of(trainings, "round 1, network a"))
    folder = tmp_path / "run" / "rounds" / "1" / "a" / "pseudo_labels"
    data = tiny_masks(num_train=12)
    keys = keys_of(tmp_path, "unlabeled")
    direct = [read_masks(folder, key) for key in keys]
    thresholds: list[float | None] = []
    for k in range(3):
        codes = sorted((int(code) for label, image in direct for code in image[label == k]), reverse=True)
        quota = math.ceil(0.3 * len(codes) - 1e-9)
        thresholds.append(1 - 2.0 ** (-codes[quota - 1] / 1024) if quota else None)
    teacher = tiny_mask_network().eval()
    teacher.load_state_dict(weights_of(tmp_path / "run" / "supervised"))
    index_of = {data.train.key(index): index for index in range(12)}
    kept = 0
    for key, (label, _) in zip(keys, found, strict=True):
        with torch.no_grad():
            logits = teacher(data.train.images([index_of[key]]).float() / 255)
        # Half a code lower: what ties with its threshold must not hang on the last bit of another batch.
        lenient = [None if one is None else one - (1 - one) * 1e-3 for one in thresholds]
        strict = [None if one is None else one + (1 - one) * 1e-3 for one in thresholds]
        most, least = renormalized_by(lenient)(logits).label, renormalized_by(strict)(logits).label
        sure = most == least
        assert torch.equal(label[sure], torch.where(most < 0, 255, most)[sure])
        assert sure.float().mean() > 0.9
        kept += int((label != 255).sum())
    assert kept > 0
    assert (folder / "renormalized" / "manifest.json").is_file()


def test_what_is_kept_by_a_threshold_is_surer_than_it(run_masks: RunMasks, trainings: dict[str, Training]) -> None:
    result = run_masks(rounds={"top_fractions": [0.1], "selection": "threshold"}, loss={"confidence_threshold": 0.42})
    assert {row["top_fraction"] for row in result["rounds"]} == {None}  # none was gone by
    for label, code in read_all(training_of(trainings, "round 1, network a")):
        confidence = 1 - 2.0 ** (-code.double() / 1024)
        assert torch.equal(label != 255, confidence > 0.42)


def test_without_any_usable_label_the_run_stops_and_says_so(run_masks: RunMasks) -> None:
    with pytest.raises(
        DataError, match=r"round 1, network a: no label in 8 .* surer than loss\.confidence_threshold=1"
    ):
        run_masks(rounds={"top_fractions": [1.0], "selection": "threshold"}, loss={"confidence_threshold": 1.0})


def test_shares_of_classes_are_those_of_labeled_pixels(
    run_masks: RunMasks, trainings: dict[str, Training], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given: list[Sequence[float]] = []
    plain = MaskStore.select

    def recorded(self: MaskStore, spec: Any, *, class_shares: Sequence[float]) -> Any:
        given.append(class_shares)
        return plain(self, spec, class_shares=class_shares)

    monkeypatch.setattr(MaskStore, "select", recorded)
    run_masks(rounds={"top_fractions": [0.5], "selection": "class_prior"})
    data = tiny_masks(num_train=12)
    index_of = {data.train.key(index): index for index in range(12)}
    classes = [
        k
        for key in keys_of(tmp_path, "labeled")
        for k in data.train.labels([index_of[key]]).flatten().tolist()
        if k != 255
    ]
    expected = [classes.count(k) / len(classes) for k in range(3)]
    assert len(given) == 2
    assert all(shares == pytest.approx(expected) for shares in given)


class Messages(Silent):
    def __init__(self) -> None:
        self.told: list[str] = []

    def message(self, text: str) -> None:
        self.told.append(text)


def test_a_class_that_no_pixel_is_predicted_as_is_told(run_masks: RunMasks, trainings: dict[str, Training]) -> None:
    data = tiny_masks(num_train=12, class_names=("red", "green", "blue", "gray"))
    observer = Messages()

    class Blind(torch.nn.Module):
        """Never says gray."""

        def __init__(self) -> None:
            super().__init__()
            self.body = tiny_mask_network()

        def forward(self, images: Tensor) -> Tensor:
            logits = self.body(images)
            return torch.cat([logits, logits.amin(dim=1, keepdim=True) - 1], dim=1)

    run_masks(bands=data, models={"a": Blind, "b": Blind}, observer=observer)
    missing = [text for text in observer.told if "predicts no pixel as" in text]
    assert len(missing) == 2
    assert all(text.startswith("round 1, network") for text in missing)
    assert all("gray" in text for text in missing)


def stages_that_differ(folder: Path, changed: str) -> list[str]:
    """Of the runs `run` and `changed`, the stages whose weights are not the same."""
    stages = sorted(path.parent for path in (folder / "run").rglob("last.safetensors"))
    names = [str(stage.relative_to(folder / "run")) for stage in stages]
    return [name for name in names if not equal(weights_of(folder / "run" / name), weights_of(folder / changed / name))]


@pytest.mark.parametrize(
    "change",
    [
        {"crop": {"size": [8, 8], "cutmix": 1.0}},
        {"rounds": {"label_views": "mirrored"}},
        {"rounds": {"label_views": "multiscale"}},
        {"rounds": {"window": [6, 6]}},
    ],
)
def test_what_a_student_or_a_teacher_sees_changes_the_rounds_alone(
    run_masks: RunMasks, tmp_path: Path, change: dict[str, Any]
) -> None:
    plain = {"crop": {"size": [8, 8]}, "rounds": {"top_fractions": [1.0]}}
    run_masks(**plain)
    run_masks(**{key: plain[key] | change.get(key, {}) for key in plain}, name="changed")
    assert stages_that_differ(tmp_path, "changed") == ["rounds/1/a", "rounds/1/b"]


def test_a_window_that_covers_every_image_changes_nothing(run_masks: RunMasks, tmp_path: Path) -> None:
    run_masks(rounds={"top_fractions": [1.0]})
    run_masks(rounds={"top_fractions": [1.0], "window": [13, 14]}, name="changed")
    assert stages_that_differ(tmp_path, "changed") == []
