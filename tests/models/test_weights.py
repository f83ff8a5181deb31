import json
import warnings
from dataclasses import asdict

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from dmt.errors import CheckpointError
from dmt.models.network import Network, Preprocessing
from dmt.models.weights import (
    METADATA_KEY,
    LoadReport,
    independent,
    load_weights,
    read_metadata,
    save_weights,
    state_of,
    warn_of_preprocessing,
    warn_of_random,
)


def make_network(classes=3, hidden=4, seed=0):
    torch.manual_seed(seed)
    backbone = nn.Sequential(nn.Conv2d(1, hidden, 3), nn.BatchNorm2d(hidden), nn.Flatten(), nn.Linear(hidden, classes))
    return Network(backbone, Preprocessing(mean=(0.0,), std=(1.0,)), num_classes=classes, name="tiny")


def snapshot(network):
    return {name: tensor.clone() for name, tensor in state_of(network).items()}


def assert_same(one, other):
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_saved_weights_come_back_exactly_with_their_metadata(tmp_path):
    source, target = make_network(seed=1), make_network(seed=2)
    source(torch.rand(2, 1, 3, 3))
    path = tmp_path / "new" / "weights.safetensors"
    save_weights(source, path, {"classes": '["a", "b"]'})
    report = load_weights(target, path, allow_missing=False)
    assert_same(state_of(source), state_of(target))
    assert report.loaded == tuple(state_of(target))
    assert report.missing == report.skipped == ()
    assert read_metadata(path) == {"classes": '["a", "b"]'}
    assert [file.name for file in path.parent.iterdir()] == ["weights.safetensors"]


def test_files_use_the_backbones_own_names(tmp_path):
    network = make_network()
    save_weights(network, tmp_path / "w.safetensors")
    network.backbone.load_state_dict(load_file(tmp_path / "w.safetensors"))


def test_half_precision_files_fill_full_precision_networks(tmp_path):
    network = make_network()
    half = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state_of(network).items()}
    save_file(half, tmp_path / "w.safetensors")
    load_weights(network, tmp_path / "w.safetensors", allow_missing=False)
    assert network.backbone[0].weight.dtype == torch.float32
    assert torch.equal(network.backbone[0].weight, half["0.weight"].float())


def test_memory_format_survives_loading(tmp_path):
    network = make_network().to(memory_format=torch.channels_last)
    strides = [tensor.stride() for tensor in state_of(network).values()]
    save_weights(network, tmp_path / "w.safetensors")
    load_weights(network, tmp_path / "w.safetensors", allow_missing=False)
    assert [tensor.stride() for tensor in state_of(network).values()] == strides


@pytest.mark.parametrize("name", ["w.pth", "w.bin", "w"])
def test_other_kinds_of_file_are_never_opened(tmp_path, name):
    (tmp_path / name).write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    with pytest.raises(CheckpointError, match=r"networks\.b\.weights is .* 'pretrained' or a \.safetensors file"):
        load_weights(make_network(), tmp_path / name, allow_missing=False, key="networks.b")


def test_missing_and_broken_files_are_named(tmp_path):
    path = tmp_path / "w.safetensors"
    with pytest.raises(CheckpointError, match=f"there is no file {path}"):
        load_weights(make_network(), path, allow_missing=False)
    save_weights(make_network(), path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(CheckpointError, match=f"{path} cannot be read as .safetensors"):
        load_weights(make_network(), path, allow_missing=True)
    path.write_bytes(b"no such format")
    with pytest.raises(CheckpointError, match=f"{path} cannot be read"):
        read_metadata(path)


def test_strict_loading_names_a_few_keys_and_how_many_there_are(tmp_path):
    network = make_network()
    before = snapshot(network)
    state = snapshot(network)
    for name in list(state)[:5]:
        state[f"module.{name}"] = state.pop(name)
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError) as caught:
        load_weights(network, tmp_path / "w.safetensors", allow_missing=False, key="networks.b")
    message = str(caught.value)
    assert "it lacks 0.weight, 0.bias, 1.weight, ... (5 in all)" in message
    assert message.count("module.") == 3
    assert "networks.b.allow_missing=true" in message
    assert "w.safetensors" in message
    assert_same(state_of(network), before)


def test_a_partial_file_fills_what_it_can(tmp_path):
    network = make_network()
    before, other = snapshot(network), snapshot(make_network(seed=5))
    del other["0.weight"]
    save_file(other | {"extra": torch.zeros(1)}, tmp_path / "w.safetensors")
    report = load_weights(network, tmp_path / "w.safetensors", allow_missing=True)
    assert report.missing == ("0.weight",)
    assert report.skipped == ("extra",)
    assert_same(state_of(network), other | {"0.weight": before["0.weight"]})


def test_step_counts_may_be_lacking_as_in_old_files(tmp_path):
    network = make_network()
    other = snapshot(make_network(seed=5))
    del other["1.num_batches_tracked"]
    save_file(other, tmp_path / "w.safetensors")
    report = load_weights(network, tmp_path / "w.safetensors", allow_missing=False)
    assert report.missing == ("1.num_batches_tracked",)
    assert all(torch.equal(state_of(network)[name], tensor) for name, tensor in other.items())
    del other["1.running_mean"]
    save_file(other, tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match=r"it lacks 1\.running_mean\. If"):
        load_weights(network, tmp_path / "w.safetensors", allow_missing=False)


class InLibrary(nn.Module):
    """A library's model with a head of ours."""

    library_prefix = "encoder."

    def __init__(self, head="decoder"):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(2, 2))
        self.add_module(head, nn.Linear(2, 3))


def test_keys_of_a_library_s_model_inside_are_its_own(tmp_path):
    source, target = (
        Network(InLibrary(), Preprocessing(mean=(0.0,), std=(1.0,)), num_classes=3, name="joined") for _ in range(2)
    )
    assert set(state_of(source)) == {"0.weight", "0.bias", "decoder.weight", "decoder.bias"}
    save_weights(source, tmp_path / "w.safetensors")
    load_weights(target, tmp_path / "w.safetensors", allow_missing=False)
    assert_same(state_of(source), state_of(target))
    source.backbone.encoder.load_state_dict(load_file(tmp_path / "w.safetensors"), strict=False)
    clash = Network(InLibrary(head="0"), Preprocessing(mean=(0.0,), std=(1.0,)), num_classes=3, name="clash")
    with pytest.raises(AssertionError, match="two tensors of one name"):
        state_of(clash)


def test_a_classifier_for_other_classes_is_skipped_only_on_request(tmp_path):
    network = make_network(classes=3)
    before = snapshot(network)
    save_weights(make_network(classes=10, seed=5), tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match=r"3\.weight \(10, 4\) instead of \(3, 4\).*allow_missing=true"):
        load_weights(network, tmp_path / "w.safetensors", allow_missing=False)
    assert_same(state_of(network), before)
    report = load_weights(network, tmp_path / "w.safetensors", allow_missing=True)
    assert report.missing == ("3.weight", "3.bias")
    assert set(report.skipped) == {"3.weight", "3.bias"}
    assert torch.equal(network.backbone[3].weight, before["3.weight"])
    assert not torch.equal(network.backbone[0].weight, before["0.weight"])


@pytest.mark.parametrize("allow_missing", [False, True])
def test_other_wrong_shapes_are_always_an_error(tmp_path, allow_missing):
    save_weights(make_network(hidden=6), tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match=r"wrong shapes \(0\.weight \(6, 1, 3, 3\) instead of \(4, 1, 3, 3\)"):
        load_weights(make_network(hidden=4), tmp_path / "w.safetensors", allow_missing=allow_missing)


def test_a_file_of_which_nothing_fits_is_an_error_even_when_gaps_are_allowed(tmp_path):
    save_file({"x": torch.zeros(1)}, tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match="nothing in it fits: its keys are x;"):
        load_weights(make_network(), tmp_path / "w.safetensors", allow_missing=True)


def test_tensors_that_share_memory_can_be_saved(tmp_path):
    base = torch.arange(12.0).view(3, 4)
    state = {"whole": base, "tied": base, "row": base[1], "turned": base.t(), "empty": torch.zeros(0)}
    own = independent(state)
    pointers = [tensor.untyped_storage().data_ptr() for tensor in own.values() if tensor.numel()]
    assert len(set(pointers)) == len(pointers)
    save_weights(state, tmp_path / "w.safetensors")
    assert_same(load_file(tmp_path / "w.safetensors"), dict(sorted(state.items())))


def test_weights_of_images_that_were_prepared_otherwise_are_told(tmp_path):
    network, path = make_network(), tmp_path / "w.safetensors"
    for told, is_told in (
        (asdict(network.preprocessing), False),
        (asdict(network.preprocessing) | {"scale": 255.0}, True),
        (asdict(network.preprocessing) | {"mean": [0.5]}, True),
        ({"mean": "x"}, False),
    ):
        save_weights(network, path, {METADATA_KEY: json.dumps({"format": 1, "preprocessing": told})})
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            warn_of_preprocessing(network.preprocessing, path, key="networks.b")
        assert [str(one.message).startswith("networks.b.weights:") for one in caught] == [True] * is_told
    save_weights(network, path)
    warn_of_preprocessing(network.preprocessing, path, key="networks.b")


def test_random_weights_are_told_by_part(tmp_path):
    report = LoadReport(
        loaded=("stem.weight", "blocks.0.weight", "blocks.0.num_batches_tracked", "blocks.1.weight"),
        missing=("blocks.2.weight", "blocks.3.weight", "decoder.a", "decoder.b", "neck.bias", "x.num_batches_tracked"),
        skipped=("fc.weight",),
    )
    with pytest.warns(UserWarning, match="random stay") as caught:
        warn_of_random(report, tmp_path / "w.safetensors", key="networks.b")
    assert str(caught[0].message) == (
        f"networks.b.weights: 3 of 8 tensors were taken from {tmp_path / 'w.safetensors'}; random stay: "
        "blocks.* (2 of 4 tensors), decoder.* (2 tensors), neck.bias."
    )
