"""Random damage to everything that is read: a value, or one of our errors, and never anything else."""

import contextlib
import io
import json
import pickle
import struct
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tifffile
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pyarrow import parquet
from safetensors.torch import save
from torch import nn

from dmt.config import Config
from dmt.config_files import dump_config, load_config
from dmt.data.catalog import load_dataset
from dmt.data.image_files import read_image
from dmt.data.manifest import read_manifest
from dmt.data.mask_coding import plain_coding
from dmt.data.pixels import PixelRule
from dmt.data.pseudo_labels import Provenance, check_manifest
from dmt.data.readers import read_cifar_batch, read_cifar_class_names, read_idx
from dmt.data.shards import shard_images
from dmt.data.split_files import read_lines
from dmt.errors import ConfigError, DMTError
from dmt.files import read_json
from dmt.models.network import Network, Preprocessing
from dmt.models.weights import load_weights
from dmt.scores import load_scores

bounded = settings(max_examples=150, deadline=None, derandomize=True)

Damage = list[tuple[int, int, bytes]]
DAMAGE = st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 40), st.binary(max_size=12)), min_size=1, max_size=4)
"""Where, how many bytes are taken out, and what is put there."""


def damaged(content: bytes, damage: Damage) -> bytes:
    for place, length, instead in damage:
        start = place % (len(content) + 1)
        content = content[:start] + instead + content[start + length :]
    return content


def _png(array: np.ndarray, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind)
    return buffer.getvalue()


PIXELS = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
MANIFEST = {"format": 1, "num_images": 0, "sha256": {}, "teacher": "a", "teacher_hash": "b", "config_hash": "c"}


def _network() -> Network:
    return Network(nn.Linear(2, 2), Preprocessing(mean=(0.5,), std=(0.5,)), num_classes=2, name="tiny")


def _rows_of(path: Path) -> Any:
    return read_manifest(path, allow_outside=False)


def _shapes_of(path: Path) -> Any:
    Image.fromarray(PIXELS).save(path.parent / "x.png")
    data = {"name": "coco", "root": str(path.parent)}
    config = load_config({"task": "segmentation", "data": data})
    return load_dataset(config.data, task="segmentation")


def _parquet() -> bytes:
    buffer = io.BytesIO()
    parquet.write_table(pa.table({"path": ["x.parquet"], "label": ["a"]}), buffer)
    return buffer.getvalue()


def _coco() -> bytes:
    size = {"height": 9, "width": 7}
    shapes = [[[0.0, 0.0, 5.0, 0.0, 5.0, 5.0]], {"size": [9, 7], "counts": [3, 60]}, {"size": [9, 7], "counts": "3l1"}]
    annotations = [{"image_id": 1, "category_id": 3, "segmentation": shape} for shape in shapes]
    images = [{"id": 1, "file_name": "x.png", **size}]
    content = {"images": images, "annotations": annotations, "categories": [{"id": 3, "name": "thing"}]}
    return json.dumps(content).encode()


def _tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        info = tarfile.TarInfo("x.png")
        info.size = len(_png(PIXELS))
        tar.addfile(info, io.BytesIO(_png(PIXELS)))
    return buffer.getvalue()


def _npy() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, PIXELS.astype(np.uint16))
    return buffer.getvalue()


def _tiff() -> bytes:
    buffer = io.BytesIO()
    bands = np.arange(9 * 7 * 5, dtype=np.uint16).reshape(9, 7, 5)
    tifffile.imwrite(buffer, bands, photometric="minisblack", planarconfig="contig", compression="zlib")
    return buffer.getvalue()


READERS: dict[str, tuple[str, bytes, Callable[[Path], Any]]] = {
    "IDX": ("x", struct.pack(">HBB3I", 0, 8, 3, 2, 5, 4) + bytes(40), read_idx),
    "CIFAR": (
        "data_batch_1",
        pickle.dumps({"data": np.zeros((2, 3072), np.uint8), "labels": [0, 9]}, 2),
        read_cifar_batch,
    ),
    "CIFAR's class names": ("batches.meta", pickle.dumps({"label_names": ["a", "b"]}, 2), read_cifar_class_names),
    "PNG": ("x.png", _png(PIXELS), read_image),
    "JPEG": ("x.jpg", _png(PIXELS, "JPEG"), read_image),
    "TIFF": ("x.tif", _png(PIXELS, "TIFF"), read_image),
    "mask": ("x.png", _png(PIXELS[:, :, 0] % 2), plain_coding(("a", "b")).read),
    "weights": (
        "x.safetensors",
        save({"weight": torch.zeros(2, 2), "bias": torch.zeros(2)}, metadata={"dmt": '{"format": 1}'}),
        lambda path: load_weights(_network(), path, allow_missing=False),
    ),
    "scores": (
        "x.safetensors",
        save({f"test/{name}": torch.zeros(2, 2) for name in ("intersections", "unions", "matrix")}),
        load_scores,
    ),
    "manifest": (
        "manifest.json",
        str(MANIFEST).replace("'", '"').encode(),
        lambda path: check_manifest(
            path.parent, Provenance(teacher="a", teacher_hash="b", config_hash="c")
        ),
    ),
    "CSV": ("x.csv", b"path,label,split\nx.csv,a,train\n", _rows_of),
    "JSON lines": ("x.jsonl", b'{"path": "x.jsonl", "label": "a"}\n', _rows_of),
    "Parquet": ("x.parquet", _parquet(), _rows_of),
    "COCO": ("annotations.json", _coco(), _shapes_of),
    "tar": ("x.tar", _tar(), lambda path: [one.open("rb").read() for one in shard_images(path.name, root=path.parent)]),
    "array": ("x.npy", _npy(), PixelRule(value_range=(0, 70_000)).read),
    "bands": ("x.tif", _tiff(), PixelRule(channels=5, value_range=(0, 70_000)).read),
    "JSON": ("x.json", b'{"a": [1, 2.5, null, "b"]}', read_json),
    "list": ("x.txt", "a\nb/c\n\u00e4\n".encode(), read_lines),
    "config": (
        "x.yaml",
        dump_config(Config(task="classification", data={"name": "digits"})).encode(),
        load_config,
    ),
}  # fmt: skip
"""A whole file of each kind, and who reads it."""


DEAR = {"COCO": 40, "bands": 60, "Parquet": 60, "CSV": 60, "JSON lines": 60}
"""How many damaged ones are tried of kinds that take longer to read."""


@pytest.mark.parametrize("reader", READERS)
def test_whole_files_are_read_and_damaged_ones_refused(reader: str) -> None:
    name, content, read = READERS[reader]

    @settings(bounded, max_examples=DEAR.get(reader, bounded.max_examples))
    @given(damage=DAMAGE)
    def fuzz(damage: Damage) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            path.write_bytes(damaged(content, damage))
            with contextlib.suppress(DMTError):
                read(path)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        read(path)
    fuzz()


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
KEYS = [*Config.model_fields, *(f"{key}.{name}" for key in ("data", "optimizer", "rounds") for name in ("name", "lr"))]


@bounded
@given(changes=st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=8), VALUES, max_size=4))
def test_any_mapping_is_a_config_or_a_config_error(changes: dict[str, Any]) -> None:
    base = {"task": "classification", "data": {"name": "digits"}}
    with contextlib.suppress(ConfigError):
        config = load_config({**base, **changes})
        assert load_config(yaml.safe_load(dump_config(config))) == config


@bounded
@given(override=st.text(max_size=30))
def test_any_override_is_a_change_or_a_config_error(override: str) -> None:
    with contextlib.suppress(ConfigError):
        load_config("digits-20", [override])
