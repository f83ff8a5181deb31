import pytest
import torch
from torch.nn import functional as F
from torchvision import models
from torchvision.models._api import WeightsEnum

from dmt.errors import ConfigError
from dmt.models.deeplab import SummedBranches, deeplab_v2_resnet101
from dmt.models.network import check_output
from dmt.models.registry import build_network
from dmt.models.weights import set_state, state_of

BACKBONE_SIZE = 42_500_160


def build(*, num_classes=4, **arguments):
    return build_network(
        "deeplab_v2_resnet101",
        num_classes=num_classes,
        channels=3,
        mean=[0.4] * 3,
        std=[0.2] * 3,
        task="segmentation",
        **arguments,
    )


def on_meta(**arguments):
    """Shapes and names without the time that 43 million random numbers take."""
    with torch.device("meta"):
        return build(**arguments)


@pytest.fixture(scope="module")
def meta_network():
    return on_meta().eval()


def empty_state(**changes):
    """A torchvision file of ResNet-101, each tensor one number long in memory."""
    with torch.device("meta"):
        names = models.resnet101().state_dict()
    return {name: torch.full((), 0.25).expand(tensor.shape) for name, tensor in names.items()} | changes


def size(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(("classes", "head"), [(21, 1_548_372), (19, 1_400_908)])
def test_has_the_parameters_of_the_paper_s_network(classes, head):
    backbone = on_meta(num_classes=classes).backbone
    assert size(backbone.layer5) == head
    assert size(backbone) == BACKBONE_SIZE + head


@pytest.mark.parametrize("branches", [1, 2, 3, 4])
def test_fewer_branches_have_no_idle_parameters(branches):
    head = on_meta(head_branches=branches).backbone.layer5
    assert size(head) == branches * (2048 * 9 * 4 + 4)
    assert [conv.dilation[0] for conv in head.conv2d_list] == [6, 12, 18, 24][:branches]


@pytest.mark.parametrize("branches", [0, 5])
def test_other_numbers_of_branches_are_refused(branches):
    with pytest.raises(ConfigError, match=rf"networks\.b\.head_branches is {branches}; .* has 1 to 4 branches"):
        on_meta(head_branches=branches, key="networks.b")


@pytest.mark.parametrize("branches", [1, 2, 4])
def test_the_head_is_the_sum_of_its_convolutions(branches):
    head = SummedBranches(5, 3, dilations=(6, 12, 18, 24)[:branches])
    features = torch.randn(2, 5, 9, 8)
    expected = torch.zeros(2, 3, 9, 8)
    for conv, dilation in zip(head.conv2d_list, (6, 12, 18, 24), strict=False):
        expected = expected + F.conv2d(features, conv.weight, conv.bias, padding=dilation, dilation=dilation)
    torch.testing.assert_close(head(features), expected)


@pytest.mark.parametrize(("image", "logits"), [((321, 321), (41, 41)), ((505, 505), (64, 64)), ((256, 512), (32, 64))])
def test_output_stride_is_8(meta_network, image, logits):
    with torch.no_grad():
        assert meta_network.backbone(torch.zeros(1, 3, *image, device="meta")).shape == (1, 4, *logits)
        assert meta_network(torch.zeros(1, 3, *image, device="meta")).shape == (1, 4, *image)


def test_the_first_block_of_a_stage_keeps_the_dilation_before_it(meta_network):
    backbone = meta_network.backbone
    dilations = {
        name: [block.conv2.dilation[0] for block in getattr(backbone, name)] for name in ("layer2", "layer3", "layer4")
    }
    assert dilations == {"layer2": [1] * 4, "layer3": [1] + [2] * 22, "layer4": [2, 4, 4]}
    assert [getattr(backbone, name)[0].conv2.stride[0] for name in dilations] == [2, 1, 1]
    assert backbone.layer2[0].conv1.stride == (1, 1)


def test_keys_are_those_of_torchvision_and_of_the_coco_weights(meta_network):
    own = set(state_of(meta_network))
    with torch.device("meta"):
        backbone = {name for name in models.resnet101().state_dict() if not name.startswith("fc.")}
    assert own == backbone | {f"layer5.conv2d_list.{n}.{kind}" for n in range(4) for kind in ("weight", "bias")}


def test_a_network_takes_its_published_weights_and_keeps_its_head(monkeypatch):
    seen = []

    def download(self, **kwargs):
        seen.append((self.name, kwargs["weights_only"]))
        return empty_state()

    monkeypatch.setattr(WeightsEnum, "get_state_dict", download)
    state = state_of(build(weights="pretrained", head_branches=1))
    assert seen == [("IMAGENET1K_V1", True)]
    assert all(bool((tensor == 0.25).all()) for name, tensor in state.items() if _is_filled(name))
    assert state["layer5.conv2d_list.0.weight"].std() > 0


def _is_filled(name):
    return not name.startswith("layer5.") and not name.endswith("num_batches_tracked")


def test_coco_weights_fit_by_name_and_their_head_only_for_as_many_classes():
    with torch.device("meta"):
        names = deeplab_v2_resnet101(num_classes=21).state_dict()
    coco = {
        name: torch.full((), 0.25).expand(tensor.shape)
        for name, tensor in names.items()
        if not name.endswith("num_batches_tracked")
    }
    assert len(coco) == 528
    same = on_meta(num_classes=21).to_empty(device="cpu")
    set_state(same, coco, origin="coco")
    assert bool((same.backbone.layer5.conv2d_list[3].weight == 0.25).all())
    other = on_meta(num_classes=19).to_empty(device="cpu")
    report = set_state(other, coco, origin="coco", allow_missing=True)
    assert len(report.loaded) == 520
    assert set(report.skipped) == {name for name in coco if name.startswith("layer5.")}


def test_preprocessing_is_torchvision_s_or_caffe_s(meta_network):
    usual = meta_network.preprocessing
    assert usual == on_meta(options={"preprocessing": "imagenet"}).preprocessing
    assert (usual.mean, usual.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    caffe = on_meta(options={"preprocessing": "caffe"}).preprocessing
    assert (caffe.channel_order, caffe.scale) == ("bgr", 255)
    assert (caffe.mean, caffe.std) == ((104.008, 116.669, 122.675), (1, 1, 1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"options": {"preprocessing": "cafe"}},
            r"networks\.a\.options\.preprocessing is 'cafe'.*Did you mean 'caffe'",
        ),
        ({"options": {"output_stride": 16}}, r"options\.output_stride: .* takes the option preprocessing only"),
        ({"options": {"preprocessing": "caffe"}, "weights": "pretrained"}, "pretrained weights expect 'imagenet'"),
    ],
)
def test_wrong_options_are_refused(arguments, message):
    with pytest.raises(ConfigError, match=message):
        on_meta(**arguments)


@pytest.mark.slow
def test_a_training_step_on_one_image_reaches_all_parameters():
    torch.manual_seed(0)
    network = build(num_classes=21).train()
    before = {name: tensor.clone() for name, tensor in network.named_parameters()}
    image, mask = torch.rand(1, 3, 321, 321), torch.randint(0, 21, (1, 321, 321))
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9, weight_decay=5e-4)
    loss = F.cross_entropy(network(image), mask, ignore_index=255)
    loss.backward()
    assert torch.isfinite(loss)
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
    for branch in network.backbone.layer5.conv2d_list:
        assert branch.weight.grad.abs().sum() > 0
        assert branch.bias.grad.abs().sum() > 0
    optimizer.step()
    assert not [name for name, parameter in network.named_parameters() if torch.equal(parameter, before[name])]
    network.eval()
    with torch.no_grad():
        assert network.backbone(network.preprocess(image)).shape == (1, 21, 41, 41)
        assert network(image).shape == (1, 21, 321, 321)
    check_output(network, image, dense=True)
