"""What becomes of losses and weights that are NaN or infinite: a step is left out, and too many end the run.

The engine leaves out every step whose gradient is not finite, so weights stay as they are. BatchNorm's running
statistics do not: the forward pass has already taken the bad batch in.
"""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from dmt.checkpoint import Trainee
from dmt.engine import Engine
from dmt.errors import NonFiniteError

MAX_SKIPPED = 10
"""Steps in a row that may be left out; one more is no accident."""


class FiniteGuard:
    """Looks after the networks of one stage, a window of steps at a time.

    Args:
        trainees: they must be finite as they are.
        title: the stage in words, for errors.
        engine: all processes look together, so that all end, or none.
    """

    def __init__(self, trainees: Mapping[str, Trainee], *, title: str, engine: Engine) -> None:
        networks = [network for one in trainees.values() for network in {one.network, one.reported}]
        self._weights = [weight for network in networks for weight in network.parameters()]
        self._statistics = [
            buffer for network in networks for buffer in network.buffers() if buffer.is_floating_point()
        ]
        self._title, self._engine, self._in_a_row = title, engine, 0
        self._good = self._copies()

    def look(self, losses: Sequence[float], *, done: int) -> int:
        """Take note of a window's losses, and of how many steps were left out.

        Args:
            losses: one a step.
            done: steps of the stage so far, these included.

        Raises:
            NonFiniteError: too many in a row.
        """
        seen = self._engine.gather([[not math.isfinite(loss) for loss in losses]])
        broken = [any(of_processes) for of_processes in zip(*seen, strict=True)]
        skipped = max(self._engine.take_skipped(), sum(broken))
        if skipped == len(losses):  # a gradient may be NaN where the loss is not
            broken = [True] * skipped
        for step, is_broken in enumerate(broken, start=done - len(losses)):
            self._in_a_row = self._in_a_row + 1 if is_broken else 0
            if self._in_a_row > MAX_SKIPPED:
                raise self._error(
                    f"The loss or its gradient is NaN or infinite in {self._in_a_row} steps in a row, up to step {step}"
                )
        if skipped:
            self._mend()
        self._good = self._copies()
        return skipped

    def check_weights(self, *, done: int) -> None:
        """Refuse weights that went bad by themselves, with every loss finite; they must not be written down.

        Raises:
            NonFiniteError: when a weight is NaN or infinite.
        """
        finite = all(bool(weight.isfinite().all()) for weight in self._weights)
        if not all(self._engine.gather([finite])):
            raise self._error(f"A weight is NaN or infinite after step {done - 1}")

    def _copies(self) -> list[Tensor]:
        return [statistic.clone() for statistic in self._statistics]

    @torch.no_grad()
    def _mend(self) -> None:
        """Statistics of before the window for those that took in a bad batch; training itself does not read them."""
        for statistic, good in zip(self._statistics, self._good, strict=True):
            if not statistic.isfinite().all():
                statistic.copy_(good)

    def _error(self, what: str) -> NonFiniteError:
        return NonFiniteError(
            f"{what}, {self._title}. Lower optimizer.lr, or use precision=fp32, in a new run folder; what this one has "
            "finished is kept."
        )
