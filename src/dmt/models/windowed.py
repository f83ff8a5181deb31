"""A network that looks at a large image through windows that overlap."""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

OVERLAP = 0.25
"""Share of a window that the next one covers as well, unless told otherwise."""


LARGE_AREA = 2048 * 2048
LARGE_WINDOW = (1024, 1024)
"""What images of more pixels than that are seen through where nobody says otherwise: memory is finite."""


class Windowed(nn.Module):
    """The mean probabilities of a network for maps over all windows that show a pixel, as logits.

    Windows lie as evenly as they can, the first and the last one at the image's borders, so that every pixel is seen
    and none is padded. Where an image is no larger than a window, the network looks at all of it, as without this.

    Args:
        network: images `(N, channels, H, W)` -> logits `(N, C, H, W)`.
        window: height and width, >= 1.
        overlap: least share of a window's side that two neighbors have in common, in [0, 1).
        from_area: images of at most so many pixels are looked at whole, however large a window is.
    """

    def __init__(
        self, network: nn.Module, window: tuple[int, int], *, overlap: float = OVERLAP, from_area: int = 0
    ) -> None:
        super().__init__()
        assert min(window) >= 1
        assert 0 <= overlap < 1
        self.network = network
        self.window = window
        self.overlap = overlap
        self.from_area = from_area

    def forward(self, images: Tensor) -> Tensor:
        """Log-probabilities `(N, C, H, W)`, fp32; the network's own logits where one window covers everything."""
        height, width = images.shape[-2:]
        if (height <= self.window[0] and width <= self.window[1]) or height * width <= self.from_area:
            logits: Tensor = self.network(images)
            return logits
        total: Tensor | None = None
        count = images.new_zeros(height, width, dtype=torch.float32)
        for rows, columns in self._places(height, width):
            seen = self.network(images[..., rows, columns]).float().log_softmax(dim=1)
            if total is None:
                total = seen.new_full((*seen.shape[:2], height, width), -math.inf)
            # Added as logarithms: a probability near 1 is told by how small the others are.
            total[..., rows, columns] = torch.logaddexp(total[..., rows, columns], seen)
            count[rows, columns] += 1
        assert total is not None
        return total - count.log()

    def _places(self, height: int, width: int) -> Iterator[tuple[slice, slice]]:
        """Rows and columns of every window, from the top left one to the bottom right one."""
        for top in window_starts(height, self.window[0], overlap=self.overlap):
            for left in window_starts(width, self.window[1], overlap=self.overlap):
                yield slice(top, min(top + self.window[0], height)), slice(left, min(left + self.window[1], width))


def windowed(network: nn.Module, window: Sequence[int] | None, *, overlap: float = OVERLAP) -> nn.Module:
    """A network for maps through windows of so many rows and columns, as `rounds.window` has them.

    None = the whole image, but for the very large ones.
    """
    if window is not None:
        return Windowed(network, (window[0], window[1]), overlap=overlap)
    return Windowed(network, LARGE_WINDOW, overlap=overlap, from_area=LARGE_AREA)


def seen_size(size: tuple[int, int], window: Sequence[int] | None) -> tuple[int, int]:
    """Height and width of what a network that is `windowed` meets at once of an image."""
    if window is None and size[0] * size[1] <= LARGE_AREA:
        return size
    height, width = window or LARGE_WINDOW
    return min(height, size[0]), min(width, size[1])


def window_starts(length: int, window: int, *, overlap: float) -> list[int]:
    """Where windows begin that cover 0 .. length - 1 and overlap by at least a share of themselves."""
    if length <= window:
        return [0]
    longest_step = max(1, math.floor(window * (1 - overlap)))
    last, num_steps = length - window, math.ceil((length - window) / longest_step)
    # In whole numbers: rounding up or down must not hang on how a fraction is stored.
    return [last * number // num_steps for number in range(num_steps + 1)]
