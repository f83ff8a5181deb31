import contextlib
import gzip
import io
import pickle
import struct
import sys
import types
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from dmt.data.readers import read_cifar_batch, read_cifar_class_names, read_idx
from dmt.errors import DataError


def idx_bytes(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def array() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, 4, 3), dtype=np.uint8)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("shape", [(60,), (5, 4, 3), (0,), (0, 28, 28)])
def test_idx(tmp_path: Path, array: np.ndarray, pack, shape: tuple[int, ...]) -> None:
    array = array.reshape(-1)[: int(np.prod(shape))].reshape(shape)
    path = tmp_path / "x.bin"
    path.write_bytes(pack(idx_bytes(array)))
    found = read_idx(path)
    assert found.dtype == np.uint8
    assert found.shape == shape
    assert np.array_equal(found, array)
    assert found.flags.writeable


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b: b[:-1], "60 bytes.*5 x 4 x 3.*holds 59 bytes|promises 5 x 4 x 3"),
        (lambda b: b + b"x", "60 bytes.*holds more"),
        (lambda b: b[:10], "ends inside its header: 10 bytes of 16"),
        (lambda b: b"", "begins with nothing"),
        (lambda b: b"\x00\x00\x0d" + b[3:], "begins with 00 00 0d 03"),
        (lambda b: b"\x89PNG" + b[4:], "no IDX file"),
        (lambda b: b[:3] + b"\x09" + b[4:], "no IDX file"),
        (lambda b: b[:4] + b"\xff" * 12 + b[16:], "promises 4294967295 x .*cannot hold more"),
    ],
)
def test_broken_idx(tmp_path: Path, array: np.ndarray, pack, change, message: str) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(pack(change(idx_bytes(array))))
    with pytest.raises(DataError, match=message) as caught:
        read_idx(path)
    assert str(path) in str(caught.value)


def test_broken_gzip_and_missing(tmp_path: Path, array: np.ndarray) -> None:
    path = tmp_path / "x.gz"
    packed = gzip.compress(idx_bytes(array))
    flipped = bytes([*packed[:20], packed[20] ^ 0xFF, *packed[21:]])
    for content in (packed[:30], packed[:2], packed[:-8] + b"\0" * 8, flipped):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"x\.gz"):
            read_idx(path)
    with pytest.raises(DataError, match="missing"):
        read_idx(tmp_path / "missing")
    with pytest.raises(DataError, match=str(tmp_path)):
        read_idx(tmp_path)


def cifar(count: int = 4) -> tuple[np.ndarray, list[int]]:
    stream = np.random.default_rng(1)
    return stream.integers(0, 256, (count, 3072), dtype=np.uint8), stream.integers(0, 10, count).tolist()


class OldCore(pickle._Pickler):
    """Writes arrays under numpy 1's module names, with Python 2's byte strings, as the official files are."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_bytes(self, value: bytes) -> None:
        opcode = (
            pickle.SHORT_BINSTRING + bytes([len(value)]) if len(value) < 256 else b"T" + struct.pack("<i", len(value))
        )
        self.write(opcode + value)
        self.memoize(value)

    dispatch[bytes] = save_bytes

    def save_str(self, value: str) -> None:
        self.save_bytes(value.encode())

    dispatch[str] = save_str

    def save_global(self, value: object, name: str | None = None) -> None:
        if getattr(value, "__name__", "") == "_reconstruct":
            self.write(b"cnumpy.core.multiarray\n_reconstruct\n")
            self.memoize(value)
        else:
            super().save_global(value, name)

    dispatch[type] = save_global
    dispatch[types.FunctionType] = save_global
    dispatch[types.BuiltinFunctionType] = save_global


def python_2_bytes(value: object) -> bytes:
    buffer = io.BytesIO()
    OldCore(buffer, protocol=2).dump(value)
    return buffer.getvalue()


def test_python_2_batch(tmp_path: Path) -> None:
    pixels, labels = cifar()
    content = python_2_bytes({"data": pixels, "labels": labels, "batch_label": "x", "filenames": ["a.png"] * 4})
    assert b"numpy.core.multiarray" in content
    assert b"numpy._core" not in content
    assert set(pickle.loads(content, encoding="bytes")) == {b"data", b"labels", b"batch_label", b"filenames"}
    path = tmp_path / "data_batch_1"
    path.write_bytes(content)
    found, truth = read_cifar_batch(path)
    assert np.array_equal(found, pixels.reshape(4, 3, 32, 32))
    assert found.dtype == np.uint8
    assert truth.dtype == np.int64
    assert truth.tolist() == labels


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("kind", [list, np.asarray, lambda x: np.array(x, ">i4"), lambda x: [*x]])
def test_batch_written_here(tmp_path: Path, protocol: int, order: str, kind) -> None:
    pixels, labels = cifar()
    path = tmp_path / "test_batch"
    value = {"data": np.array(pixels, order=order), "labels": kind(labels), "note": np.float64(1.5)}
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    found, truth = read_cifar_batch(path)
    assert np.array_equal(found, pixels.reshape(4, 3, 32, 32))
    assert truth.tolist() == labels


class Bomb:
    def __init__(self, call, *arguments: object) -> None:
        self.parts = (call, arguments)

    def __reduce__(self):
        return self.parts


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("name", ["os.system", "builtins.eval", "builtins.getattr", "subprocess.Popen", "numpy.load"])
def test_malicious_pickle_runs_nothing(tmp_path: Path, name: str, protocol: int) -> None:
    module, _, function = name.rpartition(".")
    __import__(module)
    proof = tmp_path / "proof"
    bomb = Bomb(getattr(sys.modules[module], function), f"touch {proof}")
    path = tmp_path / "data_batch_1"
    path.write_bytes(pickle.dumps({"data": cifar()[0], "labels": bomb}, protocol=protocol))
    with pytest.raises(DataError, match=r"only arrays and plain values") as caught:
        read_cifar_batch(path)
    assert not proof.exists()
    assert str(path) in str(caught.value)
    assert f".{function}; only" in str(caught.value)


def test_malicious_arrays(tmp_path: Path) -> None:
    path = tmp_path / "data_batch_1"
    objects = np.array([[1, "x"]], dtype=object)
    structured = np.zeros(3, dtype=[("a", "u1")])
    for value in (objects, structured, np.array(["text"]), np.array(["2020"], dtype="M8[D]")):
        path.write_bytes(pickle.dumps({"data": value, "labels": []}, protocol=2))
        with pytest.raises(DataError, match="data_batch_1"):
            read_cifar_batch(path)


def test_every_truncation_is_a_data_error(tmp_path: Path) -> None:
    pixels, labels = cifar(1)
    path = tmp_path / "data_batch_1"
    for content in (
        pickle.dumps({"data": pixels, "labels": labels}, 2),
        python_2_bytes({"data": pixels, "labels": labels}),
    ):
        for length in [*range(200), *range(200, len(content), 97), len(content) - 1]:
            path.write_bytes(content[:length])
            with pytest.raises(DataError, match="data_batch_1"):
                read_cifar_batch(path)


def test_random_damage_never_escapes(tmp_path: Path) -> None:
    pixels, labels = cifar(1)
    content = pickle.dumps({"data": pixels, "labels": labels}, 4)
    stream = np.random.default_rng(0)
    path = tmp_path / "data_batch_1"
    places = [*range(120), *range(len(content) - 60, len(content))]
    for _ in range(500):
        damaged = bytearray(content)
        damaged[stream.choice(places)] = stream.integers(256)
        path.write_bytes(damaged)
        # Damage to a pixel is no damage to the format, so either outcome will do, but no other error.
        with contextlib.suppress(DataError):
            read_cifar_batch(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": None}, "'data' should be a uint8 array"),
        ({"data": np.zeros((4, 3071), np.uint8)}, r"\(4, 3071\)"),
        ({"data": np.zeros((4, 3072), np.float32)}, "float32"),
        ({"labels": [0, 1, 2]}, "'labels' should be 4 whole numbers"),
        ({"labels": [0.5, 1, 2, 3]}, "'labels' should be 4 whole numbers"),
        ({"labels": [0, 1, 2, 10]}, r"label 10; labels of 10 classes are 0\.\.9"),
        ({"labels": [0, 1, 2, -1]}, "label -1"),
        ({"labels": [0, 1, 2, 2**70]}, "'labels' should be 4"),
    ],
)
def test_wrong_content(tmp_path: Path, change: dict[str, object], message: str) -> None:
    pixels, labels = cifar()
    path = tmp_path / "data_batch_1"
    path.write_bytes(pickle.dumps({"data": pixels, "labels": labels} | change, 2))
    with pytest.raises(DataError, match=message):
        read_cifar_batch(path)


def test_not_a_dict_and_missing(tmp_path: Path) -> None:
    path = tmp_path / "data_batch_1"
    path.write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(DataError, match="holds a list"):
        read_cifar_batch(path)
    with pytest.raises(DataError, match="nothing"):
        read_cifar_batch(tmp_path / "nothing")


def test_class_names(tmp_path: Path) -> None:
    path = tmp_path / "batches.meta"
    for write in (python_2_bytes, pickle.dumps):
        path.write_bytes(write({"label_names": ["cat", "dog"], "num_vis": 3072}))
        assert read_cifar_class_names(path) == ("cat", "dog")
    path.write_bytes(pickle.dumps({"label_names": [1, 2]}))
    with pytest.raises(DataError, match="label_names"):
        read_cifar_class_names(path)
