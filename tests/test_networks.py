"""Networks are tried before any training, at the sizes that they are going to see."""

from pathlib import Path
from typing import Any

import pytest
from torch import Tensor, nn

from dmt.config_files import load_config
from dmt.data.images import DataSet
from dmt.errors import ConfigError
from dmt.methods import build_method
from dmt.networks import network_builder
from dmt.run import run
from tiny_runs import NUM_CLASSES, TINY_NETWORKS, tiny_config, tiny_mask_config, tiny_masks, tiny_parts


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


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {(10, 12)}),
        ({"crop": {"size": [8, 7]}}, {(10, 12), (8, 7)}),
        ({"rounds": {"label_views": "mirrored"}}, {(10, 12)}),
        ({"rounds": {"label_views": "multiscale"}}, {(10, 12), (8, 9), (15, 18)}),
        ({"rounds": {"label_views": "multiscale", "window": [4, 99]}}, {(4, 12), (3, 9), (6, 18), (10, 12)}),
        ({"rounds": {"label_views": "multiscale"}, "method": "supervised"}, {(10, 12)}),
    ],
    ids=str,
)
def test_each_size_that_the_config_asks_for_is_tried(changes: dict[str, Any], expected: set[tuple[int, int]]) -> None:
    assert sizes_tried(**{"crop": {}} | changes) == expected


def one_size(height: int, width: int) -> nn.Module:
    """A network for masks that takes images of one size, as a vision transformer does."""

    class OneSize(nn.Conv2d):
        def forward(self, images: Tensor) -> Tensor:
            assert images.shape[2:] == (height, width), f"height {images.shape[2]} is not {height}"
            return super().forward(images)

    return OneSize(3, NUM_CLASSES, 1)


@pytest.mark.parametrize(
    ("changes", "found", "setting"),
    [
        ({"crop": {"size": [8, 7]}}, "8x7", r"crop\.size=\[8, 7\]"),
        ({"rounds": {"window": [6, 6]}, "crop": {}}, "6x6", r"rounds\.window=\[6, 6\]"),
        ({"rounds": {"label_views": "multiscale"}, "crop": {}}, "8x9", r"rounds\.label_views=multiscale"),
    ],
    ids=str,
)
def test_a_size_that_does_not_fit_is_told_with_the_setting_that_asks_for_it(
    changes: dict[str, Any], found: str, setting: str
) -> None:
    config = load_config(tiny_mask_config(**changes))
    models = dict.fromkeys("ab", lambda: one_size(10, 12))
    words = rf"images of {found} pixels, as {setting} asks for, .*another network or {setting.partition('=')[0]}\."
    with pytest.raises(ConfigError, match=words):
        network_builder(config, tiny_masks(), models, plan=build_method(config).plan())


def test_a_classifier_of_one_size_is_refused_before_training(tmp_path: Path) -> None:
    config = tiny_config(rounds={"top_fractions": [1.0], "label_views": "multiscale"})
    with pytest.raises(ConfigError, match=r"images of 6x6 pixels, as rounds\.label_views=multiscale asks for"):
        run(config, tiny_parts(), TINY_NETWORKS, run_dir=tmp_path / "run")
    assert not (tmp_path / "run" / "plan.json").exists()
