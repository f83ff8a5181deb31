"""Segmentation's store of pseudo labels: for each image a mask that any viewer shows, and its confidence codes.

`labels/KEY.png` holds predicted classes in the data set's colors (255 = the teacher's answer was not finite),
`codes/KEY.png` 16-bit confidence codes. `index.parquet` holds the sizes and checksums of both, `histogram.parquet` how
many pixels of each class have which code: thresholds need no look at the images. What is below its class's threshold is
ignored when it is read, so that one pass of the teacher serves every selection.
"""

import colorsys
import io
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import Tensor

from dmt.data.pseudo_labels import Gather, Provenance, PseudoSummary, check_images, check_manifest, write_manifest
from dmt.errors import CheckpointError, DataError
from dmt.files import fitting_name, sync_all, write_atomic
from dmt.histograms import KEEPS_NOTHING, ConfidenceHistogram, Cut, exact_cut
from dmt.selection import decode_confidence
from dmt.types import IGNORE_INDEX, Prediction, PseudoSpec

INDEX = "index.parquet"
HISTOGRAM = "histogram.parquet"

_INSTEAD = {"..": "__up__", "/": "__root__", "//": "__root__"}
"""Of the parts of a key that would lead out of the store's folder, for images that lie outside their list's folder."""


Palette = Sequence[tuple[int, int, int]]
"""An RGB color for each class."""

_COMPRESS_LEVEL = 1
"""Level 6 saves at most 7 % of the space and takes three times as long (benchmarks/pseudo_masks.py)."""

_INDEX_COLUMNS = pa.schema(
    {
        "image": pa.string(),
        "height": pa.int32(),
        "width": pa.int32(),
        "label_crc32": pa.uint32(),
        "code_crc32": pa.uint32(),
    }
)


@dataclass(frozen=True, kw_only=True)
class MaskPseudoLabels:
    """The pseudo labels of all unlabeled images; a pixel below its class's threshold is ignored.

    Attributes:
        folder: the store.
        keys: the images' names.
        checksums: `(n, 2)` int64, of each image's label and code file.
        thresholds: `(256,)` int32, the lowest code that is kept, by label.
        summary: what is kept of each class.
    """

    folder: Path
    keys: Sequence[str]
    checksums: Tensor
    thresholds: Tensor
    summary: PseudoSummary

    @property
    def positions(self) -> Tensor:
        """All unlabeled images, in their order."""
        return torch.arange(len(self.keys))

    def summarized_as(self, summary: PseudoSummary) -> Self:
        """See `PseudoLabels`."""
        return replace(self, summary=summary)

    def __len__(self) -> int:
        return len(self.keys)

    def read(self, items: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Labels `(n, H, W)` int64, 255 where they are not kept, and codes `(n, H, W)` int32, of images of one size.

        Raises:
            CheckpointError: when a file is missing or was changed after it was written.
        """
        masks = [read_masks(self.folder, self.keys[item], checksums=self.checksums[item].tolist()) for item in items]
        labels, codes = (torch.stack(maps) for maps in zip(*masks, strict=True))
        return torch.where(codes >= self.thresholds[labels], labels, IGNORE_INDEX), codes


class MaskStore:
    """What a teacher says of every pixel of the unlabeled images; see `PseudoStore`.

    Raises:
        DataError: when there are more classes than a mask can hold, or a key cannot name a file of its own.
    """

    def __init__(
        self, folder: Path, keys: Sequence[str], provenance: Provenance, *, num_classes: int, palette: Palette | None
    ) -> None:
        if num_classes > IGNORE_INDEX:
            raise DataError(f"The data set has {num_classes} classes; masks of one byte a pixel hold {IGNORE_INDEX}.")
        _check_keys(keys, folder)
        self._folder = folder
        self._keys = tuple(keys)
        self._provenance = provenance
        self._num_classes = num_classes
        self._palette = default_palette(num_classes) if palette is None else palette
        self._histogram = ConfidenceHistogram.of_all_codes(num_classes)
        self._rows: list[dict[str, Any]] = []

    def is_whole(self) -> bool:
        """See `PseudoStore`; whether an image was changed is seen when it is read."""
        if not check_manifest(self._folder, self._provenance):
            return False
        check_images(pq.read_table(self._folder / INDEX)["image"].to_pylist(), self._keys, self._folder)
        for path in (path for key in self._keys for path in _paths(self._folder, key)):
            if not path.is_file():
                raise CheckpointError(f"{path} is missing. Delete the folder {self._folder} to label again.")
        return True

    def add(self, positions: Sequence[int], prediction: Prediction) -> None:
        """See `PseudoStore`; `prediction` holds `(n, H, W)` labels and codes."""
        label, code = prediction.label.cpu(), prediction.code.cpu()
        self._histogram.add(label, code)
        masks = torch.where(label >= 0, label, IGNORE_INDEX).to(torch.uint8).numpy()
        for position, mask, codes in zip(positions, masks, code.numpy().astype(np.uint16), strict=True):
            self._rows.append({"position": int(position), **self._write_image(self._keys[position], mask, codes)})

    def finish(self, gather: Gather, *, is_main: bool) -> None:
        """See `PseudoStore`."""
        sync_all()  # before the gathering tells the main process that this one's files are there
        rows, histograms = gather(self._rows), gather([self._histogram])
        self._rows, self._histogram = [], ConfidenceHistogram.of_all_codes(self._num_classes)
        if is_main:
            self._write_index(rows)
            self._write_histogram(histograms)
            write_manifest(self._folder, self._provenance, num_images=len(rows), files=(INDEX, HISTOGRAM))

    def select(self, spec: PseudoSpec, *, class_shares: Sequence[float]) -> MaskPseudoLabels:
        """See `PseudoStore`: all images, with exact thresholds."""
        index = pq.read_table(self._folder / INDEX)
        columns = [index[name].to_numpy().astype(np.int64) for name in ("label_crc32", "code_crc32")]
        checksums = torch.from_numpy(np.stack(columns, axis=1))
        cut = exact_cut(
            self._read_histogram(), spec, class_shares=class_shares, stored=lambda: self._all_masks(checksums)
        )
        return MaskPseudoLabels(
            folder=self._folder,
            keys=self._keys,
            checksums=checksums,
            thresholds=_by_label(cut.thresholds),
            summary=_summary(cut),
        )

    def _all_masks(self, checksums: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        for key, expected in zip(self._keys, checksums.tolist(), strict=True):
            yield read_masks(self._folder, key, checksums=expected)

    def _write_image(self, key: str, mask: np.ndarray, codes: np.ndarray) -> dict[str, Any]:
        """Write both files of an image; returns its row of the index."""
        image = Image.fromarray(mask)
        image.putpalette(_flat_palette(self._palette))
        label_path, code_path = _paths(self._folder, key)
        return {
            "image": key,
            "height": mask.shape[0],
            "width": mask.shape[1],
            "label_crc32": _write_png(label_path, image),
            "code_crc32": _write_png(code_path, Image.fromarray(codes)),
        }

    def _write_index(self, rows: Sequence[dict[str, Any]]) -> None:
        rows = sorted(rows, key=lambda row: row["position"])
        assert [row["position"] for row in rows] == list(range(len(self._keys))), "each image is labeled once"
        _write_table(self._folder / INDEX, pa.Table.from_pylist(rows, schema=_INDEX_COLUMNS))

    def _write_histogram(self, histograms: Sequence[ConfidenceHistogram]) -> None:
        total = ConfidenceHistogram.of_all_codes(self._num_classes)
        for histogram in histograms:
            total.merge(histogram)
        columns = dict(zip(("class", "code", "count"), (column.numpy() for column in total.rows()), strict=True))
        _write_table(self._folder / HISTOGRAM, pa.table(columns))

    def _read_histogram(self) -> ConfidenceHistogram:
        table = pq.read_table(self._folder / HISTOGRAM)
        histogram = ConfidenceHistogram.of_all_codes(self._num_classes)
        histogram.add_rows(*(torch.from_numpy(table[name].to_numpy().copy()) for name in ("class", "code", "count")))
        return histogram


def read_masks(folder: Path, key: str, *, checksums: Sequence[int] | None = None) -> tuple[Tensor, Tensor]:
    """What a store holds of an image, before any selection.

    Args:
        folder: the store.
        key: the image's name.
        checksums: CRC-32 of its label and of its code file; None = whatever is there.

    Returns:
        Labels `(H, W)` int64, 255 where the teacher's answer was not finite, and codes `(H, W)` int32.

    Raises:
        CheckpointError: when a file is missing, broken, or not what its checksum says.
    """
    expected = (None, None) if checksums is None else checksums
    label, code = (_read_png(path, crc32) for path, crc32 in zip(_paths(folder, key), expected, strict=True))
    return torch.from_numpy(label.astype(np.int64)), torch.from_numpy(code.astype(np.int32))


def default_palette(num_classes: int) -> Palette:
    """Colors for a data set that brings none: neighbours lie far apart on the color circle."""
    golden = (5**0.5 - 1) / 2
    colors = [colorsys.hsv_to_rgb(k * golden % 1, 0.5 + 0.5 * (k % 2), 1 - 0.2 * (k % 3)) for k in range(num_classes)]
    return [(round(255 * red), round(255 * green), round(255 * blue)) for red, green, blue in colors]


def _check_keys(keys: Sequence[str], folder: Path) -> None:
    paths: dict[Path, str] = {}
    for key in keys:
        if PurePosixPath(key).name in ("", "..") or "\0" in key:
            raise DataError(f"The image key {key!r} cannot name a file in {folder}; it is no path of an image.")
        path, _ = _paths(folder, key)
        if path in paths:
            raise DataError(
                f"The image keys {paths[path]!r} and {key!r} would share the file {path}; each needs its own."
            )
        paths[path] = key


def _paths(folder: Path, key: str) -> tuple[Path, Path]:
    """Where an image's labels and its codes are: below the folder, also of an image that lies elsewhere."""
    *folders, name = PurePosixPath(key).parts
    below = Path(*(_INSTEAD.get(part, part) for part in folders), fitting_name(name, ".png"))
    return folder / "labels" / below, folder / "codes" / below


def _flat_palette(palette: Palette) -> list[int]:
    """All 256 colors; ignored pixels are white."""
    colors = [*palette, *[(0, 0, 0)] * (IGNORE_INDEX - len(palette)), (255, 255, 255)]
    return [level for color in colors for level in color]


def _write_png(path: Path, image: Image.Image) -> int:
    """Returns the file's CRC-32."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=_COMPRESS_LEVEL)
    write_atomic(path, lambda temporary: temporary.write_bytes(buffer.getvalue()), durable=False)
    return zlib.crc32(buffer.getvalue())


def _read_png(path: Path, crc32: int | None) -> np.ndarray:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error}). Delete its store of pseudo labels.") from error
    if crc32 is not None and zlib.crc32(content) != crc32:
        raise CheckpointError(f"{path} was changed after it was written. Delete its store of pseudo labels.")
    try:
        return np.array(Image.open(io.BytesIO(content)))
    except (OSError, SyntaxError, ValueError) as error:
        raise CheckpointError(f"{path} is no whole PNG file ({error}). Delete its store of pseudo labels.") from error


def _write_table(path: Path, table: pa.Table) -> None:
    write_atomic(path, lambda temporary: pq.write_table(table, temporary, compression="zstd"))


def _by_label(thresholds: Tensor) -> Tensor:
    """`(256,)` int32: a threshold for whatever a mask may hold; ignored stays ignored."""
    by_label = torch.full((IGNORE_INDEX + 1,), KEEPS_NOTHING, dtype=torch.int32)
    by_label[: len(thresholds)] = thresholds
    return by_label


def _summary(cut: Cut) -> PseudoSummary:
    return PseudoSummary(
        predicted=tuple(cut.predicted.tolist()),
        kept=tuple(cut.kept.tolist()),
        thresholds=tuple(
            None if code == KEEPS_NOTHING else float(decode_confidence(torch.tensor(code)))
            for code in cut.thresholds.tolist()
        ),
    )
