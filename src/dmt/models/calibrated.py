"""A network whose confidence is brought to what it is worth."""

from torch import Tensor, nn


class Calibrated(nn.Module):
    """A network's logits, divided by a temperature: the same classes, surer or less sure.

    Args:
        network: images -> logits `(N, C, *S)`.
        temperature: above 0; above 1 makes less sure.
    """

    def __init__(self, network: nn.Module, temperature: float) -> None:
        super().__init__()
        assert temperature > 0
        self.network = network
        self.temperature = temperature

    def forward(self, images: Tensor) -> Tensor:
        """Logits of the network's shape."""
        logits: Tensor = self.network(images)
        return logits / self.temperature
