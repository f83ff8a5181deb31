import itertools

import pytest
import torch
from torch import Tensor, nn

from dmt.models.ensemble import Ensemble
from dmt.models.label_views import LabelViews
from dmt.models.windowed import Windowed, window_starts
from dmt.selection import confidence_code


class Corners(nn.Module):
    """Logits that hang on where in the window a pixel is, and on what it is."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[tuple[int, ...]] = []

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        self.sizes.append((height, width))
        down, across = torch.arange(height)[:, None] * 0.7, torch.arange(width)[None] * 0.3
        return torch.stack([images[:, 0] * down, images[:, 0] - across, images[:, 0] + down - across], dim=1)


def some_images(height: int, width: int, count: int = 2) -> Tensor:
    return torch.rand(count, 1, height, width, generator=torch.Generator().manual_seed(height * width))


@pytest.mark.parametrize(("height", "width"), [(6, 8), (5, 8), (1, 1)])
def test_an_image_that_fits_into_a_window_is_seen_as_it_is(height: int, width: int) -> None:
    images = some_images(height, width)
    assert torch.equal(Windowed(Corners(), (6, 8))(images), Corners()(images))


def test_small_areas_are_seen_whole_where_asked() -> None:
    images = some_images(9, 9)
    assert torch.equal(Windowed(Corners(), (4, 4), from_area=81)(images), Corners()(images))
    assert not torch.equal(Windowed(Corners(), (4, 4), from_area=80)(images), Corners()(images))


@pytest.mark.parametrize(
    ("size", "window", "overlap"), [((7, 9), (4, 5), 0.25), ((11, 5), (4, 8), 0.5), ((3, 13), (2, 4), 0.0)]
)
def test_the_mean_over_all_windows_that_show_a_pixel(size, window, overlap) -> None:
    images = some_images(*size)
    found = Windowed(Corners(), window, overlap=overlap)(images).exp()
    tops, lefts = (window_starts(length, side, overlap=overlap) for length, side in zip(size, window, strict=True))
    for number, row, column in itertools.product(range(2), range(size[0]), range(size[1])):
        answers = []
        for top, left in itertools.product(tops, lefts):
            bottom, right = min(top + window[0], size[0]), min(left + window[1], size[1])
            if top <= row < bottom and left <= column < right:
                seen = Corners()(images[number : number + 1, :, top:bottom, left:right]).softmax(dim=1)
                answers.append(seen[0, :, row - top, column - left])
        assert torch.allclose(found[number, :, row, column], torch.stack(answers).mean(dim=0), atol=1e-6)


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("window", [1, 2, 7, 64])
def test_windows_cover_everything_and_overlap_enough(window: int, overlap: float) -> None:
    for length in range(1, 200):
        starts = window_starts(length, window, overlap=overlap)
        assert starts[0] == 0
        assert starts[-1] == max(0, length - window)
        steps = [later - earlier for earlier, later in itertools.pairwise(starts)]
        assert all(1 <= step <= max(1, window * (1 - overlap)) for step in steps), (length, starts)


def test_all_windows_are_of_one_size_and_the_answer_repeats() -> None:
    network, images = Corners(), some_images(10, 17)
    first, second = (Windowed(network, (4, 6))(images) for _ in range(2))
    assert set(network.sizes) == {(4, 6)}
    assert torch.equal(first, second)


def test_confidence_far_beyond_what_a_float_can_tell_from_1_is_kept() -> None:
    class Constant(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            logits = torch.tensor([60.0, 0.0, 10.0]).reshape(1, 3, 1, 1)
            return logits.expand(len(images), 3, *images.shape[-2:])

    images = torch.zeros(1, 1, 5, 9)
    plain, windowed = (confidence_code(net(images)) for net in (Constant(), Windowed(Constant(), (3, 3))))
    assert (plain - windowed).abs().max() <= 1
    assert plain.min() > 50_000


def test_windows_of_mirror_images() -> None:
    images = some_images(4, 9)
    both = Windowed(LabelViews(Corners()), (4, 5))(images).exp()
    assert torch.allclose(both.sum(dim=1), torch.ones(2, 4, 9), atol=1e-6)
    assert torch.allclose(both[..., :2], LabelViews(Corners())(images[..., :5]).exp()[..., :2], atol=1e-6)


@pytest.mark.parametrize("dense", [True, False])
def test_an_ensemble_is_the_mean_of_its_networks(dense: bool) -> None:
    networks = [nn.Conv2d(1, 3, 3, padding=1) for _ in range(3)]
    images = some_images(4, 5)
    if not dense:
        networks = [nn.Sequential(network, nn.AdaptiveAvgPool2d(1), nn.Flatten()) for network in networks]
    found = Ensemble(networks)(images).exp()
    expected = sum(network(images).softmax(dim=1) for network in networks) / 3
    assert torch.allclose(found, expected, atol=1e-6)
