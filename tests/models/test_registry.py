import re
import urllib.error
import warnings

import pytest
import timm
import torch
from torchvision import models
from torchvision.models._api import WeightsEnum

from dmt.errors import CheckpointError, ConfigError
from dmt.models.network import check_output
from dmt.models.registry import MODELS, build_network, family_of
from dmt.models.weights import save_weights, state_of

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def build(name, *, num_classes=5, channels=3, **options):
    return build_network(
        name, num_classes=num_classes, channels=channels, mean=[0.4] * channels, std=[0.2] * channels, **options
    )


def offline(*args, **kwargs):
    raise urllib.error.URLError("name not known")


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("small_cnn", 1),
        ("small_cnn", 3),
        ("wrn_10_1", 1),
        ("timm:resnet10t", 1),
        ("timm:mobilenetv1_100", 3),
        ("timm:test_vit", 3),
        ("torchvision:squeezenet1_0", 1),
        ("torchvision:shufflenet_v2_x0_5", 3),
        ("torchvision:mobilenet_v3_small", 3),
    ],
)
def test_every_form_of_name_gives_a_network_of_that_name_and_as_many_classes(name, channels):
    size = 160 if name == "timm:test_vit" else 32
    network = build(name, channels=channels)
    check_output(network, torch.rand(2, channels, size, size))
    assert (network.name, network.num_classes) == (name, 5)


WIDE_HEADS = [
    "timm:mobilenetv1_100",
    "timm:efficientnet_b0",
    "timm:dla46_c",
    "torchvision:efficientnet_b0",
    "torchvision:mnasnet0_5",
]


@pytest.mark.parametrize("name", WIDE_HEADS)
def test_a_fresh_head_begins_no_wider_than_pytorchs_own(name):
    """The libraries' own draws, made for a thousand classes, lie within 1 / sqrt(classes): 0.45 here."""
    kinds = torch.nn.Linear | torch.nn.Conv2d
    head = [layer for layer in build(name).backbone.modules() if isinstance(layer, kinds)][-1]
    assert len(head.weight) == 5
    assert 0 < head.weight.abs().max() <= head.weight[0].numel() ** -0.5


@pytest.mark.parametrize("num_classes", [1000, 10])
def test_a_head_that_was_trained_stays_as_it_is(num_classes, monkeypatch):
    """`pretrained` weights of as many classes bring their head; of other classes, timm draws it at random."""
    trained = timm.create_model("mobilenetv1_100", num_classes=num_classes)
    torch.nn.init.normal_(trained.get_classifier().weight, 1.0, 0.1)
    monkeypatch.setattr(timm, "create_model", lambda *args, **kwargs: trained)
    head = build("timm:mobilenetv1_100", num_classes=num_classes, weights="pretrained").backbone.get_classifier()
    assert (head.weight.mean() > 0.9) == (num_classes == 1000)


def test_own_networks_are_normalized_by_the_data_set_and_others_by_their_library():
    assert build("small_cnn", channels=1).preprocessing.mean == (0.4,)
    assert build("wrn_10_1").preprocessing.std == (0.2, 0.2, 0.2)
    squeezenet = build("torchvision:squeezenet1_0", channels=1).preprocessing
    assert (squeezenet.mean, squeezenet.std) == IMAGENET
    mobilenet = build("timm:mobilenetv1_100").preprocessing
    assert (mobilenet.mean, mobilenet.std) == ((0.5,) * 3, (0.5,) * 3)


def test_random_weights_come_from_the_callers_generator_alone():
    weights = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        weights.append(torch.cat([tensor.flatten() for tensor in state_of(build("small_cnn")).values()]))
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_options_reach_the_library():
    network = build("timm:mobilenetv1_100", options={"bn_eps": 1e-3})
    assert network.backbone.bn1.eps == 1e-3
    check_output(build("timm:test_vit", options={"img_size": 32}), torch.rand(2, 3, 32, 32))


@pytest.mark.parametrize("name", ["timm:resnet10t", "torchvision:squeezenet1_0"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"no_such_option": 1}, "no_such_option"),
        ({"num_classes": 3}, r"networks\.b\.options\.num_classes cannot be set"),
        ({"checkpoint_path": "x.pth"}, "checkpoint_path cannot be set"),
        ({"blocks": [1, 2]}, "blocks is a list"),
    ],
)
def test_bad_options_are_refused(name, options, message):
    with pytest.raises(ConfigError, match=message):
        build(name, options=options, key="networks.b")


def test_own_networks_take_no_options_and_have_no_pretrained_weights():
    with pytest.raises(ConfigError, match="small_cnn takes none; found depth"):
        build("small_cnn", options={"depth": 3})
    with pytest.raises(ConfigError, match="wrn_10_1 has no pretrained weights"):
        build("wrn_10_1", weights="pretrained")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("samll_cnn", "Did you mean 'small_cnn'"),
        ("resnet18", "Did you mean 'timm:resnet18' or 'torchvision:resnet18'"),
        ("torchvison:alexnet", "Did you mean 'torchvision:alexnet'"),
        ("wrn-28-2", "Did you mean 'wrn_28_2'"),
        ("timm:resnet81", "no timm model 'resnet81'. Did you mean 'resnet"),
        ("timm:resnet18.a1_in1", "Did you mean 'resnet18.a1_in1k'"),
        ("torchvision:squeezenet1_2", "Did you mean 'squeezenet1_"),
        ("torchvision:deeplabv3_resnet50", "no torchvision model"),
        ("hf-hub:some/model", "no network 'hf-hub:some/model'"),
        ("timn:small_cnn", "Did you mean 'small_cnn'"),
    ],
)
def test_unknown_names_are_answered_with_near_ones(name, message):
    with pytest.raises(ConfigError, match=message):
        build(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet18", "Did you mean 'deeplab:timm:resnet18' or 'deeplab:torchvision:resnet18'"),
        ("deeplab:resnet18", "Did you mean 'deeplab:timm:resnet18' or 'deeplab:torchvision:resnet18'"),
        ("deeplab:timn:mobilenetv1_100", "Did you mean 'deeplab:timm:mobilenetv1_100'"),
        ("deeplab_v2_resnet50", "Did you mean 'deeplab_v2_resnet101'"),
        ("unet/resnet34", "Did you mean 'smp:unet/resnet34'"),
        ("deeplab:timm:resnet81", r"networks\.a\.name: there is no timm model 'resnet81'. Did you mean 'resnet"),
        ("deeplab:timm:resnet18.a1_in1", "Did you mean 'resnet18.a1_in1k'"),
        ("deeplab:torchvision:squeezenet1_2", "Did you mean 'squeezenet1_"),
    ],
)
def test_unknown_names_for_masks_are_answered_with_names_for_masks(name, message):
    with pytest.raises(ConfigError, match=message):
        build(name, task="segmentation")


@pytest.mark.parametrize("task", ["classification", "segmentation"])
def test_an_unknown_form_lists_all_forms_of_the_task_and_no_other(task):
    with pytest.raises(ConfigError) as caught:
        build("zzz", task=task)
    listed = str(caught.value).partition(f"Allowed for {task}: ")[2].removesuffix(".").split(", ")
    assert listed == [form for form, family in MODELS.items() if family.task == task]
    assert listed


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("timm:resnet18", "deeplab:timm:resnet18"),
        ("torchvision:squeezenet1_0", "deeplab:torchvision:squeezenet1_0"),
        ("small_cnn", "small_unet"),
        ("wrn_28_2", "deeplab:timm:mobilenetv1_100"),
    ],
)
def test_a_classifier_is_refused_for_masks_with_a_name_to_use(name, instead):
    with pytest.raises(ConfigError) as caught:
        build(name, task="segmentation", key="networks.b")
    assert str(caught.value) == (
        f"networks.b.name: {name} predicts one class an image; for masks use another network, such as {instead}."
    )
    assert family_of(instead, task="segmentation").task == "segmentation"


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("deeplab:timm:resnet18", "timm:resnet18"),
        ("deeplab:torchvision:squeezenet1_0", "torchvision:squeezenet1_0"),
        ("deeplab_v2_resnet101", "torchvision:resnet101"),
        ("smp:unet/resnet34", "timm:resnet18"),
    ],
)
def test_a_network_for_masks_is_refused_for_classification_with_a_name_to_use(name, instead):
    with pytest.raises(ConfigError) as caught:
        build(name)
    assert str(caught.value) == (
        f"networks.a.name: {name} predicts a class for every pixel; for one class an image use another network, such "
        f"as {instead}."
    )
    assert family_of(instead, task="classification").task == "classification"


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("small_cnn", "classification"),
        ("timm:resnet18", "classification"),
        ("deeplab:timm:resnet18", "segmentation"),
        ("smp:unet/resnet34", "segmentation"),
    ],
)
def test_head_branches_are_refused_where_there_are_none(name, task):
    with pytest.raises(ConfigError, match=rf"networks\.a\.head_branches is 2, but only .* leave it out for {name}"):
        build(name, task=task, head_branches=2)


def test_every_form_of_name_is_its_own():
    examples = {
        "small_cnn": "small_cnn",
        "small_mlp": "small_mlp",
        "wrn_<depth>_<width>": "wrn_28_2",
        "small_unet": "small_unet",
        "timm:<name>": "timm:resnet18",
        "torchvision:<name>": "torchvision:resnet18",
        "deeplab_v2_resnet101": "deeplab_v2_resnet101",
        "deeplab:timm:<name>": "deeplab:timm:resnet18",
        "deeplab:torchvision:<name>": "deeplab:torchvision:resnet18",
        "smp:<architecture>/<encoder>": "smp:unet/resnet18",
    }
    assert examples.keys() == MODELS.keys()
    for form, name in examples.items():
        assert [other for other, family in MODELS.items() if re.fullmatch(family.pattern, name)] == [form]


def test_weights_from_a_file(tmp_path):
    source = build("small_cnn")
    save_weights(source, tmp_path / "w.safetensors")
    network = build("small_cnn", weights=str(tmp_path / "w.safetensors"))
    assert all(torch.equal(state_of(network)[name], tensor) for name, tensor in state_of(source).items())
    with pytest.raises(CheckpointError, match=r"networks\.b\.allow_missing=true"):
        build("wrn_10_1", weights=str(tmp_path / "w.safetensors"), key="networks.b")


def test_a_file_that_fits_in_part_is_told_once_for_each_key(tmp_path):
    path = tmp_path / "w.safetensors"
    state = {name: tensor.clone() for name, tensor in state_of(build("timm:resnet10t")).items()}
    del state["layer1.0.conv1.weight"]
    save_weights(state, path)
    arguments = {"num_classes": 9, "weights": str(path), "allow_missing": True}
    for key in ("networks.a", "networks.b"):
        with warnings.catch_warnings(record=True) as caught:
            for _ in range(2):
                warnings.simplefilter("always")
                build("timm:resnet10t", key=key, **arguments)
        assert len(caught) == 1
        total = sum(not name.endswith("num_batches_tracked") for name in state) + 1
        assert str(caught[0].message) == (
            f"{key}.weights: {total - 3} of {total} tensors were taken from {path}; random stay: "
            "layer1.0.conv1.weight, fc.* (2 tensors)."
        )


def test_a_file_that_fits_is_no_reason_for_a_warning(tmp_path):
    state = {name: tensor for name, tensor in state_of(build("timm:resnet10t")).items() if "num_batches" not in name}
    save_weights(state, tmp_path / "w.safetensors")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        build("timm:resnet10t", weights=str(tmp_path / "w.safetensors"), allow_missing=True)


def test_pretrained_torchvision_weights_fill_all_but_the_classifier(monkeypatch):
    torch.manual_seed(0)
    published = models.squeezenet1_0(weights=None).state_dict()
    seen = {}

    def download(self, **kwargs):
        seen.update(kwargs)
        return published

    monkeypatch.setattr(WeightsEnum, "get_state_dict", download)
    state = state_of(build("torchvision:squeezenet1_0", weights="pretrained"))
    assert seen["weights_only"] is True
    assert all(torch.equal(state[name], published[name]) for name in state if not name.startswith("classifier"))
    assert state["classifier.1.weight"].shape[0] == 5


def test_published_densenet_weights_under_old_key_names_are_understood(monkeypatch):
    current = models.densenet121(weights=None).state_dict()
    old = {re.sub(r"(norm|conv)([12])\.", r"\1.\2.", name): tensor for name, tensor in current.items()}
    assert old.keys() != current.keys()
    monkeypatch.setattr(WeightsEnum, "get_state_dict", lambda self, **_: old)
    state = state_of(build("torchvision:densenet121", weights="pretrained"))
    assert all(torch.equal(state[name], current[name]) for name in state if not name.startswith("classifier"))


def test_auxiliary_heads_are_dropped_so_that_training_sees_plain_logits():
    network = build("torchvision:googlenet", options={"init_weights": False}).train()
    assert network(torch.rand(2, 3, 32, 32)).shape == (2, 5)


@pytest.mark.parametrize("name", ["timm:resnet10t", "torchvision:squeezenet1_0"])
def test_a_failing_download_offers_a_file_instead(monkeypatch, name):
    create = timm.create_model
    monkeypatch.setattr(WeightsEnum, "get_state_dict", offline)
    monkeypatch.setattr(timm, "create_model", lambda *a, pretrained, **k: offline() if pretrained else create(*a, **k))
    with pytest.raises(CheckpointError, match=r"may be offline: give a \.safetensors file as networks\.a\.weights"):
        build(name, weights="pretrained")


def test_a_fresh_squeezenet_has_no_relu_on_its_logits() -> None:
    network = build("torchvision:squeezenet1_0").eval()
    assert (network(torch.rand(2, 3, 64, 64)) < 0).any()


@pytest.mark.parametrize("name", ["timm:resnet10t", "small_cnn", "wrn_10_1"])
@pytest.mark.parametrize("bands", [2, 5])
def test_bands_that_are_no_colors(name, bands):
    network = build(name, channels=bands)
    assert network.preprocessing.channels == bands
    assert network.preprocessing.mean == (0.4,) * bands
    assert network.eval()(torch.rand(2, bands, 32, 32)).shape == (2, 5)


def test_masks_of_bands():
    network = build("deeplab:timm:mobilenetv1_100", channels=5, task="segmentation")
    assert network.preprocessing.std == (0.2,) * 5
    assert network.eval()(torch.rand(1, 5, 32, 48)).shape == (1, 5, 32, 48)


def test_gray_is_repeated_for_networks_of_a_library():
    network = build("timm:resnet10t", channels=1)
    assert network.preprocessing.channels == 3
