"""Decoded images kept in memory, so that a small set is decoded once and not in every pass over it."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from torch import Tensor

DEFAULT_BYTES = 256 * 2**20
"""Of each image set, in each process that loads images: room for 1,500 images of 180x240 with their masks."""


@dataclass
class TensorMemory:
    """The first tensors that are asked for, up to a number of bytes; later ones are made anew each time.

    Nothing is ever thrown out: random passes over a set that is too large hit what is kept just as often.

    Attributes:
        max_bytes: of the tensors that are kept.
    """

    max_bytes: int = DEFAULT_BYTES
    _kept: dict[Hashable, Tensor] = field(default_factory=dict, init=False, repr=False)
    _bytes: int = field(default=0, init=False, repr=False)

    def recall(self, key: Hashable, make: Callable[[], Tensor]) -> Tensor:
        """The tensor of this key, which nobody may write into; `make` is called where it is not kept."""
        if (kept := self._kept.get(key)) is not None:
            return kept
        tensor = make()
        if self._bytes + tensor.nbytes <= self.max_bytes:
            self._kept[key] = tensor
            self._bytes += tensor.nbytes
        return tensor

    def __getstate__(self) -> dict[str, int]:
        """Leave behind what is kept: a process that is started with a copy reads for itself."""
        return {"max_bytes": self.max_bytes}

    def __setstate__(self, state: dict[str, int]) -> None:
        self.__init__(**state)  # type: ignore[misc]
