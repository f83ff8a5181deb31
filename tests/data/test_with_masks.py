import numpy as np
import pytest
import torch

from dmt.data.with_masks import LooseImages, WithMasks
from dmt.errors import DataError

PIXELS = [torch.full((1, height, 4), height, dtype=torch.uint8) for height in (3, 5, 3)]


def test_images_of_several_sizes() -> None:
    images = LooseImages(PIXELS, "train")
    assert [images.size(index) for index in range(len(images))] == [(3, 4), (5, 4), (3, 4)]
    assert images.images([0, 2]).shape == (2, 1, 3, 4)
    assert not images.known().any()
    with pytest.raises(DataError, match="'train' have no labels"):
        images.labels([0])


def test_masks_beside_images() -> None:
    masks = [torch.ones(3, 4, dtype=torch.uint8), None, torch.full((3, 4), 255, dtype=torch.uint8)]
    images = WithMasks(LooseImages(PIXELS, "train"), masks)
    np.testing.assert_array_equal(images.known(), [True, False, True])
    assert images.labels([0, 2])[:, 0, 0].tolist() == [1, 255]
    assert images.labels([0]).dtype == torch.int64
    assert (images.key(1), images.size(1)) == ("train/00001", (5, 4))
    assert torch.equal(images.images([1])[0], PIXELS[1])
    with pytest.raises(DataError, match="train/00001 has no mask"):
        images.labels([0, 1])
