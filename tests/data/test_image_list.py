"""Lists of image files, decoded when they are asked for."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dmt.data import pixels
from dmt.data.image_list import ListedImages


def test_each_file_is_asked_for_its_size_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [tmp_path / f"{index}.png" for index in range(3)]
    for index, path in enumerate(paths):
        Image.fromarray(np.zeros((6, 8 + index, 3), dtype=np.uint8)).save(path)
    read, asked = pixels.read_size, []
    monkeypatch.setattr(pixels, "read_size", lambda source, **keys: (asked.append(source), read(source, **keys))[1])
    images = ListedImages(keys=["a", "b", "c"], sources=paths, truth=torch.zeros(3, dtype=torch.int64))
    for _ in range(2):
        assert [images.size(index) for index in range(3)] == [(6, 8), (6, 9), (6, 10)]
    assert asked == paths
