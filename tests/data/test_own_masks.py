"""One's own images with masks, from Python."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset

from dmt.config_files import load_config
from dmt.data.draw import split_masks
from dmt.data.own import masked_data_set
from dmt.data.torch_masks import to_mask
from dmt.errors import DataError
from dmt.run import run
from tiny_runs import TINY_MASK_NETWORKS, masked_images, tiny_mask_config

SIZES = ((10, 12),)


def bands(count: int, *, seed: int = 1, sizes: Any = SIZES) -> tuple[list[np.ndarray], list[Any]]:
    """Images `(H, W, 3)` and masks `(H, W)` of `masked_images`."""
    source = masked_images(count, seed=seed, sizes=sizes)
    return [one.permute(1, 2, 0).numpy() for one in source.pixels], [one.numpy() for one in source.masks]


class Pairs(Dataset[Any]):
    """A torch data set of (image, mask)."""

    def __init__(self, images: list[np.ndarray], masks: list[Any]) -> None:
        self.images, self.masks = images, masks

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Any:
        return torch.from_numpy(self.images[index]).permute(2, 0, 1), self.masks[index]


def hide(masks: list[Any]) -> list[Any]:
    """Four masks stay; the others are missing in either way."""
    return [*masks[:4], *[None if i % 2 else np.full_like(mask, 255) for i, mask in enumerate(masks[4:])]]


def wrap(**parts: Any) -> Any:
    options = {name: parts.pop(name) for name in ("class_names", "ignore_index", "image_size") if name in parts}
    return masked_data_set(parts, name="bands", **{"image_size": None} | options)


def test_items_without_a_mask_and_with_an_ignored_one_are_unlabeled() -> None:
    images, masks = bands(8)
    data = wrap(train=Pairs(images, hide(masks)))
    assert data.train.known().tolist() == [True] * 4 + [False] * 4
    assert data.class_names == ("0", "1", "2")
    config = load_config(tiny_mask_config(data={"name": "bands"}))
    split = split_masks(config, data)
    assert sorted(split.labeled) == [0, 1, 2, 3]
    assert split.unlabeled == (4, 5, 6, 7)


def test_images_of_several_sizes_keep_them_and_are_brought_to_one_where_asked() -> None:
    images, masks = bands(4, sizes=((10, 12), (9, 14)))
    own = wrap(train=Pairs(images, masks))
    assert [own.train.size(i) for i in range(4)] == [(10, 12), (9, 14)] * 2
    assert torch.equal(own.train.labels([1])[0], torch.from_numpy(masks[1]))
    sized = wrap(train=Pairs(images, masks), image_size=(20, 24))
    assert sized.train.images(range(4)).shape == (4, 3, 20, 24)
    assert torch.equal(sized.train.labels([0])[0, ::2, ::2], torch.from_numpy(masks[0])), "each pixel four times"


@pytest.mark.parametrize(
    "form",
    [
        lambda mask: mask.astype(np.uint8),
        torch.from_numpy,
        lambda mask: torch.from_numpy(mask)[None],
        lambda mask: Image.fromarray(mask.astype(np.uint8)),
        lambda mask: mask.tolist(),
    ],
)
def test_masks_may_be_arrays_tensors_and_pictures(form: Any) -> None:
    images, masks = bands(2)
    data = wrap(train=Pairs(images, [form(mask) for mask in masks]))
    assert torch.equal(data.train.labels([0, 1]), torch.from_numpy(np.stack(masks)))


def test_another_value_may_be_ignored() -> None:
    images, masks = bands(2)
    data = wrap(train=(images, [np.where(mask == 255, -1, mask) for mask in masks]), ignore_index=-1)
    assert torch.equal(data.train.labels([0])[0], torch.from_numpy(masks[0]))


def test_masks_of_the_unlabeled_part_are_never_read() -> None:
    images, masks = bands(4)
    data = wrap(labeled=(images[:2], masks[:2]), unlabeled=(images[2:], ["unreadable", "unreadable"]))
    assert data.train.known().tolist() == [True, True, False, False]


IMAGES, MASKS = bands(3)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"train": (IMAGES, [None] * 3)}, "No image of the data sets has a mask"),
        ({"train": (IMAGES, [np.zeros((10, 12), int)] * 3)}, "All masks are of one class"),
        ({"train": (IMAGES, [MASKS[0][:9]] * 3)}, r"Image 0 of 'train' is 10 x 12 .* mask is 9 x 12"),
        ({"train": (IMAGES, [MASKS[0] * 300] * 3)}, "holds the value .* classes are 0 .. 254, and 255 is ignored"),
        ({"train": (IMAGES, [MASKS[0] / 2] * 3)}, "float64 .* whole numbers"),
        ({"train": (IMAGES, ["mask.png"] * 3)}, "is a str; an array"),
        ({"train": (IMAGES, MASKS), "test": (IMAGES, [None] * 3)}, "Item 0 of `test` has no mask"),
        ({"train": (IMAGES, MASKS), "test": (IMAGES, [np.full((10, 12), 7)] * 3)}, "holds the class 7; .* 0 .. 2"),
        ({"train": (IMAGES, MASKS), "class_names": ["a", "b"]}, "holds the class 2; the classes are 0 .. 1"),
        ({"train": (IMAGES, MASKS), "test": (np.zeros((3, 10, 12), np.uint8), MASKS)}, "have 1 channels"),
    ],
)
def test_what_does_not_fit_is_refused(parts: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        wrap(**parts)


def test_a_run_on_arrays_is_one_on_a_data_set_to_the_bit(tmp_path: Path) -> None:
    images, masks = bands(10)
    given = hide(masks)
    config = tiny_mask_config(
        data={"name": "bands"}, rounds={"top_fractions": [1.0]}, duration={"steps": 2}, supervised={"steps": 4}
    )
    results = []
    for name, train in (("arrays", (np.stack(images), given)), ("torch", Pairs(images, given))):
        results.append(
            run(config, {"train": train, "test": (images, masks)}, TINY_MASK_NETWORKS, run_dir=tmp_path / name)
        )
    assert results[0]["final"] == results[1]["final"]
    assert (results[0]["num_labeled"], results[0]["num_unlabeled"], results[0]["num_test"]) == (4, 6, 10)
    weights = [(tmp_path / name / "supervised" / "last.safetensors").read_bytes() for name in ("arrays", "torch")]
    assert weights[0] == weights[1]


def test_a_run_without_a_test_part_reports_no_figure(tmp_path: Path) -> None:
    images, masks = bands(8)
    config = tiny_mask_config(
        data={"name": "bands"}, rounds={"top_fractions": [1.0]}, duration={"steps": 2}, supervised={"steps": 2}
    )
    result = run(config, {"train": (images, hide(masks))}, TINY_MASK_NETWORKS, run_dir=tmp_path / "run")
    assert result["num_test"] == 0
    assert result["final"] == {}
    assert "best_round" not in result
    assert all("mean_iou" not in row for row in result["rounds"])


def test_255_is_a_wrong_value_where_another_one_is_ignored() -> None:
    with pytest.raises(DataError, match=r"x holds the value 255; classes are 0 \.\. 254, and -1 is ignored"):
        to_mask(np.array([[0, 255], [1, -1]]), ignore_index=-1, where="x")
    assert to_mask(np.array([[0, 1], [1, -1]]), ignore_index=-1, where="x").tolist() == [[0, 1], [1, 255]]
    assert to_mask(np.array([[0, 255]]), ignore_index=255, where="x").tolist() == [[0, 255]]
