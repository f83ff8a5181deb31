"""A small multilayer perceptron for tables: each feature is a channel of an image of one pixel."""

from itertools import pairwise

from torch import nn

WIDTHS = (128, 128)
"""Units of the hidden layers."""


def small_mlp(*, num_classes: int, in_features: int) -> nn.Sequential:
    """Linear-BN-ReLU layers of `WIDTHS` and a linear classifier: `(N, in_features, 1, 1)` -> logits `(N, C)`."""
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in pairwise((in_features, *WIDTHS)):
        layers += [nn.Linear(before, after, bias=False), nn.BatchNorm1d(after), nn.ReLU(inplace=True)]
    network = nn.Sequential(*layers, nn.Linear(WIDTHS[-1], num_classes))
    for module in network[:-1]:
        if isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    return network
