"""The exponential moving average of a network's weights: the model that labels and is evaluated (spec, section 1.6)."""

from collections.abc import Mapping
from copy import deepcopy
from itertools import chain

import torch
from torch import Tensor

from dmt.errors import ConfigError
from dmt.models.network import Network
from dmt.models.weights import set_state, state_of


class Ema:
    """A shadow network `s <- d_t s + (1 - d_t) theta`, which starts as a copy of `network`.

    `d_t` is `decay`, with `warmup` at most (1 + t) / (10 + t), where t counts the updates before this one. Float
    buffers (batch statistics) are averaged as well, integer buffers copied.

    The network must be where it will be trained: its tensors are taken note of here.

    Raises:
        ConfigError: `decay` is not in [0, 1).
    """

    def __init__(self, network: Network, *, decay: float, warmup: bool) -> None:
        if not 0 <= decay < 1:
            raise ConfigError(f"ema.decay is {decay}; it must be at least 0 and below 1.")
        self._decay = decay
        self._warmup = warmup
        self.network = deepcopy(network).requires_grad_(False).eval()
        self.num_updates = 0
        # Listed once: walking the modules in every step costs more than the average itself.
        pairs = list(zip(_tensors(self.network), _tensors(network), strict=True))
        self._floats = [pair for pair in pairs if pair[0].is_floating_point()]
        self._counts = [pair for pair in pairs if not pair[0].is_floating_point()]

    @torch.no_grad()
    def update(self) -> None:
        """Take in the live weights; call it after every optimizer step.

        A multi-tensor operation for all floats. torch's AveragedModel does the same, but sends a count to the GPU and
        waits for it, in every step.
        """
        shadow, live = zip(*self._floats, strict=True)
        torch._foreach_lerp_(shadow, live, 1 - self._next_decay())
        for own, other in self._counts:
            own.copy_(other)
        self.num_updates += 1

    def state_dict(self) -> dict[str, Tensor]:
        """The averaged weights as a network's own file holds them; store `num_updates` beside them."""
        return state_of(self.network)

    def load_state_dict(self, state: Mapping[str, Tensor], *, num_updates: int, origin: str = "checkpoint") -> None:
        """Go on from stored weights, exactly; `origin` is the file to name in an error.

        Raises:
            CheckpointError: the weights do not fit the network.
        """
        set_state(self.network, state, origin=origin)
        self.num_updates = num_updates

    def _next_decay(self) -> float:
        """d_t for the coming update; early on the shadow must forget the random initial weights quickly."""
        if not self._warmup:
            return self._decay
        return min(self._decay, (1 + self.num_updates) / (10 + self.num_updates))


def _tensors(network: Network) -> list[Tensor]:
    """Parameters and buffers."""
    return [tensor.detach() for tensor in chain(network.parameters(), network.buffers())]
