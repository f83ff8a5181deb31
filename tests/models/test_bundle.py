"""Bundles: what goes in comes out to the bit, and nothing else is let in."""

import errno
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from dmt.errors import CheckpointError, ConfigError, DMTError, ExportError
from dmt.files import sha256, write_atomic
from dmt.models.bundle import Bundle, is_bundle, read_bundle, write_bundle
from dmt.models.description import Description, InputDescription, NetworkDescription, PreprocessingDescription
from dmt.models.network import Network, Preprocessing
from dmt.models.registry import build_network
from dmt.models.weights import save_weights, state_of


def network_of(seed: int, *, name: str = "small_cnn") -> Network:
    torch.manual_seed(seed)
    built = build_network(name, num_classes=3, channels=1, mean=(0.4,), std=(0.3,), task="classification")
    for buffer in built.backbone.buffers():  # as training leaves them, and not as they begin
        buffer.add_(torch.rand(buffer.shape).to(buffer.dtype))
    return built.eval()


def described(path: Path, network: Network, **changes: Any) -> Bundle:
    """A bundle of one network whose weights are at `path`."""
    save_weights(network, path)
    preprocessing = network.preprocessing
    one = NetworkDescription(
        what="round 1, network a",
        label="a",
        name=network.name,
        preprocessing=PreprocessingDescription(mean=preprocessing.mean, std=preprocessing.std),
        weights="a.safetensors",
        sha256=sha256(path),
    )
    values: dict[str, Any] = {
        "written_by": "dmt",
        "task": "classification",
        "class_names": ("cat", "d\N{LATIN SMALL LETTER O WITH DIAERESIS}g", "x | y"),
        "input": InputDescription(channels=1, image_size=(8, 8)),
        "networks": {"a": one},
        "picked": "a",
    }
    return Bundle(source=path.parent, description=Description(**values | changes), weights={"a": path})


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A whole bundle of a small network."""
    (tmp_path / "made").mkdir()
    write_bundle(tmp_path / "bundle", described(tmp_path / "made/w.safetensors", network_of(0)), card="card")
    return tmp_path / "bundle"


def change(folder: Path, mend: Callable[[dict[str, Any]], object]) -> None:
    values = json.loads((folder / "model.json").read_text())
    mend(values)
    (folder / "model.json").write_text(json.dumps(values))


def test_what_goes_in_comes_out_to_the_bit(bundle: Path) -> None:
    found, wanted = read_bundle(bundle).network("a"), network_of(0)
    assert state_of(found).keys() == state_of(wanted).keys()
    assert all(torch.equal(tensor, state_of(wanted)[name]) for name, tensor in state_of(found).items())
    images = torch.rand(2, 1, 8, 8)
    with torch.inference_mode():
        assert torch.equal(found(images), wanted(images))
    assert not found.training


def test_the_description_comes_back_whole(bundle: Path, tmp_path: Path) -> None:
    wanted = described(tmp_path / "made/w.safetensors", network_of(0)).description
    assert read_bundle(bundle).description == wanted
    assert sorted(path.name for path in bundle.iterdir()) == ["README.md", "a.safetensors", "model.json"]


def test_reading_draws_nothing_from_the_global_generator(bundle: Path) -> None:
    before = torch.random.get_rng_state()
    read_bundle(bundle).network("a")
    assert torch.equal(before, torch.random.get_rng_state())


def test_the_stored_preprocessing_wins_over_the_librarys(bundle: Path) -> None:
    change(bundle, lambda values: values["networks"]["a"]["preprocessing"].update(mean=[0.9], std=[0.1], scale=2.0))
    assert read_bundle(bundle).network("a").preprocessing == Preprocessing((0.9,), (0.1,), scale=2.0)


def test_a_library_is_asked_for_no_pretrained_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = build_network("timm:resnet10t", num_classes=3, channels=1, mean=(0.4,), std=(0.3,))
    bundle = described(tmp_path / "w.safetensors", network)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("nothing is fetched")

    monkeypatch.setattr("dmt.models.adapters.fetch", refuse)
    monkeypatch.setattr("torch.hub.load_state_dict_from_url", refuse)
    found = bundle.network("a")
    assert all(torch.equal(tensor, state_of(network)[name]) for name, tensor in state_of(found).items())


@pytest.mark.parametrize(
    ("mend", "words"),
    [
        (lambda v: v.update(format=2), "newer version of dmt (format 2"),
        (lambda v: v.update(surprise=1), "surprise"),
        (lambda v: v.pop("class_names"), "class_names"),
        (lambda v: v.update(class_names=["a", "a", "b"]), "a name is there twice"),
        (lambda v: v.update(task="speech"), "task"),
        (lambda v: v.update(picked="b"), "there is no 'b'"),
        (lambda v: v.update(ensemble=["a", "c"]), "there is no 'c'"),
        (lambda v: v.update(networks={}), "networks"),
        (lambda v: v.update(task="segmentation"), "palette: 3 colors"),
        (lambda v: v["input"].update(channels=0), "input.channels"),
        (lambda v: v["input"].update(image_size=[8]), "input.image_size"),
        (lambda v: v["networks"]["a"].update(sha256="abc"), "sha256"),
        (lambda v: v["networks"]["a"].update(options={"x": [1]}), "options"),
        (lambda v: v["networks"]["a"]["preprocessing"].update(std=[0.0]), "std"),
        (lambda v: v["networks"]["a"]["preprocessing"].update(mean=[float("nan")]), "mean"),
    ],
)
def test_a_broken_description_is_refused_in_a_sentence(bundle: Path, mend, words: str) -> None:
    change(bundle, mend)
    with pytest.raises(CheckpointError) as caught:
        read_bundle(bundle)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(bundle / "model.json") in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[1]", b"null", b'"x"', b"\xff\xfe", b"[" * 100_000, pickle.dumps({"format": 1}), b'{"format": true}'],
)
def test_what_is_no_description_is_refused(bundle: Path, content: bytes) -> None:
    (bundle / "model.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"model\.json is no "):
        read_bundle(bundle)


@pytest.mark.parametrize(
    "name",
    ["../w.safetensors", "/etc/w.safetensors", "x/../../w.safetensors", "sub/w.safetensors", "..", "", ".safetensors",
     "C:\\w.safetensors", "a.bin", "a.safetensors\n", "-a.safetensors"],
)  # fmt: skip
def test_weights_cannot_lie_outside_of_the_folder(bundle: Path, name: str) -> None:
    shutil.copy(bundle / "a.safetensors", bundle.parent / "w.safetensors")
    change(bundle, lambda values: values["networks"]["a"].update(weights=name))
    with pytest.raises(CheckpointError, match="plain name of a"):
        read_bundle(bundle)


def test_other_weights_are_refused(bundle: Path) -> None:
    save_weights(network_of(1), bundle / "a.safetensors")
    with pytest.raises(CheckpointError, match="SHA-256 differs"):
        read_bundle(bundle).network("a")


def test_weights_cut_short_or_missing_are_refused(bundle: Path) -> None:
    path = bundle / "a.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=r"a\.safetensors .* SHA-256 differs"):
        read_bundle(bundle).network("a")
    path.unlink()
    with pytest.raises(CheckpointError, match=r"no file .*a\.safetensors"):
        read_bundle(bundle).network("a")


def test_a_pickle_under_the_right_hash_is_not_opened(bundle: Path, tmp_path: Path) -> None:
    class Attack:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "executed",)

    path = bundle / "a.safetensors"
    for content in (pickle.dumps(Attack()), b"", b"\xff" * 8, b"\x02" + b"\0" * 7 + b"{}"):
        path.write_bytes(content)
        change(bundle, lambda values: values["networks"]["a"].update(sha256=sha256(path)))
        with pytest.raises(CheckpointError):
            read_bundle(bundle).network("a")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("mend", "words"),
    [
        (lambda n: n.update(name="smal_cnn"), "there is no network 'smal_cnn'"),
        (lambda n: n.update(name="small_unet"), "small_unet predicts a class for every pixel"),
        (lambda n: n.update(name="wrn_10_1"), "does not fit network 'wrn_10_1'"),
        (lambda n: n.update(options={"pretrained": True}), "cannot be set here"),
        (lambda n: n.update(options={"checkpoint_path": "/etc/passwd"}), "cannot be set here"),
        (lambda n: n.update(name="own network a"), "models={'a': ...}"),
    ],
)
def test_networks_that_cannot_be_built_are_refused_in_a_sentence(bundle: Path, mend, words: str) -> None:
    change(bundle, lambda values: mend(values["networks"]["a"]))
    with pytest.raises(DMTError) as caught:
        read_bundle(bundle).network("a")
    assert isinstance(caught.value, ConfigError | CheckpointError)
    assert words in str(caught.value)


def test_an_own_network_is_filled_when_it_is_brought_along(tmp_path: Path) -> None:
    def make() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))

    plain = Preprocessing((0.0,), (1.0,))
    network = Network(make(), plain, num_classes=3, name="own network a")
    bundle = described(tmp_path / "w.safetensors", network)
    images = torch.rand(2, 1, 8, 8)
    for models in ({"a": make}, {"a": make()}):
        assert torch.equal(bundle.network("a", models)(images), network(images))


def test_a_folder_with_other_files_is_left_alone(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/photo.jpg").write_text("mine")
    with pytest.raises(ExportError, match="Name a new or empty folder"):
        write_bundle(tmp_path / "mine", read_bundle(bundle), card="")
    with pytest.raises(ConfigError, match="is no folder"):
        write_bundle(tmp_path / "mine/photo.jpg", read_bundle(bundle), card="")
    assert (tmp_path / "mine/photo.jpg").read_text() == "mine"
    assert len(list((tmp_path / "mine").iterdir())) == 1


@pytest.mark.parametrize(
    "files",
    [
        {"model.json": '{"class_name": "Sequential", "config": {}}', "README.md": "mine"},  # as Keras writes them
        {"model.onnx": "some network", "README.md": "mine"},
        {"model.json": "BUNDLE", "notes.txt": "mine"},
        {"model.json": "BUNDLE", "estimator.json": "{}"},
    ],
)
def test_a_name_alone_makes_no_folder_ours(bundle: Path, tmp_path: Path, files: dict[str, str]) -> None:
    (tmp_path / "mine").mkdir()
    for name, text in files.items():
        content = (bundle / "model.json").read_text() if text == "BUNDLE" else text
        (tmp_path / "mine" / name).write_text(content)
    before = {path.name: path.read_bytes() for path in (tmp_path / "mine").iterdir()}
    with pytest.raises(ExportError, match="holds files that are no export's"):
        write_bundle(tmp_path / "mine", read_bundle(bundle), card="")
    assert {path.name: path.read_bytes() for path in (tmp_path / "mine").iterdir()} == before


def test_folders_in_a_bundle_are_in_nobodys_way(bundle: Path) -> None:
    (bundle / "export").mkdir()
    write_bundle(bundle, read_bundle(bundle), card="")


def test_a_bundle_may_be_written_over_an_earlier_one_and_over_itself(bundle: Path, tmp_path: Path) -> None:
    same = described(tmp_path / "made/v.safetensors", network_of(0))
    one = same.description.networks["a"]
    renamed = same.description.model_copy(
        update={"networks": {"a": one.model_copy(update={"weights": "b.safetensors"})}}
    )
    write_bundle(bundle, Bundle(source=same.source, description=renamed, weights=same.weights), card="")
    assert not (bundle / "a.safetensors").exists()
    write_bundle(bundle, read_bundle(bundle), card="")
    images = torch.rand(2, 1, 8, 8)
    assert torch.equal(read_bundle(bundle).network("a")(images), network_of(0)(images))


@pytest.mark.parametrize("is_anew", [True, False])
@pytest.mark.parametrize("written", range(3))
def test_an_export_that_was_stopped_starts_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int, is_anew: bool
) -> None:
    """After so many files, of weights, description and card: an earlier bundle is still whole."""
    bundle, folder = described(tmp_path / "w.safetensors", network_of(0)), tmp_path / "bundle"
    if not is_anew:
        write_bundle(folder, bundle, card="")
    left = written

    def write(path: Path, fill: Callable[[Path], object]) -> None:
        nonlocal left
        if not left:
            raise OSError(errno.ENOSPC, "No space left on device")
        left -= 1
        write_atomic(path, fill)

    with monkeypatch.context() as patch:
        for module in ("dmt.models.bundle", "dmt.files"):
            patch.setattr(f"{module}.write_atomic", write)
        with pytest.raises(OSError, match="No space"):
            write_bundle(folder, bundle, card="card")
    assert is_bundle(folder) == (written == 2 or not is_anew)
    if not is_anew:
        read_bundle(folder).network("a")
    write_bundle(folder, bundle, card="card")
    read_bundle(folder).network("a")
    assert (folder / "README.md").read_text() == "card"


def test_another_model_is_not_written_over(bundle: Path, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in bundle.iterdir()}
    with pytest.raises(ExportError, match="holds an export of another model"):
        write_bundle(bundle, described(tmp_path / "made/v.safetensors", network_of(1)), card="")
    assert {path.name: path.read_bytes() for path in bundle.iterdir()} == before


def test_weights_that_change_while_they_are_copied_make_no_bundle(tmp_path: Path) -> None:
    bundle = described(tmp_path / "w.safetensors", network_of(0))
    save_weights(network_of(1), tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match="changed while it was exported"):
        write_bundle(tmp_path / "bundle", bundle, card="")
    assert not (tmp_path / "bundle/model.json").exists()


def test_no_folder_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is no bundle"):
        read_bundle(tmp_path / "nothing")
