import sys

import pytest
import torch

from dmt.errors import CheckpointError, ConfigError
from dmt.models.network import check_output
from dmt.models.registry import build_network
from dmt.models.weights import load_weights, save_weights

LIBRARY = "segmentation_models_pytorch"


def build(name="smp:unet/mobilenet_v2", *, seed=0, **arguments):
    torch.manual_seed(seed)
    return build_network(
        name,
        num_classes=4,
        channels=3,
        mean=[0.4] * 3,
        std=[0.2] * 3,
        task="segmentation",
        **arguments,
    )


@pytest.fixture
def smp():
    return pytest.importorskip(LIBRARY)


def test_a_missing_library_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, LIBRARY, None)  # makes an import fail
    with pytest.raises(ConfigError) as caught:
        build(key="networks.b")
    message = str(caught.value)
    assert message.startswith("networks.b.name: smp:unet/mobilenet_v2 needs segmentation-models-pytorch")
    assert "pip install 'dmt-ssl[smp]'" in message


@pytest.mark.parametrize(
    "name", ["smp:unet/mobilenet_v2", "smp:fpn/mobilenet_v2", "smp:unet/tu-mobilenetv3_small_050.lamb_in1k"]
)
def test_gives_a_class_of_every_pixel(smp, name):
    network = build(name)
    check_output(network, torch.rand(2, 3, 64, 96), dense=True)
    assert network.preprocessing.mean == (0.485, 0.456, 0.406)
    assert (network.name, network.num_classes) == (name, 4)


def test_own_files_come_back_exactly_under_the_library_s_names(smp, tmp_path):
    source, target = build(seed=1), build(seed=2)
    save_weights(source, tmp_path / "w.safetensors")
    report = load_weights(target, tmp_path / "w.safetensors", allow_missing=False)
    assert "encoder.features.0.0.weight" in report.loaded
    images = torch.rand(1, 3, 32, 32)
    assert torch.equal(source.eval()(images), target.eval()(images))


@pytest.mark.parametrize("name", ["smp:unet/resnet18", "smp:fpn/resnet18", "smp:linknet/mobilenet_v2"])
@pytest.mark.parametrize("size", [(33, 50), (64, 70), (1, 1)])
def test_images_of_any_size_are_taken(smp, name, size):
    network = build(name).eval()
    images = torch.rand(1, 3, *size)
    check_output(network, images, dense=True)
    height, width = (-(-side // 32) * 32 for side in size)
    padded = torch.zeros(1, 3, height, width)
    padded[..., : size[0], : size[1]] = images
    assert torch.equal(network(images), network(padded)[..., : size[0], : size[1]])


def test_options_reach_the_library(smp):
    plain, attentive = build(), build(options={"decoder_attention_type": "scse"})
    assert len(attentive.state_dict()) > len(plain.state_dict())


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "smp:unet/mobilenet_v2",
            {"encoder_dept": 4},
            r"networks\.a\.options\.encoder_dept: .*Did you mean 'encoder_depth'",
        ),
        (
            "smp:unet/mobilenet_v2",
            {"encoder_depth": 9},
            r"networks\.a: smp:unet/mobilenet_v2 cannot be built .*encoder_depth=9",
        ),
        ("smp:unet/tu-mobilenetv3_small_050", {"no_such": 1}, r"cannot be built .*no_such=1"),
    ],
)
def test_wrong_options_are_refused(smp, name, options, message):
    with pytest.raises(ConfigError, match=message):
        build(name, options=options)


@pytest.mark.parametrize("option", ["classes", "encoder_weights", "in_channels", "activation"])
def test_options_that_are_set_elsewhere_are_refused(option):
    with pytest.raises(ConfigError, match=rf"networks\.a\.options\.{option} cannot be set here"):
        build(options={option: "x"})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("smp:unett/resnet18", "no architecture of smp 'unett'. Did you mean 'unet'"),
        ("smp:unet/resnet81", "no encoder of smp 'resnet81'. Did you mean 'resnet"),
        ("smp:unet/tu-resnet19t", "no encoder of smp 'tu-resnet19t'. Did you mean 'tu-resnet"),
        ("smp:unet", r"networks\.a\.name is 'smp:unet'; allowed is smp:<architecture>/<encoder>"),
        ("smp:/resnet18", "allowed is smp:<architecture>/<encoder>, for instance smp:unet/resnet34"),
    ],
)
def test_unknown_names_are_answered_with_near_ones(smp, name, message):
    with pytest.raises(ConfigError, match=message):
        build(name)


@pytest.mark.parametrize(("encoder", "wanted"), [("mobilenet_v2", "imagenet"), ("tu-mobilenetv3_small_050", True)])
def test_pretrained_weights_are_asked_of_the_library(smp, monkeypatch, encoder, wanted):
    create, asked = smp.create_model, []

    def spy(*args, encoder_weights, **kwargs):
        asked.append(encoder_weights)
        return create(*args, encoder_weights=None, **kwargs)

    monkeypatch.setattr(smp, "create_model", spy)
    build(f"smp:unet/{encoder}", weights="pretrained")
    assert asked == [None, wanted]


def test_a_failing_download_offers_a_file_instead(smp, monkeypatch):
    create = smp.create_model

    def offline(*args, encoder_weights, **kwargs):
        if encoder_weights:
            raise FileNotFoundError("cannot be reached")
        return create(*args, encoder_weights=None, **kwargs)

    monkeypatch.setattr(smp, "create_model", offline)
    with pytest.raises(
        CheckpointError, match=r"\(cannot be reached\).* give a \.safetensors file as networks\.a\.weig"
    ):
        build(weights="pretrained")
