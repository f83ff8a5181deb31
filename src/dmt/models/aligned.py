"""A network whose classes are made likelier or less likely, wherever it looks."""

from torch import Tensor, nn


class Aligned(nn.Module):
    """A network's logits, each class's moved by the same amount at every site.

    Args:
        network: images -> logits `(N, C, *S)`.
        offsets: `(C,)`, added to the logits.
    """

    offsets: Tensor

    def __init__(self, network: nn.Module, offsets: Tensor) -> None:
        super().__init__()
        assert offsets.dim() == 1
        self.network = network
        self.register_buffer("offsets", offsets.float())

    def forward(self, images: Tensor) -> Tensor:
        """Logits of the network's shape."""
        logits: Tensor = self.network(images)
        return logits + self.offsets.to(logits.device).view(-1, *[1] * (logits.dim() - 2))
