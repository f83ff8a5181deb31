"""Networks are tried before any training, at the sizes that they are going to see."""

from typing import Any

from torch import Tensor, nn

from dmt.config_files import load_config
from dmt.data.images import DataSet
from dmt.methods import build_method
from dmt.networks import network_builder
from tiny_runs import NUM_CLASSES, tiny_mask_config, tiny_masks


def sizes_tried(data: DataSet | None = None, **changes: Any) -> set[tuple[int, ...]]:
    """Heights and widths that a network for masks is tried on."""
    seen, config = set(), load_config(tiny_mask_config(**changes))

    class Watching(nn.Conv2d):
        def forward(self, images: Tensor) -> Tensor:
            seen.add(tuple(images.shape[2:]))
            return super().forward(images)

    models = dict.fromkeys("ab", lambda: Watching(3, NUM_CLASSES, 1))
    network_builder(config, data or tiny_masks(), models, plan=build_method(config).plan())
    return seen


def test_the_try_sees_no_more_than_the_window() -> None:
    assert tiny_masks().train.size(0) == (10, 12)
    seen = sizes_tried(rounds={"window": [6, 99]}, crop={"size": [5, 5]})
    assert (6, 12) in seen
    assert all(height <= 6 and width <= 12 for height, width in seen)
