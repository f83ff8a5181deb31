"""The same images through every reader: the same split, the same first batch, the same result."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.utils.data import Dataset

from data.tiny_photos import CLASSES, LAYOUTS, photos
from dmt.config_files import load_config
from dmt.data.catalog import load_dataset
from dmt.data.draw import split_classes
from dmt.run import run


def config_of(data: dict[str, Any]) -> dict[str, Any]:
    return {
        "task": "classification",
        "data": data,
        "validation": {"source": "none"},
        "rounds": {"top_fractions": [0.5]},
        "duration": {"steps": 6},
        "supervised": {"steps": 6},
        "batch": {"size": 8, "labeled": 4},
        "augment": "none",
        "precision": "fp32",
    }


class Photos(Dataset[Any]):
    """The same images for the way in through Python."""

    def __init__(self, part: str) -> None:
        self.members = [one for one in photos() if one.part == part]

    def __len__(self) -> int:
        return len(self.members)

    def __getitem__(self, index: int) -> Any:
        one = self.members[index]
        image = torch.from_numpy(one.pixels).permute(2, 0, 1)
        return image if one.part == "unlabeled" else (image, CLASSES.index(one.label))


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("torch") / "run"
    run(
        config_of({"name": "photos"}),
        {part: Photos(part) for part in ("labeled", "unlabeled", "test")},
        run_dir=folder,
    )
    return folder


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "rounds" / "1" / "a" / "ema.safetensors")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_split_and_images(layout: str, tmp_path: Path) -> None:
    config = load_config(config_of(LAYOUTS[layout](tmp_path / "data")))
    data = load_dataset(config.data, task="classification")
    split = split_classes(config, data)
    assert data.class_names == CLASSES
    of_part = {part: [one for one in photos() if one.part == part] for part in ("labeled", "unlabeled", "test")}
    for part, indices in (("labeled", sorted(split.labeled)), ("unlabeled", split.unlabeled)):
        wanted = np.stack([one.pixels for one in of_part[part]]).transpose(0, 3, 1, 2)
        assert np.array_equal(data.train.images(indices).numpy(), wanted), part
    assert data.train.labels(sorted(split.labeled)).tolist() == [CLASSES.index(p.label) for p in of_part["labeled"]]
    assert data.train.labels(split.unlabeled).tolist() == [-1] * len(split.unlabeled), "labels that must not be there"
    assert data.test is not None
    assert len(data.test) == len(of_part["test"])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_weights_to_the_bit(layout: str, tmp_path: Path, expected: Path) -> None:
    found = run(config_of(LAYOUTS[layout](tmp_path / "data")), run_dir=tmp_path / "run")
    known = json.loads((expected / "result.json").read_text())
    for key in ("num_labeled", "num_unlabeled", "num_test"):
        assert found[key] == known[key]
    assert found["final"]["accuracy"] == known["final"]["accuracy"]
    ours, theirs = weights_of(tmp_path / "run"), weights_of(expected)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
