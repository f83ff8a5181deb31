import urllib.error
from copy import deepcopy

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode
from torchvision import models
from torchvision.models._api import WeightsEnum

from dmt.errors import CheckpointError, ConfigError
from dmt.models.ema import Ema
from dmt.models.network import check_output
from dmt.models.registry import build_network
from dmt.models.weights import load_weights, save_weights, state_of

# One of each way to features: timm's getter, timm's own extractor, a torchvision graph.
NAMES = ["deeplab:timm:resnet10t", "deeplab:timm:mobilenetv3_small_050", "deeplab:torchvision:squeezenet1_1"]


def build(name, *, num_classes=4, seed=0, **arguments):
    torch.manual_seed(seed)
    return build_network(
        name,
        num_classes=num_classes,
        channels=3,
        mean=[0.4] * 3,
        std=[0.2] * 3,
        task="segmentation",
        **arguments,
    )


def on_meta(name, **arguments):
    with torch.device("meta"):
        return build(name, **arguments)


def classifier(name):
    """The library's own model for 7 classes."""
    library, model = name.removeprefix("deeplab:").split(":")
    if library == "timm":
        return timm.create_model(model, num_classes=7)
    return models.get_model(model, num_classes=7)


def size(module):
    return sum(parameter.numel() for parameter in module.parameters())


def dilations(network):
    return [branch[0].dilation[0] for branch in network.backbone.decoder.branches]


def deepest(network, side=64):
    """Cells a side of the deepest features of a square image."""
    with torch.no_grad():
        device = next(network.parameters()).device
        features = network.eval().backbone.encoder(torch.zeros(1, 3, side, side, device=device))
    return features[network.backbone._coarse].shape[-1]


@pytest.mark.parametrize("name", [*NAMES, "deeplab:torchvision:shufflenet_v2_x0_5"])
def test_gives_a_class_of_every_pixel_from_logits_at_stride_4(name):
    network = build(name, num_classes=5)
    check_output(network, torch.rand(2, 3, 64, 96), dense=True)
    check_output(network, torch.rand(2, 1, 67, 50), dense=True)
    with torch.no_grad():
        height, width = network.eval().backbone(torch.rand(1, 3, 64, 96)).shape[2:]
    assert (height, width) in {(16, 24), (15, 23)}
    assert (network.name, network.num_classes) == (name, 5)


@pytest.mark.parametrize("name", NAMES)
def test_a_classifier_s_file_fills_the_encoder_by_name(name, tmp_path):
    torch.manual_seed(7)
    library = {key: torch.rand_like(tensor.float()) for key, tensor in classifier(name).state_dict().items()}
    save_file(library, tmp_path / "w.safetensors")
    network = build(name)
    before = {key: tensor.clone() for key, tensor in state_of(network).items()}
    with pytest.raises(CheckpointError, match=r"lacks decoder\..*networks\.a\.allow_missing=true"):
        load_weights(network, tmp_path / "w.safetensors", allow_missing=False)
    report = load_weights(network, tmp_path / "w.safetensors", allow_missing=True)
    assert {key for key in before if not key.startswith("decoder.")} == set(report.loaded)
    for key, tensor in state_of(network).items():
        if key.startswith("decoder."):
            assert torch.equal(tensor, before[key]), key
        else:
            assert torch.equal(tensor, library[key].to(tensor.dtype)), key


@pytest.mark.parametrize("name", NAMES)
def test_own_files_come_back_exactly(name, tmp_path):
    source, target = build(name, seed=1), build(name, seed=2)
    save_weights(source, tmp_path / "w.safetensors")
    load_weights(target, tmp_path / "w.safetensors", allow_missing=False)
    images = torch.rand(2, 3, 64, 64)
    assert torch.equal(source.eval()(images), target.eval()(images))
    other = build(name, num_classes=9)
    report = load_weights(other, tmp_path / "w.safetensors", allow_missing=True)
    assert report.missing == ("decoder.classifier.weight", "decoder.classifier.bias")


@pytest.mark.parametrize("name", NAMES)
def test_learns_from_a_single_image_and_its_average_is_a_network_too(name):
    network = build(name).train()
    ema = Ema(network, decay=0.5, warmup=False)
    images, masks = torch.rand(1, 3, 64, 64), torch.zeros(1, 64, 64, dtype=torch.int64)
    masks[:, 20:40, 10:] = 3
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    losses = []
    for _ in range(8):
        loss = F.cross_entropy(network(images), masks)
        optimizer.zero_grad()
        loss.backward()
        assert all(parameter.grad is not None for parameter in network.parameters())
        optimizer.step()
        ema.update()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    assert ema.network(images).shape == (1, 4, 64, 64)
    copy = deepcopy(network)
    assert torch.equal(copy.train()(images), network.train()(images))
    assert torch.equal(copy.eval()(images), network.eval()(images))


@pytest.mark.parametrize("name", ["deeplab:timm:mobilenetv1_100", "deeplab:torchvision:squeezenet1_0"])
def test_the_head_is_light(name):
    network = on_meta(name, num_classes=11).eval()
    backbone, images = network.backbone, torch.zeros(1, 3, 352, 480, device="meta")
    assert 200_000 < size(backbone.decoder) < 350_000
    with torch.no_grad(), FlopCounterMode(display=False) as in_all:
        network(images)
    with torch.no_grad(), FlopCounterMode(display=False) as in_encoder:
        backbone.encoder(images)
    head = in_all.get_total_flops() - in_encoder.get_total_flops()
    assert 0 < head < in_encoder.get_total_flops() / 3


@pytest.mark.parametrize(
    ("name", "options", "stride", "expected"),
    [
        ("deeplab:timm:resnet10t", {}, 16, [3, 6, 12]),
        ("deeplab:timm:resnet10t", {"output_stride": 8}, 8, [6, 12, 24]),
        ("deeplab:timm:resnet10t", {"output_stride": 32}, 32, [2, 3, 6]),
        ("deeplab:timm:mobilenetv1_100", {}, 16, [3, 6, 12]),
        ("deeplab:timm:mobilenetv3_small_050", {}, 16, [3, 6, 12]),
        ("deeplab:timm:mobilenetv3_small_050", {"output_stride": 8}, 8, [6, 12, 24]),
        ("deeplab:timm:ghostnet_050", {}, 32, [2, 3, 6]),  # cannot be dilated
        ("deeplab:torchvision:resnet50", {}, 16, [3, 6, 12]),
        ("deeplab:torchvision:resnet50", {"output_stride": 8}, 8, [6, 12, 24]),
        ("deeplab:torchvision:resnet18", {}, 32, [2, 3, 6]),
        ("deeplab:torchvision:mobilenet_v3_small", {"dilated": True}, 16, [3, 6, 12]),
    ],
)
def test_the_output_stride_is_16_where_it_can_be_and_the_head_reaches_equally_far(name, options, stride, expected):
    network = on_meta(name, options=options)
    assert deepest(network) == 64 // stride
    assert dilations(network) == expected


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("deeplab:timm:resnet10t", {"output_stride": 7}, r"cannot be built .*options given: output_stride=7"),
        ("deeplab:timm:ghostnet_050", {"output_stride": 8}, r"cannot be built .*options given: output_stride=8"),
        ("deeplab:timm:resnet10t", {"no_such": 1}, "no_such"),
        ("deeplab:torchvision:resnet50", {"output_stride": 4}, r"output_stride is 4; allowed are 8, 16 and 32"),
        ("deeplab:torchvision:squeezenet1_1", {"output_stride": 8}, "cannot be built .*output_stride"),
        ("deeplab:timm:resnet10t", {"features_only": False}, "features_only cannot be set"),
        ("deeplab:timm:resnet10t", {"out_indices": 2}, "out_indices cannot be set"),
    ],
)
def test_wrong_options_are_refused(name, options, message):
    with pytest.raises(ConfigError, match=message):
        build(name, options=options, key="networks.b")


@pytest.mark.parametrize("name", ["deeplab:timm:test_vit", "deeplab:torchvision:swin_t"])
def test_networks_without_fine_features_are_refused(name):
    with pytest.raises(ConfigError, match=rf"networks\.a\.name: {name} is not possible.*at stride 4.*Choose a"):
        on_meta(name)


def test_options_reach_the_library_and_preprocessing_comes_from_it():
    plain = on_meta("deeplab:timm:mobilenetv1_100")
    tensorflow = on_meta("deeplab:timm:mobilenetv1_100", options={"pad_type": "same", "bn_eps": 1e-3})
    assert [network.backbone.encoder.model.bn1.eps for network in (plain, tensorflow)] == [1e-5, 1e-3]
    assert type(tensorflow.backbone.encoder.model.conv_stem) is not type(plain.backbone.encoder.model.conv_stem)
    assert plain.preprocessing.mean == (0.5, 0.5, 0.5)
    assert build("deeplab:torchvision:squeezenet1_1").preprocessing.mean == (0.485, 0.456, 0.406)


def test_pretrained_torchvision_weights_fill_the_encoder(monkeypatch):
    torch.manual_seed(3)
    published = models.squeezenet1_1().state_dict()
    monkeypatch.setattr(WeightsEnum, "get_state_dict", lambda self, **_: published)
    state = state_of(build("deeplab:torchvision:squeezenet1_1", weights="pretrained"))
    assert all(torch.equal(state[key], tensor) for key, tensor in published.items() if key.startswith("features."))


def test_pretrained_timm_weights_are_asked_of_timm(monkeypatch):
    create, asked = timm.create_model, []

    def spy(*args, pretrained, **kwargs):
        asked.append(pretrained)
        return create(*args, pretrained=False, **kwargs)

    monkeypatch.setattr(timm, "create_model", spy)
    check_output(build("deeplab:timm:resnet10t", weights="pretrained"), torch.rand(2, 3, 64, 64), dense=True)
    assert asked == [False, True]


@pytest.mark.parametrize("name", ["deeplab:timm:resnet10t", "deeplab:torchvision:squeezenet1_1"])
def test_a_failing_download_offers_a_file_instead(monkeypatch, name):
    def offline(*args, **kwargs):
        raise urllib.error.URLError("name not known")

    create = timm.create_model
    monkeypatch.setattr(WeightsEnum, "get_state_dict", offline)
    monkeypatch.setattr(timm, "create_model", lambda *a, pretrained, **k: offline() if pretrained else create(*a, **k))
    with pytest.raises(CheckpointError, match=rf"pretrained weights of {name} .* give a \.safetensors file"):
        build(name, weights="pretrained")
