"""A file that would run a command when it is unpickled is never unpickled, whatever it is named."""

import contextlib
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from dmt.checkpoint import load_checkpoint
from dmt.config_files import load_config
from dmt.data.image_files import read_image
from dmt.data.mask_coding import plain_coding
from dmt.data.pixels import PixelRule
from dmt.data.pseudo_masks import read_masks
from dmt.data.readers import read_cifar_batch, read_cifar_class_names, read_idx
from dmt.data.split_files import read_lines
from dmt.engine import Engine
from dmt.errors import DMTError
from dmt.files import read_json
from dmt.models.bundle import read_bundle
from dmt.models.network import Network, Preprocessing
from dmt.models.weights import load_weights, read_metadata
from dmt.scores import load_scores


class Attack:
    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch '{self._mark}'",)


def network() -> Network:
    backbone = nn.Linear(2, 2)
    return Network(backbone, Preprocessing(mean=(0.5,), std=(0.5,)), num_classes=2, name="tiny")


READERS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "checkpoint": ("x.safetensors", lambda path: load_checkpoint(path, {}, engine=Engine("fp32"), config_hash="")),
    "weights": ("x.safetensors", lambda path: load_weights(network(), path, allow_missing=False)),
    "metadata": ("x.safetensors", read_metadata),
    "scores": ("x.safetensors", load_scores),
    "CIFAR": ("data_batch_1", read_cifar_batch),
    "CIFAR's class names": ("batches.meta", read_cifar_class_names),
    "IDX": ("train-images-idx3-ubyte", read_idx),
    "image": ("x.jpg", read_image),
    "mask": ("x.png", plain_coding(("a", "b")).read),
    "pseudo mask": ("labels/x.png", lambda path: read_masks(path.parents[1], "x")),
    "config": ("x.yaml", load_config),
    "list": ("labeled.txt", read_lines),
    "JSON": ("x.json", read_json),
    "bundle": ("model.json", lambda path: read_bundle(path.parent)),
    "array": ("x.npy", PixelRule(channels=1).read),
}
"""All that reads a file from outside: how it is named, and who reads it."""


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_nothing_is_executed(tmp_path: Path, reader: str, protocol: int) -> None:
    name, read = READERS[reader]
    mark = tmp_path / "executed"
    content = pickle.dumps(Attack(mark), protocol)
    pickle.loads(content)
    assert mark.exists(), "the attack works where it is let"
    mark.unlink()
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    with contextlib.suppress(DMTError):
        read(path)
    assert not mark.exists()
