"""ONNX files: they say what PyTorch says, or they are not written."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import timm
import torch
from torch import Tensor, nn

import dmt
from dmt.config_sections import DataConfig
from dmt.data.catalog import load_dataset
from dmt.data.images import ArrayImages, resize
from dmt.errors import ConfigError, DataError, ExportError
from dmt.export import bundles, export_bundle, export_onnx
from dmt.export.onnx_file import onnx_of, session
from dmt.models.network import Network, Preprocessing


@pytest.fixture(scope="module")
def digits_onnx(digits_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("onnx") / "out"
    agreement = export_onnx(digits_run, folder, license_text="CC-BY-4.0")
    assert agreement.largest < 1e-5
    assert (agreement.changed, agreement.num_images, agreement.any_size) == (0, 8, True)
    return folder


@pytest.fixture(scope="module")
def masks_onnx(masks_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("onnx") / "out"
    images = [masks_run.parent / "data/images"]
    assert export_onnx(masks_run, folder, images=images, ensemble=True).num_images == 6
    return folder


def probabilities(folder: Path, images: Tensor) -> np.ndarray:
    found = session((folder / "model.onnx").read_bytes()).run(None, {"images": images.numpy()})[0]
    return np.asarray(found)


@pytest.mark.parametrize("count", [1, 2, 5, 32])
def test_batches_of_any_size_from_run_over_bundle_to_onnx(
    digits_run: Path, digits_onnx: Path, tmp_path: Path, count: int
) -> None:
    export_bundle(digits_run, tmp_path / "bundle")
    data = load_dataset(DataConfig(name="digits"), task="classification")
    images = data.train.images(range(count))
    wanted = dmt.load(tmp_path / "bundle").predict(list(images))
    found = probabilities(digits_onnx, images.float() / 255)
    assert found.shape == (count, 10)
    assert np.abs(found - wanted.probabilities).max() < 1e-5
    assert (found.argmax(axis=1) == wanted.labels).all()


@pytest.mark.parametrize("size", [(24, 20), (16, 16), (33, 47)])
@pytest.mark.parametrize("count", [1, 3])
def test_masks_of_any_size(masks_run: Path, masks_onnx: Path, size: tuple[int, int], count: int) -> None:
    model = dmt.load(masks_run, ensemble=True)
    file = masks_run.parent / "data/images/0.png"
    image = resize(model.reader.read(file, where="")[None], size)[0]
    found = probabilities(masks_onnx, (image[None].float() / 255).repeat(count, 1, 1, 1))
    (wanted,) = model.predict([image])
    assert found.shape == (count, 3, *size)
    assert np.abs(found - wanted.probabilities).max() < 1e-4
    assert (found[0].argmax(axis=0) == wanted.label).mean() > 0.999


def test_the_file_says_what_it_is_for_and_nothing_of_this_machine(digits_onnx: Path) -> None:
    content = (digits_onnx / "model.onnx").read_bytes()
    model = onnx.load_from_string(content)
    told = {one.key: one.value for one in model.metadata_props}
    assert json.loads(told["class_names"]) == [str(digit) for digit in range(10)]
    assert json.loads(told["input"])["image_size"] == [16, 16]
    assert (told["task"], told["license"]) == ("classification", "CC-BY-4.0")
    assert told["network"] == "round 1, network a"
    assert b"site-packages" not in content
    assert str(Path.home()).encode() not in content
    shape = [one.dim_param for one in model.graph.input[0].type.tensor_type.shape.dim]
    assert (shape[0], shape[2:]) == ("batch", ["height", "width"])
    card = (digits_onnx / "README.md").read_text()
    assert "license: CC-BY-4.0" in card
    assert "`model.onnx` takes `images`" in card


class Flat(nn.Module):
    """Takes images of 8 x 8 alone."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.layer(images.reshape(-1, 64))


def network_of(backbone: nn.Module, **settings: Any) -> Network:
    plain = Preprocessing((0.5,), (0.5,))
    return Network(backbone, plain, num_classes=3, name="tiny", **settings).eval()


def some_images(*sizes: tuple[int, int]) -> list[Tensor]:
    stream = torch.Generator().manual_seed(0)
    return [torch.randint(0, 256, (1, *size), dtype=torch.uint8, generator=stream) for size in sizes]


def test_a_network_for_one_size_keeps_that_size_and_nothing_is_logged(capfd: pytest.CaptureFixture[str]) -> None:
    content, agreement = onnx_of(network_of(Flat()), some_images((8, 8), (8, 8)), {})
    assert capfd.readouterr() == ("", "")
    assert not agreement.any_size
    assert agreement.sizes == ((8, 8),)
    shape = onnx.load_from_string(content).graph.input[0].type.tensor_type.shape.dim
    assert (shape[0].dim_param, shape[2].dim_value) == ("batch", 8)


def test_a_network_that_pads_by_size_is_exported_for_one_size() -> None:
    """With sizes left open the exporter writes one layer's size in the next one's, and does not end."""
    network = timm.create_model("mobilenetv1_100", pretrained=False, pad_type="same", num_classes=3).eval()
    images = [torch.randint(0, 256, (3, 48, 64), dtype=torch.uint8) for _ in range(2)]
    _, agreement = onnx_of(network, images, {})
    assert not agreement.any_size
    assert agreement.sizes == ((48, 64),)


def test_a_file_for_one_size_is_held_against_images_of_that_size() -> None:
    network = timm.create_model("mobilenetv1_100", pretrained=False, pad_type="same", num_classes=3).eval()
    images = [torch.randint(0, 256, (3, *size), dtype=torch.uint8) for size in ((48, 64), (32, 48), (48, 64))]
    _, agreement = onnx_of(network, images, {})
    assert (agreement.num_images, agreement.sizes) == (2, ((48, 64),))


def test_a_failure_of_the_runtime_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing:
        def run(self, *_: object) -> None:
            raise Exception("[ONNXRuntimeError] : 2 : INVALID_ARGUMENT\nmore lines")

    monkeypatch.setattr("dmt.export.onnx_file.session", lambda _: Failing())
    with pytest.raises(ExportError, match=r"ONNX Runtime fails on \(1, 1, 8, 8\): .*INVALID_ARGUMENT\. A bundle"):
        onnx_of(network_of(Flat()), some_images((8, 8)), {})


def test_padding_to_multiples_is_part_of_the_file() -> None:
    backbone = nn.Conv2d(1, 3, 4, stride=4)
    network = network_of(backbone, size_multiple=4)
    _, agreement = onnx_of(network, some_images((9, 10), (8, 8)), {})
    assert agreement.changed == 0
    assert agreement.largest < 1e-5


class Deceitful(nn.Module):
    """Says something else while it is exported."""

    def __init__(self, difference: float) -> None:
        super().__init__()
        self.difference = difference

    def forward(self, images: Tensor) -> Tensor:
        level = images.mean(dim=(1, 2, 3))
        wrong = self.difference if torch.compiler.is_exporting() else 0.0
        return torch.stack([level + wrong, level * 0.5, -level], dim=1)


def test_small_differences_pass_and_large_ones_do_not() -> None:
    images = some_images((8, 8), (8, 8))
    _, agreement = onnx_of(network_of(Deceitful(1e-3)), images, {})
    assert 1e-5 < agreement.largest < 1e-3
    with pytest.raises(ExportError, match=r"on 2 real images it differs by up to 0\.0\d+ in a probability"):
        onnx_of(network_of(Deceitful(0.1)), images, {})


def test_a_changed_label_is_enough_to_fail() -> None:
    class Close(nn.Module):
        """The two best classes are 1e-4 apart, the other way round once exported."""

        def forward(self, images: Tensor) -> Tensor:
            level = images.mean(dim=(1, 2, 3)) * 0
            wrong = 4e-4 if torch.compiler.is_exporting() else 0.0
            return torch.stack([level + 2e-4, level + wrong, level - 9], dim=1)

    with pytest.raises(ExportError, match=r"and in [1-9]\d* labels"):
        onnx_of(network_of(Close()), some_images((8, 8)), {})


def test_ties_are_no_changed_labels() -> None:
    class Tied(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            level = images.mean(dim=(1, 2, 3)) * 0
            wrong = 1e-6 if torch.compiler.is_exporting() else 0.0
            return torch.stack([level, level + wrong, level - 9], dim=1)

    _, agreement = onnx_of(network_of(Tied()), some_images((8, 8)), {})
    assert (agreement.changed, agreement.ties > 0) == (0, True)


def test_nothing_is_written_when_it_fails(digits_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dmt.export.onnx_file.MAX_DIFFERENCE", -1.0)
    with pytest.raises(ExportError, match="cannot be exported to ONNX"):
        export_onnx(digits_run, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("package", ["onnx", "onnxruntime", "onnxscript"])
def test_a_missing_package_names_the_extra(digits_run: Path, tmp_path: Path, monkeypatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=r"pip install 'dmt-ssl\[onnx\]'"):
        export_onnx(digits_run, tmp_path / "out")


def test_images_that_cannot_be_read_are_passed_over(tmp_path: Path) -> None:
    pixels = torch.arange(20)[:, None, None, None].expand(-1, 1, 2, 2).to(torch.uint8).contiguous()

    class Damaged(ArrayImages):
        def images(self, indices: Sequence[int]) -> torch.Tensor:
            if set(indices) & {0, 19}:
                raise DataError("cannot be read")
            return super().images(indices)

    readable = list(bundles._evenly_readable(Damaged(pixels, torch.zeros(20, dtype=torch.int64), "train")))
    places = [int(one[0, 0, 0]) for one in readable]
    assert places[:8] == [3, 6, 9, 12, 15, 18, 1, 4], "from all over the set, and those between them at last"
    assert sorted(places) == list(range(1, 19))


def test_a_bundle_needs_real_images(digits_run: Path, tmp_path: Path) -> None:
    export_bundle(digits_run, tmp_path / "bundle")
    with pytest.raises(ConfigError, match="--images"):
        export_onnx(tmp_path / "bundle", tmp_path / "out")
