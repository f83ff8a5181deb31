"""Settings for images and labels of every size: a config that can be used, and what it says of itself."""

import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from dmt.config_files import load_config
from dmt.errors import CheckpointError, ConfigError
from dmt.init import backbones
from dmt.init.backbones import Backbone, cached, from_file, named
from dmt.init.facts import Facts
from dmt.init.recipe import default_backbone, recipe
from dmt.models.weights import METADATA_KEY
from dmt.schedules import steps_of_epochs, supervised_epochs


def facts(task: str, **changes: Any) -> Facts:
    values: dict[str, Any] = {
        "data": {"name": "folder", "root": "x"},
        "class_names": ("a", "b", "c"),
        "num_labeled": 30,
        "num_unlabeled": 300,
        "num_validation": 0,
        "num_test": 0,
        "size": (360, 480),
        "num_sizes": 1,
        "channels": 3,
        "fewest_labels": 10,
        "told": (),
    }
    return Facts(**values | changes)


PRETRAINED = {
    "classification": Backbone(name="timm:resnet18", weights="pretrained", why="of a test"),
    "segmentation": Backbone(name="deeplab:timm:resnet18", weights="pretrained", why="of a test"),
}


@pytest.mark.parametrize("task", ["classification", "segmentation"])
@pytest.mark.parametrize("has_gpu", [False, True])
@pytest.mark.parametrize("is_pretrained", [False, True])
def test_every_recipe_is_a_config_whose_supervised_steps_are_what_it_says(
    task: str, has_gpu: bool, is_pretrained: bool
) -> None:
    for labeled, unlabeled, size in itertools.product(
        (2, 7, 46, 5000), (0, 1, 9, 100_000), ((8, 8), (97, 33), (3000, 4000))
    ):
        known = facts(task, num_labeled=labeled, num_unlabeled=unlabeled, size=size, fewest_labels=labeled // 3)
        backbone = PRETRAINED[task] if is_pretrained else default_backbone(task, known, has_gpu=has_gpu)
        entries = recipe(task, known, backbone, has_gpu=has_gpu, num_cpus=4)
        config = load_config({"task": task, **{entry.key: entry.value for entry in entries}})
        oracle = config.supervised.oracle_epochs
        assert oracle is not None
        epochs = supervised_epochs(oracle, num_images=labeled + unlabeled, num_labeled=labeled)
        batch = config.batch.supervised or config.batch.size
        (comment,) = (entry.comment for entry in entries if entry.key == "supervised")
        told = int(re.search(r"about ([\d,]+) steps", comment)[1].replace(",", ""))  # type: ignore[index]
        assert told == steps_of_epochs(epochs, num_images=labeled, batch_size=batch)
        assert 1 <= told <= 5000
        if task == "segmentation":
            assert config.crop.size is not None
            limit = config.data.image_size or size
            assert all(side <= max(whole, 32) for side, whole in zip(config.crop.size, limit, strict=True))


def test_camvid_gets_the_settings_that_were_measured_on_it() -> None:
    mobilenet = Backbone(
        name="deeplab:timm:mobilenetv1_100", weights="x", options={"pad_type": "same", "bn_eps": 1.0e-3}, why="."
    )
    known = facts("segmentation", num_labeled=46, num_unlabeled=321)
    entries = recipe("segmentation", known, mobilenet, has_gpu=False, num_cpus=2)
    found = load_config({"task": "segmentation", **{entry.key: entry.value for entry in entries}})
    preset = load_config("camvid-46")
    for section in ("rounds", "loss", "optimizer", "batch", "crop", "augment", "duration"):
        assert getattr(found, section) == getattr(preset, section), section
    assert found.data.image_size == preset.data.image_size
    assert [found.networks.a.options["output_stride"], found.networks.b.options["output_stride"]] == [32, 32]


@pytest.mark.parametrize(("fewest", "preset"), [(99, "fashion-mnist-100"), (100, "fashion-mnist-1000")])
def test_with_a_hundred_labels_a_class_one_long_round_takes_the_steps_of_five(fewest: int, preset: str) -> None:
    known = facts("classification", num_labeled=3 * fewest, num_unlabeled=5000, size=(28, 28), fewest_labels=fewest)
    backbone = default_backbone("classification", known, has_gpu=False)
    entries = recipe("classification", known, backbone, has_gpu=False, num_cpus=2)
    found = load_config({"task": "classification", **{entry.key: entry.value for entry in entries}})
    assert found.rounds.top_fractions == load_config(preset).rounds.top_fractions
    assert found.supervised.oracle_epochs is not None
    assert found.duration.steps is not None
    epochs = supervised_epochs(found.supervised.oracle_epochs, num_images=3 * fewest + 5000, num_labeled=3 * fewest)
    supervised = steps_of_epochs(epochs, num_images=3 * fewest, batch_size=found.batch.supervised or found.batch.size)
    assert found.duration.steps * len(found.rounds.top_fractions) == pytest.approx(2 * supervised, rel=0.05)


def test_masks_and_random_weights_get_the_settings_that_were_measured_on_scenes() -> None:
    known = facts("segmentation", num_labeled=24, num_unlabeled=576, size=(64, 64))
    backbone = named("small_unet", task="segmentation")
    entries = recipe("segmentation", known, backbone, has_gpu=False, num_cpus=2)
    found = load_config({"task": "segmentation", **{entry.key: entry.value for entry in entries}})
    preset = load_config("scenes-24")
    for section in ("rounds", "loss", "optimizer", "batch", "duration"):
        assert getattr(found, section) == getattr(preset, section), section
    assert found.crop.size == [64, 64]  # all of the image, as the preset has it
    assert found.crop.scale == preset.crop.scale


@pytest.mark.parametrize("task", ["classification", "segmentation"])
def test_depthwise_networks_stay_out_of_bf16_on_a_cpu(task: str) -> None:
    name = ("deeplab:" if task == "segmentation" else "") + "timm:mobilenetv2_100"
    depthwise = Backbone(name=name, weights="pretrained", why="of a test")

    def precision(backbone: Backbone, *, has_gpu: bool) -> list[object]:
        entries = recipe(task, facts(task), backbone, has_gpu=has_gpu, num_cpus=2)
        return [entry.value for entry in entries if entry.key == "precision"]

    assert precision(depthwise, has_gpu=False) == ["fp32"]
    assert precision(depthwise, has_gpu=True) == []
    # ConvNeXt's filters see one channel each, too, but it is faster in bf16 (benchmarks/precision.py).
    convnext = Backbone(name=name.replace("mobilenetv2_100", "convnext_tiny"), weights="pretrained", why="of a test")
    for other in (PRETRAINED[task], convnext):
        assert precision(other, has_gpu=False) == []
    assert precision(default_backbone(task, facts(task), has_gpu=False), has_gpu=False) == []


def test_few_labels_are_all_learned_from_and_many_let_some_choose() -> None:
    def source(task: str = "classification", **changes: Any) -> str | None:
        known = facts(task, **changes)
        backbone = default_backbone(task, known, has_gpu=False)
        entries = recipe(task, known, backbone, has_gpu=False, num_cpus=1)
        return load_config({"task": task, **{entry.key: entry.value for entry in entries}}).validation.source

    assert source(fewest_labels=9, num_test=1) == "none"
    assert source(fewest_labels=10) == "cut"
    assert source(num_validation=5) == "given"
    assert source("segmentation", num_labeled=20) == "cut"
    # Where nothing else would tell whether unlabeled images help, and halves can be learned from.
    assert source(fewest_labels=9) == source(fewest_labels=2) == "cross_validation"
    assert source(fewest_labels=1) == source(fewest_labels=9, num_unlabeled=0) == "none"
    assert source("segmentation", num_labeled=4) == source("segmentation", num_labeled=19) == "cross_validation"
    assert source("segmentation", num_labeled=3) == source("segmentation", num_labeled=19, num_test=1) == "none"


@pytest.mark.parametrize(
    ("size", "expected"),
    [((8, 8), [16, 16]), ((8, 20), [16, 40]), ((5, 16), [20, 64]), ((16, 16), [16, 16]), ((28, 40), [28, 40])],
)
def test_tiny_images_are_enlarged(size: tuple[int, int], expected: list[int]) -> None:
    known = facts("classification", size=size)
    backbone = default_backbone("classification", known, has_gpu=False)
    entries = recipe("classification", known, backbone, has_gpu=False, num_cpus=1)
    (data,) = (entry for entry in entries if entry.key == "data")
    assert data.value["image_size"] == expected
    assert ("Enlarged" in data.comment) == (min(size) < 16)


def weights_of(library: str, name: str, path: Path, *, drop: int = 0, steps: int = 5) -> Path:
    state = {key: tensor.new_zeros(tensor.shape) for key, tensor in _state(library, name).items()}
    state = {key: tensor + (steps if key.endswith("num_batches_tracked") else 0) for key, tensor in state.items()}
    kept = list(state)[: len(state) - drop]
    save_file({key: state[key].contiguous() for key in kept}, path)
    return path


def _state(library: str, name: str) -> dict[str, torch.Tensor]:
    if library == "timm":
        import timm

        return dict(timm.create_model(name).state_dict())
    from torchvision import models

    return dict(models.get_model(name, weights=None).state_dict())


@pytest.mark.parametrize(
    ("library", "name", "file", "drop"),
    [
        ("timm", "mobilenetv1_100", "mobilenetv1_100_imagenet.safetensors", 4),
        ("timm", "resnet18", "backbone.safetensors", 2),
        ("torchvision", "squeezenet1_0", "squeezenet1_0.safetensors", 0),
        ("torchvision", "mobilenet_v2", "mine.safetensors", 0),
    ],
)
def test_the_network_of_a_file_is_told_by_its_tensors(
    library: str, name: str, file: str, drop: int, tmp_path: Path
) -> None:
    path = weights_of(library, name, tmp_path / file, drop=drop)
    found = from_file(path, task="classification", network=None)
    assert (found.name, found.weights, found.options) == (f"{library}:{name}", str(path), {})
    assert from_file(path, task="segmentation", network=None).name == f"deeplab:{library}:{name}"


def test_a_file_from_tensorflow_is_told_by_its_normalization(tmp_path: Path) -> None:
    path = weights_of("timm", "mobilenetv1_100", tmp_path / "x.safetensors", steps=0)
    assert from_file(path, task="classification", network=None).options == {"pad_type": "same", "bn_eps": 1.0e-3}


def test_a_file_that_fits_nothing_and_one_that_is_none(tmp_path: Path) -> None:
    save_file({"x": torch.zeros(3)}, tmp_path / "resnet18.safetensors")
    with pytest.raises(CheckpointError, match="fits none of the networks that were tried"):
        from_file(tmp_path / "resnet18.safetensors", task="classification", network=None)
    (tmp_path / "y.safetensors").write_bytes(b"no")
    with pytest.raises(CheckpointError, match="cannot be read"):
        from_file(tmp_path / "y.safetensors", task="classification", network=None)
    with pytest.raises(CheckpointError, match=r"may be a \.safetensors file"):
        from_file(tmp_path / "y.pth", task="classification", network=None)


@pytest.mark.parametrize(
    ("network", "task", "name", "knows_photos"),
    [
        ("small_cnn", "classification", "small_cnn", False),
        ("wrn_28_2", "classification", "wrn_28_2", False),
        ("small_unet", "segmentation", "small_unet", False),
        ("timm:resnet18", "classification", "timm:resnet18", True),
        ("timm:resnet18", "segmentation", "deeplab:timm:resnet18", True),
        ("smp:unet/resnet18", "segmentation", "smp:unet/resnet18", True),
    ],
)
def test_a_file_that_this_program_wrote(tmp_path: Path, network: str, task: str, name: str, knows_photos: bool) -> None:
    """Small networks have seen no photos, whatever they have learned: their images keep their size."""
    path = tmp_path / "w.safetensors"
    save_file({"x": torch.zeros(3)}, path, metadata={METADATA_KEY: json.dumps({"network": network})})
    found = from_file(path, task=task, network=None)
    assert (found.name, found.weights, found.knows_photos) == (name, str(path), knows_photos)
    if task == "classification":
        entries = {
            entry.key: entry.value
            for entry in recipe(task, facts(task, size=(24, 24)), found, has_gpu=False, num_cpus=2)
        }
        assert (entries["data"]["image_size"] == [24, 24]) == (not knows_photos)


def test_a_file_of_a_named_network(tmp_path: Path) -> None:
    save_file({"x": torch.zeros(3)}, tmp_path / "x.safetensors")
    found = from_file(tmp_path / "x.safetensors", task="classification", network="timm:resnet18")
    assert found.name == "timm:resnet18"


@pytest.fixture
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(backbones.torch.hub, "get_dir", lambda: str(tmp_path / "torch"))
    return tmp_path


def hold(caches: Path, *names: str) -> None:
    for name in names:
        path = caches / "hub" / f"models--timm--{name}" / "snapshots" / "abc" / "model.safetensors"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"")


def test_an_empty_cache_holds_nothing(caches: Path) -> None:
    assert cached("classification") is None
    assert cached("segmentation") is None


def test_the_best_of_the_cache_is_taken(caches: Path) -> None:
    hold(caches, "vit_tiny_patch16_224.augreg_in21k", "resnet50.a1_in1k", "resnet18.a1_in1k", "no_such_model.x")
    (caches / "hub" / "models--timm--mobilenetv1_100.x").mkdir()  # a download that never came to its end
    for task, prefix in (("classification", ""), ("segmentation", "deeplab:")):
        found = cached(task)  # type: ignore[arg-type]
        assert found is not None
        assert (found.name, found.weights) == (f"{prefix}timm:resnet18.a1_in1k", "pretrained")


def test_what_cannot_carry_masks_is_passed_over(caches: Path) -> None:
    hold(caches, "vit_tiny_patch16_224.augreg_in21k")
    found = cached("classification")
    assert found is not None
    assert found.name == "timm:vit_tiny_patch16_224.augreg_in21k"
    assert cached("segmentation") is None


def test_torchvisions_cache_counts_too(caches: Path) -> None:
    from torchvision.models import ResNet18_Weights

    file = caches / "torch" / "checkpoints" / Path(ResNet18_Weights.DEFAULT.url).name
    file.parent.mkdir(parents=True)
    file.write_bytes(b"")
    found = cached("classification")
    assert found is not None
    assert (found.name, found.weights) == ("torchvision:resnet18", "pretrained")
    assert named("torchvision:resnet18", task="classification").weights == "pretrained"
    assert named("timm:resnet18", task="classification").weights is None
    with pytest.raises(ConfigError, match="predicts one class an image"):
        named("timm:resnet18", task="segmentation")
    with pytest.raises(ConfigError, match=r"^--network: there is no network 'foo'"):
        named("foo", task="classification")
