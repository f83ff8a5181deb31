"""The store of pseudo labels: what a teacher said of every unlabeled image, kept once, selected from late.

Classification keeps a Parquet table (image, label, confidence, code, in the order of the unlabeled images) that pandas,
polars and DuckDB read. The manifest is written last: without it there is no store.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from dmt.data.parts import UnlabeledPart
from dmt.errors import CheckpointError
from dmt.files import read_json, write_atomic, write_json
from dmt.selection import decode_confidence, select_top
from dmt.types import Prediction, PseudoSpec

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What a store was made by; labels of any other origin are refused."""

    teacher: str
    teacher_hash: str
    config_hash: str


@dataclass(frozen=True, kw_only=True)
class PseudoLabels:
    """The selected pseudo labels of a stage, in the order of `positions` among the unlabeled images."""

    positions: Tensor
    label: Tensor
    confidence: Tensor

    def __len__(self) -> int:
        return len(self.positions)


def write_store(folder: Path, keys: Sequence[str], prediction: Prediction, provenance: Provenance) -> None:
    """Write what a teacher said; `prediction` holds `(n,)` labels and codes in the order of `keys`."""
    table = pa.table(
        {
            "image": pa.array(keys, pa.string()),
            "label": pa.array(prediction.label.numpy(), pa.int32()),
            "confidence": pa.array(decode_confidence(prediction.code).numpy(), pa.float64()),
            "code": pa.array(prediction.code.numpy(), pa.uint16()),
        }
    )
    path = folder / "labels.parquet"
    write_atomic(path, lambda temporary: pq.write_table(table, temporary, compression="zstd"))
    manifest = {"format": FORMAT, "num_images": len(keys), "sha256": _sha256(path), **vars(provenance)}
    write_json(folder / "manifest.json", manifest)


def read_store(folder: Path, keys: Sequence[str], provenance: Provenance) -> Prediction | None:
    """What the teacher said, or None where no whole store is there.

    Raises:
        CheckpointError: when the store is another teacher's or run's, or was changed after it was written.
    """
    manifest_path = folder / "manifest.json"
    if not manifest_path.is_file():
        return None
    _check_manifest(manifest_path, provenance)
    table = pq.read_table(folder / "labels.parquet")
    if table["image"].to_pylist() != list(keys):
        raise CheckpointError(f"The pseudo labels in {folder} are for other images. Delete the folder to label again.")
    label = torch.tensor(table["label"].to_numpy(), dtype=torch.int64)
    return Prediction(label=label, code=torch.tensor(table["code"].to_numpy().astype("int32")))


def select(prediction: Prediction, spec: PseudoSpec, *, class_shares: Sequence[float]) -> PseudoLabels:
    """The top fraction of a store: ranked on codes, with exact counts.

    Args:
        prediction: what the store holds.
        spec: how much of it, selected how.
        class_shares: of each class in the labeled set, for `class_prior`.
    """
    mask = select_top(
        prediction.code,
        prediction.label,
        spec.top_fraction,
        per_class=spec.selection != "overall",
        class_shares=class_shares if spec.selection == "class_prior" else None,
    )
    positions = mask.nonzero().squeeze(1)
    confidence = decode_confidence(prediction.code[positions])
    return PseudoLabels(positions=positions, label=prediction.label[positions], confidence=confidence)


def unlabeled_only(part: UnlabeledPart) -> PseudoLabels:
    """Every unlabeled image without a label, for methods that make labels while they train."""
    count = len(part)
    label = torch.full((count,), -1, dtype=torch.int64)
    return PseudoLabels(positions=torch.arange(count), label=label, confidence=torch.zeros(count, dtype=torch.float64))


def _check_manifest(path: Path, provenance: Provenance) -> None:
    try:
        manifest: dict[str, Any] = dict(read_json(path))
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{path} is broken ({error}). Delete the folder {path.parent} to label again.") from error
    if manifest.get("format") != FORMAT:
        raise CheckpointError(f"{path} has format {manifest.get('format')}; this version of dmt reads format {FORMAT}.")
    for name, expected in vars(provenance).items():
        if manifest.get(name) != expected:
            raise CheckpointError(
                f"The pseudo labels in {path.parent} were made with {name} {manifest.get(name)!r}, this run needs "
                f"{expected!r}. Delete the folder to label again."
            )
    if manifest.get("sha256") != _sha256(path.parent / "labels.parquet"):
        raise CheckpointError(f"{path.parent / 'labels.parquet'} is not what its manifest says. Delete the folder.")


def _sha256(path: Path) -> str:
    if not path.is_file():
        raise CheckpointError(f"{path} is missing although its manifest is there. Delete the folder to label again.")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
