import torch
from torch import nn

from dmt.models.aligned import Aligned


def test_every_class_moves_by_its_own_offset_at_every_site() -> None:
    offsets = torch.tensor([0.5, 0.0, -2.0])
    for shape in [(4, 3), (4, 3, 2, 5)]:
        logits = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        moved = Aligned(nn.Identity(), offsets.double())(logits)
        assert moved.dtype == torch.float32
        for number, offset in enumerate(offsets.tolist()):
            assert torch.equal(moved[:, number], logits[:, number] + offset)
