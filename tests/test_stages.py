"""What a stage trains on, and what it leaves beside its weights."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from dmt.data.loaders import StepBatches
from dmt.data.own import data_set_from_torch
from dmt.data.parts import Part, UnlabeledPart
from dmt.data.pseudo_labels import WithoutLabels
from dmt.data.views import PlainView, RandomView
from dmt.errors import ConfigError
from dmt.metrics import mean_iou
from dmt.models.weights import read_metadata
from dmt.run import run
from dmt.scores import PixelScores, load_scores
from dmt.train import Training, train
from tiny_runs import (
    TINY_NETWORKS,
    RunMasks,
    bits_of_run,
    differing,
    mask_runner,
    masked_images,
    recorded_trainings,
    tiny_config,
    tiny_mask_network,
    tiny_masks,
    tiny_parts,
)


@pytest.fixture
def run_masks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> RunMasks:
    return mask_runner(monkeypatch, tmp_path)


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> dict[str, Training]:
    return recorded_trainings(monkeypatch)


def test_weights_carry_their_preprocessing_and_class_names(tmp_path: Path) -> None:
    run(tiny_config(method="supervised", supervised={"steps": 2}), tiny_parts(), run_dir=tmp_path)
    for name in ("last", "ema"):
        described = json.loads(read_metadata(tmp_path / "supervised" / f"{name}.safetensors")["dmt"])
        assert described["network"] == "small_cnn"
        assert described["class_names"] == ["0", "1", "2"]
        assert (described["image_size"], described["channels"]) == ([8, 8], 1)
        assert described["value_range"] is None
        assert described["exif_orientation"] is False
        assert described["numbers"] == "levels"
        assert len(described["preprocessing"]["mean"]) == 1
        assert described["palette"] is None


def test_weights_for_masks_carry_the_colors_too(run_masks: RunMasks, tmp_path: Path) -> None:
    palette = ((200, 0, 0), (0, 200, 0), (0, 0, 200))
    run_masks(method="supervised", bands=tiny_masks(palette=palette))
    folder = tmp_path / "run" / "supervised"
    described = json.loads(read_metadata(folder / "last.safetensors")["dmt"])
    assert described["class_names"] == ["red", "green", "blue"]
    assert described["palette"] == [list(color) for color in palette]
    assert not (folder / "ema.safetensors").exists(), "segmentation has no average (spec 1.6)"


def test_falling_fractions_warn(tmp_path: Path) -> None:
    config = tiny_config(rounds={"top_fractions": [1.0, 0.5]}, duration={"steps": 2}, supervised={"steps": 2})
    with pytest.warns(UserWarning, match="top_fractions fall"):
        run(config, tiny_parts(), run_dir=tmp_path)


def test_processes_share_every_batch_without_overlap() -> None:
    data = data_set_from_torch(tiny_parts(), name="stripes", image_size=None)
    unlabeled = UnlabeledPart(data.train, tuple(range(9, 60)), has_truth=True)

    def batch(rank: int, world_size: int) -> list[bytes]:
        batches = StepBatches(
            labeled=Part(data.train, tuple(range(9))),
            num_labeled=4,
            unlabeled=unlabeled,
            pseudo=WithoutLabels(unlabeled, -1, dense=False),
            num_pseudo=6,
            seed=0,
            stage="x",
            rank=rank,
            world_size=world_size,
        )
        return [image.numpy().tobytes() for image in batches[3].images]

    assert sorted(batch(0, 2) + batch(1, 2)) == sorted(batch(0, 1))
    assert len(batch(0, 2)) == len(batch(1, 2)) == 5


def test_dms_runs_and_is_reported(run_masks: RunMasks) -> None:
    result = run_masks(rounds={"top_fractions": [0.5], "dms_share": 0.8}, data={"name": "bands", "num_labeled": 5})
    assert [(row["round"], row["network"], row["folder"]) for row in result["rounds"]] == [
        (0, "a", "supervised"),
        (0, "a", "rounds/0/a"),
        (0, "b", "rounds/0/b"),
        (1, "a", "rounds/1/a"),
        (1, "b", "rounds/1/b"),
    ]
    assert result["supervised"]["mean_iou"] == result["rounds"][0]["mean_iou"]


def test_a_result_for_masks_has_the_figures_of_the_contract(run_masks: RunMasks, tmp_path: Path) -> None:
    result = run_masks(rounds={"top_fractions": [0.4, 1.0]})
    assert result == json.loads((tmp_path / "run" / "result.json").read_text())
    assert (result["task"], result["scheme"], result["num_labeled"], result["num_unlabeled"]) == (
        "segmentation",
        "mutual",
        4,
        8,
    )
    figures = {"mean_iou", "pixel_accuracy", "num_classes_seen"}
    assert set(result["supervised"]) == {"network", "per_class_iou"} | figures
    assert set(result["final"]) == {"per_class_iou"} | figures
    assert set(result["ensemble"]) == figures
    assert set(result["final"]["per_class_iou"]) == {"red", "green", "blue"}
    assert set(result["last_round"]) == set(result["best_round"]) == {"round", "network", "mean_iou"}
    data = tiny_masks(num_train=12)
    unlabeled = [index for index in range(12) if data.train.key(index) not in labeled_keys(tmp_path / "run")]
    sizes = [math.prod(data.train.size(index)) for index in unlabeled]
    for row in result["rounds"][2:]:
        assert sum(row["predicted_per_class"]) == sum(sizes)
        assert sum(row["pseudo_labels_per_class"]) == row["num_pseudo_labels"]
        quotas = [math.ceil(row["top_fraction"] * count - 1e-9) for count in row["predicted_per_class"]]
        assert all(kept >= quota for kept, quota in zip(row["pseudo_labels_per_class"], quotas, strict=True))
        assert {"pseudo_label_accuracy", "pseudo_label_mean_iou", "thresholds_per_class"} <= set(row)
    assert result["rounds"][-1]["num_pseudo_labels"] == sum(sizes)
    assert [row["top_fraction"] for row in result["rounds"]] == [None, None, 0.4, 0.4, 1.0, 1.0]


def labeled_keys(folder: Path) -> list[str]:
    return (folder / "splits" / "labeled.txt").read_text().split()


def test_the_ensemble_is_the_mean_of_the_last_rounds_probabilities(run_masks: RunMasks, tmp_path: Path) -> None:
    result = run_masks()
    networks = []
    for name in "ab":
        network = tiny_mask_network().eval()
        network.load_state_dict(load_file(tmp_path / "run" / "rounds" / "1" / name / "last.safetensors"))
        networks.append(network)
    test = tiny_masks(num_train=12, num_test=3).test
    assert test is not None
    matrices = torch.zeros(3, 3, 3, dtype=torch.int64)
    for number in range(3):
        with torch.no_grad():
            image = test.images([number]).float() / 255
            answer = ((networks[0](image).softmax(1) + networks[1](image).softmax(1)) / 2).argmax(dim=1)
        truth = test.labels([number])
        for guess, target in zip(answer.flatten().tolist(), truth.flatten().tolist(), strict=True):
            if target != 255:
                matrices[number, target, guess] += 1
    stored = load_scores(tmp_path / "run" / "rounds" / "1" / "ensemble" / "scores.safetensors")
    assert list(stored) == ["test"]
    assert isinstance(stored["test"], PixelScores)
    for name, value in vars(PixelScores.of(matrices)).items():
        assert torch.equal(getattr(stored["test"], name), value), name
    assert result["ensemble"]["mean_iou"] == pytest.approx(float(mean_iou(matrices.sum(dim=0))), abs=6e-5)


def test_the_pair_of_a_classification_has_an_ensemble_and_a_chain_has_none(tmp_path: Path) -> None:
    config = tiny_config(duration={"steps": 2}, supervised={"steps": 2}, rounds={"top_fractions": [1.0]})
    for scheme in ("mutual", "chain"):
        result = run(config | {"scheme": scheme}, tiny_parts(), TINY_NETWORKS, run_dir=tmp_path / scheme)
        assert ("ensemble" in result) == (scheme == "mutual")
        assert (tmp_path / scheme / "rounds" / "1" / "ensemble").exists() == (scheme == "mutual")


def test_views_are_those_of_the_config(run_masks: RunMasks, trainings: dict[str, Training]) -> None:
    run_masks(name="plain", crop={"size": [6, 9], "scale": [0.7, 1.2], "pseudo": "plain"})
    batches = trainings["round 1, network a"].batches
    assert batches.labeled_view == RandomView(crop_size=(6, 9), scale=(0.7, 1.2))
    assert batches.pseudo_view == PlainView(crop_size=(6, 9))
    run_masks(name="same", crop={"size": [10, 12]}, augment="no-flip")
    batches = trainings["round 1, network a"].batches
    assert batches.labeled_view == batches.pseudo_view == RandomView(crop_size=(10, 12), flip=0.0)


def test_a_crop_may_be_left_out_where_images_have_one_size(run_masks: RunMasks, trainings: dict[str, Training]) -> None:
    alike = tiny_masks(train=masked_images(12, seed=1, sizes=[(9, 14)]))
    run_masks(bands=alike, crop={"size": None})
    assert trainings["round 1, network a"].batches.labeled_view == RandomView(crop_size=(9, 14))
    with pytest.raises(ConfigError, match=r"crop\.size is not set, and training images differ in size"):
        run_masks(name="mixed", crop={"size": None})


def test_images_are_not_cut_in_classification(trainings: dict[str, Training], tmp_path: Path) -> None:
    run(tiny_config(), tiny_parts(), TINY_NETWORKS, run_dir=tmp_path)
    assert all(one.batches.labeled_view is one.batches.pseudo_view is None for one in trainings.values())


def test_batches_have_the_numbers_and_rates_of_their_kind_of_stage(
    run_masks: RunMasks, trainings: dict[str, Training]
) -> None:
    run_masks(batch={"size": 6, "labeled": 2, "supervised": 3}, optimizer={"lr": 0.01, "supervised_lr": 0.02})
    start, later = trainings["round 0, network b"], trainings["round 1, network b"]
    assert (start.batches.num_labeled, start.batches.pseudo, start.lr) == (3, None, 0.02)
    assert (later.batches.num_labeled, later.batches.num_pseudo, later.lr) == (2, 4, 0.01)
    assert start.schedule(0.25) == pytest.approx(0.75**0.9)
    assert (start.trainees["b"].ema, list(later.trainees)) == (None, ["b"])


def test_every_stage_of_every_fold_has_streams_of_its_own(run_masks: RunMasks, trainings: dict[str, Training]) -> None:
    run_masks(seed=3, validation={"source": "cross_validation"})
    assert len(trainings) == 3 * 4
    assert {training.batches.seed for training in trainings.values()} == {3}
    for streams in (
        [training.batches.stage for training in trainings.values()],
        [training.stream for training in trainings.values()],
    ):
        assert len(set(streams)) == len(trainings)


def test_a_run_that_stopped_between_labels_and_training_goes_on(
    run_masks: RunMasks, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run_masks(name="whole")

    def interrupted(training: Training, **arguments: Any) -> None:
        if training.title == "round 1, network a":
            raise KeyboardInterrupt
        train(training, **arguments)

    with monkeypatch.context() as patch:
        patch.setattr("dmt.stages.train", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_masks(name="stopped")
    folder = tmp_path / "stopped"
    assert (folder / "rounds/1/a/pseudo_labels/manifest.json").is_file()
    run_masks(name="stopped")
    # And once more, without the last stage's marker and with a store that is not whole.
    for name in ("result.json", "rounds/1/b/DONE", "rounds/1/b/pseudo_labels/manifest.json"):
        (folder / name).unlink()
    run_masks(name="stopped")
    assert differing(bits_of_run(tmp_path / "whole"), bits_of_run(folder)) == []


def test_a_run_does_not_hang_on_its_workers(run_masks: RunMasks, tmp_path: Path) -> None:
    for workers in (0, 2):
        run_masks(name=str(workers), workers=workers, scheme="chain")
    assert differing(bits_of_run(tmp_path / "0"), bits_of_run(tmp_path / "2")) == []


def test_images_that_all_differ_in_size_are_used_as_they_are(run_masks: RunMasks, tmp_path: Path) -> None:
    """Also where there are fewer labeled ones than a batch takes."""
    sizes = [(8 + number, 9 + 2 * number) for number in range(6)]
    data = tiny_masks(train=masked_images(6, seed=0, sizes=sizes), num_test=2)
    config = {"data": {"name": "bands", "num_labeled": 2}, "batch": {"size": 4, "labeled": 3}, "crop": {"size": [8, 9]}}
    last = run_masks(bands=data, **config)["rounds"][-1]
    labeled = [sizes[int(key[-3:])] for key in labeled_keys(tmp_path / "run")]
    areas = [sum(height * width for height, width in some) for some in (sizes, labeled)]
    assert sum(last["predicted_per_class"]) == areas[0] - areas[1]
