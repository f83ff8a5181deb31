"""The exponential moving average of a network's weights: the model that labels and is evaluated (spec, section 1.6)."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from dmt.errors import ConfigError
from dmt.models.network import Network
from dmt.models.weights import set_state, state_of

_Tensors = tuple[Tensor, ...] | list[Tensor]


class Ema:
    """A shadow network `s <- d_t s + (1 - d_t) theta`, which starts as a copy of `network`.

    `d_t` is `decay`, with `warmup` at most (1 + t) / (10 + t), where t counts the updates before this one. Float
    buffers (batch statistics) are averaged as well, integer buffers copied.

    Raises:
        ConfigError: `decay` is not in [0, 1).
    """

    def __init__(self, network: Network, *, decay: float, warmup: bool) -> None:
        if not 0 <= decay < 1:
            raise ConfigError(f"ema.decay is {decay}; it must be at least 0 and below 1.")
        self._live = network
        self._decay = decay
        self._warmup = warmup
        self._averaged = AveragedModel(network, multi_avg_fn=self._average, use_buffers=True)
        self._averaged.n_averaged.fill_(1)  # at 0 the first update would copy the live weights instead of averaging
        self._averaged.requires_grad_(False).eval()
        self.num_updates = 0

    @property
    def network(self) -> Network:
        """The averaged network, in eval mode and without gradients."""
        assert isinstance(self._averaged.module, Network)
        return self._averaged.module

    def update(self) -> None:
        """Take in the live weights; call it after every optimizer step."""
        self._averaged.update_parameters(self._live)
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

    # The count comes from Python, not from the library's tensor: reading that on a GPU would stall every step.
    @torch.no_grad()
    def _average(self, shadow: _Tensors, live: _Tensors, _: Tensor | int) -> None:
        """One multi-tensor operation for tensors of one device and data type."""
        if shadow[0].is_floating_point():
            torch._foreach_lerp_(shadow, live, 1 - self._next_decay())
        else:
            torch._foreach_copy_(shadow, live)
