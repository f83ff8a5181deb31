import pytest
import torch
from torch import Tensor, nn

from dmt.models.label_views import LabelViews
from dmt.selection import confidence_code


class Places(nn.Module):
    """Logits that hang on where a pixel is, and on what it is."""

    def __init__(self, *, dense: bool) -> None:
        super().__init__()
        self._dense = dense

    def forward(self, images: Tensor) -> Tensor:
        across = torch.linspace(-1, 2, images.shape[-1])
        maps = torch.stack([images[:, 0] * across, images[:, 1] - across, images[:, 0] + images[:, 1]], dim=1)
        return maps if self._dense else (maps * across).sum(dim=(2, 3))


@pytest.mark.parametrize("dense", [True, False])
def test_the_mean_of_both_views(dense: bool) -> None:
    network, images = Places(dense=dense), torch.randn(2, 2, 3, 5, generator=torch.Generator().manual_seed(0))
    found = LabelViews(network)(images).exp()
    for number in range(2):
        plain = network(images[number : number + 1]).softmax(dim=1)[0]
        other = network(images[number : number + 1].flip(-1)).softmax(dim=1)[0]
        if not dense:
            assert torch.allclose(found[number], (plain + other) / 2, atol=1e-6)
            continue
        for row in range(3):
            for column in range(5):
                mean = (plain[:, row, column] + other[:, row, 4 - column]) / 2
                assert torch.allclose(found[number, :, row, column], mean, atol=1e-6)


def test_a_network_that_sees_no_difference_keeps_its_confidence() -> None:
    """Also where 1 - c is far below what a float can tell from 1."""

    class Constant(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return torch.tensor([[60.0, 0.0, 10.0]]).expand(len(images), -1)

    images = torch.zeros(1, 1, 2, 2)
    plain, mirrored = (confidence_code(net(images)).item() for net in (Constant(), LabelViews(Constant())))
    assert abs(plain - mirrored) <= 1
    assert plain > 50_000


class Pointwise(nn.Module):
    """Logits of each pixel by itself, so that views of flat images agree whatever their size."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[tuple[int, ...]] = []

    def forward(self, images: Tensor) -> Tensor:
        self.sizes.append(tuple(images.shape[2:]))
        return torch.cat([images, 1 - images, 2 * images], dim=1)


def test_scales_are_looked_at_and_brought_back() -> None:
    network, images = Pointwise(), torch.full((2, 1, 8, 12), 0.25)
    found = LabelViews(network, scales=(0.75, 1.0, 1.5))(images)
    assert sorted(set(network.sizes)) == [(6, 9), (8, 12), (12, 18)]
    assert len(network.sizes) == 6
    assert torch.allclose(found, network(images).log_softmax(dim=1), atol=1e-6)


def test_an_edge_stays_where_it_is_at_every_scale() -> None:
    images = torch.zeros(1, 1, 8, 16)
    images[..., 6:] = 20.0
    for scales in ((0.75,), (1.5,), (0.75, 1.0, 1.5)):
        found = LabelViews(Pointwise(), scales=scales)(images).argmax(dim=1)[0]
        away = torch.arange(16).sub(6).abs() > 1
        assert torch.equal((found == 2)[:, away], (images[0, 0] > 10)[:, away]), scales


def test_a_certain_answer_stays_a_number_at_other_scales() -> None:
    found = LabelViews(Pointwise(), scales=(0.75, 1.5))(torch.full((1, 1, 8, 8), 500.0))
    assert found.isfinite().all()
