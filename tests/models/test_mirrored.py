import pytest
import torch
from torch import Tensor, nn

from dmt.models.mirrored import Mirrored
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
    found = Mirrored(network)(images).exp()
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
    plain, mirrored = (confidence_code(net(images)).item() for net in (Constant(), Mirrored(Constant())))
    assert abs(plain - mirrored) <= 1
    assert plain > 50_000
