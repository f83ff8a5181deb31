"""Readers of the two official file formats: IDX (MNIST and its kin) and CIFAR's pickled batches."""

import codecs
import gzip
import io
import math
import pickle
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from dmt.errors import DataError

_GZIP_MAGIC = b"\x1f\x8b"
_MAX_GZIP_RATIO = 1032
"""Deflate cannot shrink data further than this, so a header that asks for more is wrong whatever follows it."""

_CIFAR_SHAPE = (3, 32, 32)
_READ_ERRORS = (OSError, EOFError, zlib.error)
_PICKLE_ERRORS = (
    pickle.UnpicklingError,
    AttributeError,
    EOFError,
    ImportError,
    IndexError,
    KeyError,
    LookupError,
    MemoryError,
    OverflowError,
    TypeError,
    ValueError,
)


def read_idx(path: Path) -> np.ndarray:
    """Read a file of unsigned bytes in IDX format, gzipped or plain.

    Returns:
        uint8, in the shape that the header states.

    Raises:
        DataError: the file is missing, no IDX file of unsigned bytes, damaged, shorter or longer than its header says.
    """
    try:
        with path.open("rb") as file:
            is_gzip = file.read(2) == _GZIP_MAGIC
        size = path.stat().st_size
        with gzip.open(path) if is_gzip else path.open("rb") as stream:
            shape = _idx_shape(stream, path)
            expected = math.prod(shape)
            _check_plausible(path, shape, at_most=size * _MAX_GZIP_RATIO if is_gzip else size)
            content = stream.read(expected + 1)
    except _READ_ERRORS as error:
        raise DataError(f"{path} cannot be read ({error}). Get the file again.") from error
    if len(content) != expected:
        found = "more" if len(content) > expected else f"{len(content)} bytes"
        raise DataError(
            f"{path} should hold {expected} bytes after its header (shape {_times(shape)}), but holds {found}. "
            "Get the file again."
        )
    return np.frombuffer(content, dtype=np.uint8).reshape(shape).copy()


def read_cifar_batch(path: Path, *, num_classes: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Read one `data_batch_*` or `test_batch` file of CIFAR-10, whether Python 2 or Python 3 wrote it.

    Returns:
        Pixels `(N, 3, 32, 32)` uint8 and labels `(N,)` int64.

    Raises:
        DataError: the file is missing or damaged, holds anything but arrays and plain values, or shapes and labels are
            not CIFAR's.
    """
    batch = _read_mapping(path)
    pixels, labels = _as_array(batch.get("data")), _as_array(batch.get("labels"))
    if pixels is None or pixels.dtype != np.uint8 or pixels.ndim != 2 or pixels.shape[1] != math.prod(_CIFAR_SHAPE):
        raise DataError(f"{path}: 'data' should be a uint8 array (N, 3072), but is {_describe(pixels)}.")
    if labels is None or labels.dtype.kind not in "iu" or labels.shape != (len(pixels),):
        raise DataError(f"{path}: 'labels' should be {len(pixels)} whole numbers, but is {_describe(labels)}.")
    wrong = labels[(labels < 0) | (labels >= num_classes)]
    if len(wrong):
        raise DataError(f"{path} holds the label {wrong[0]}; labels of {num_classes} classes are 0..{num_classes - 1}.")
    return pixels.reshape(-1, *_CIFAR_SHAPE).copy(), labels.astype(np.int64)


def read_cifar_class_names(path: Path) -> tuple[str, ...]:
    """Read the class names in CIFAR's `batches.meta`.

    Raises:
        DataError: the file is missing, damaged, or names no classes.
    """
    names = _read_mapping(path).get("label_names")
    if not isinstance(names, list) or not names or not all(isinstance(name, str | bytes) for name in names):
        raise DataError(f"{path} holds no list 'label_names' of class names.")
    return tuple(_text(name) for name in names)


def _idx_shape(stream: Any, path: Path) -> tuple[int, ...]:
    head = stream.read(4)
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] != 0x08 or not 1 <= head[3] <= 4:
        raise DataError(
            f"{path} is no IDX file of unsigned bytes: it begins with {head.hex(' ') or 'nothing'}, "
            "where 00 00 08 and the number of dimensions (01 to 04) are expected."
        )
    sizes = stream.read(4 * head[3])
    if len(sizes) != 4 * head[3]:
        raise DataError(f"{path} ends inside its header: {4 + len(sizes)} bytes of {4 + 4 * head[3]}.")
    return tuple(int(size) for size in np.frombuffer(sizes, dtype=">u4"))


def _check_plausible(path: Path, shape: tuple[int, ...], *, at_most: int) -> None:
    """Refuse a header before memory is asked for what it promises."""
    expected = math.prod(shape)
    if expected > at_most:
        raise DataError(
            f"{path}: its header promises {_times(shape)} = {expected} bytes, but the file cannot hold more than "
            f"{at_most}. Get the file again."
        )


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


class _Dtype:
    """A number type named in a pickle. Never numpy's own, whose state a crafted pickle could turn against memory."""

    def __init__(self, code: str | bytes, *_: object) -> None:
        self.dtype = np.dtype(_text(code))
        if self.dtype.kind not in "biuf":
            raise pickle.UnpicklingError(f"it holds an array of {self.dtype}, where numbers are expected")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        order = _text(state[1])
        if order in "<>":
            self.dtype = self.dtype.newbyteorder("<" if order == "<" else ">")


class _Array:
    """The parts of a pickled array, put together by numpy's checked `frombuffer` only."""

    def __init__(self, *_: object) -> None:
        self.value = np.empty(0, dtype=np.uint8)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _version, shape, dtype, is_fortran, content = state
        self.value = _frombuffer(content, dtype, shape, "F" if is_fortran else "C").value

    @staticmethod
    def holding(value: np.ndarray) -> "_Array":
        array = _Array()
        array.value = value
        return array


def _frombuffer(content: bytes, dtype: _Dtype, shape: tuple[int, ...], order: str) -> _Array:
    flat = np.frombuffer(content, dtype=dtype.dtype)
    return _Array.holding(flat.reshape(shape, order="F" if _text(order) == "F" else "C"))


def _scalar(dtype: _Dtype, content: bytes) -> Any:
    return np.frombuffer(content, dtype=dtype.dtype, count=1)[0].item()


def _latin1(text: str, encoding: str) -> bytes:
    if _text(encoding) not in {"latin1", "latin-1"}:
        raise pickle.UnpicklingError(f"it asks for the text encoding {encoding!r}")
    return codecs.latin_1_encode(text)[0]


_STAND_INS: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _latin1,
    **{
        (f"numpy.{core}.{module}", name): stand_in
        for core in ("core", "_core")
        for module, name, stand_in in (
            ("multiarray", "_reconstruct", _Array),
            ("multiarray", "scalar", _scalar),
            ("numeric", "_frombuffer", _frombuffer),
        )
    },
}
"""What a pickle may name, and the harmless thing it gets for it."""


class _RestrictedUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _STAND_INS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}; only arrays and plain values are allowed")
        return _STAND_INS[module, name]


def _read_mapping(path: Path) -> dict[str, Any]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error}). Get the file again.") from error
    try:
        # Python 2 wrote its strings as bytes, and pixels among them: "bytes" leaves both as they are.
        value = _RestrictedUnpickler(io.BytesIO(content), encoding="bytes").load()
    except _PICKLE_ERRORS as error:
        raise DataError(f"{path} is no CIFAR file, or damaged: {error or type(error).__name__}.") from error
    if not isinstance(value, dict):
        raise DataError(f"{path} is no CIFAR file: it holds a {type(value).__name__}, where a dict is expected.")
    return {_text(key): item for key, item in value.items() if isinstance(key, str | bytes)}


def _as_array(value: Any) -> np.ndarray | None:
    if isinstance(value, _Array):
        return value.value
    if isinstance(value, list) and all(isinstance(item, int) for item in value):
        # Python's whole numbers may exceed int64; such a label is refused as not being a list of class indices.
        return np.array(value, dtype=np.int64) if all(abs(item) < 2**63 for item in value) else None
    return None


def _describe(array: np.ndarray | None) -> str:
    return "missing or no array" if array is None else f"{array.dtype} {array.shape}"


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value
