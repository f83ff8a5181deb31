"""Classification's store of pseudo labels: a Parquet table that pandas, polars and DuckDB read."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from dmt.data.pseudo_labels import Gather, Provenance, PseudoSummary, check_images, check_manifest, write_manifest
from dmt.files import write_atomic
from dmt.selection import decode_confidence, select_top
from dmt.types import BY_SHARES, UNLABELED, Prediction, PseudoSpec

TABLE = "labels.parquet"


@dataclass(frozen=True, kw_only=True)
class SelectedLabels:
    """The selected images, in the order of `positions`, with `(n,)` labels and codes."""

    positions: Tensor
    label: Tensor
    code: Tensor
    summary: PseudoSummary

    def summarized_as(self, summary: PseudoSummary) -> Self:
        """See `PseudoLabels`."""
        return replace(self, summary=summary)

    def __len__(self) -> int:
        return len(self.positions)

    def read(self, items: Sequence[int]) -> tuple[Tensor, Tensor]:
        """`(n,)` labels and codes."""
        return self.label[items], self.code[items]


class LabelStore:
    """A table of image, label, confidence and code, in the order of the unlabeled images."""

    def __init__(self, folder: Path, keys: Sequence[str], provenance: Provenance, *, num_classes: int) -> None:
        self._folder = folder
        self._keys = keys
        self._provenance = provenance
        self._num_classes = num_classes
        self._rows: list[tuple[list[int], Prediction]] = []

    def is_whole(self) -> bool:
        """See `PseudoStore`."""
        return check_manifest(self._folder, self._provenance)

    def add(self, positions: Sequence[int], prediction: Prediction) -> None:
        """See `PseudoStore`; `prediction` holds `(n,)` labels and codes."""
        on_cpu = Prediction(label=prediction.label.cpu(), code=prediction.code.cpu())
        self._rows.append((list(positions), on_cpu))

    def finish(self, gather: Gather, *, is_main: bool) -> None:
        """See `PseudoStore`."""
        rows = gather(self._rows)
        self._rows = []
        if is_main:
            order = torch.tensor([position for positions, _ in rows for position in positions]).argsort()
            label, code = (torch.cat([getattr(one, name) for _, one in rows])[order] for name in ("label", "code"))
            self._write(label, code)

    def read(self) -> Prediction:
        """All answers, in the order of the images.

        Raises:
            CheckpointError: when they are for other images.
        """
        table = pq.read_table(self._folder / TABLE)
        check_images(table["image"].to_pylist(), self._keys, self._folder)
        label = torch.tensor(table["label"].to_numpy(), dtype=torch.int64)
        return Prediction(label=label, code=torch.tensor(table["code"].to_numpy().astype("int32")))

    def select(
        self, spec: PseudoSpec, *, class_shares: Sequence[float], without: Tensor | None = None
    ) -> SelectedLabels:
        """See `PseudoStore`: ranked on codes, with exact counts.

        Args:
            spec: how much of it, selected how.
            class_shares: of each class in the labeled set.
            without: `(n,)` bool, images to leave out as if they were not there; None = none.
        """
        prediction = self.read()
        if without is not None:
            prediction = replace(prediction, label=prediction.label.masked_fill(without, UNLABELED))
        mask = _mask(prediction, spec, class_shares)
        label, code = prediction.label[mask], prediction.code[mask]
        return SelectedLabels(
            positions=mask.nonzero().squeeze(1),
            label=label,
            code=code,
            summary=PseudoSummary(
                predicted=self._counts(prediction.label[prediction.label >= 0]),
                kept=self._counts(label),
                thresholds=tuple(_lowest(code[label == k]) for k in range(self._num_classes)),
            ),
        )

    def _counts(self, label: Tensor) -> tuple[int, ...]:
        return tuple(torch.bincount(label, minlength=self._num_classes).tolist())

    def _write(self, label: Tensor, code: Tensor) -> None:
        table = pa.table(
            {
                "image": pa.array(self._keys, pa.string()),
                "label": pa.array(label.numpy(), pa.int32()),
                "confidence": pa.array(decode_confidence(code).numpy(), pa.float64()),
                "code": pa.array(code.numpy(), pa.uint16()),
            }
        )
        write_atomic(self._folder / TABLE, lambda temporary: pq.write_table(table, temporary, compression="zstd"))
        write_manifest(self._folder, self._provenance, num_images=len(self._keys), files=(TABLE,))


def _mask(prediction: Prediction, spec: PseudoSpec, class_shares: Sequence[float]) -> Tensor:
    if spec.selection == "threshold":
        assert spec.threshold is not None
        return (decode_confidence(prediction.code) > spec.threshold) & (prediction.label >= 0)
    return select_top(
        prediction.code,
        prediction.label,
        spec.top_fraction,
        per_class=spec.selection != "overall",
        class_shares=class_shares if spec.selection in BY_SHARES else None,
        fill_shares=spec.selection == "class_share",
    )


def _lowest(code: Tensor) -> float | None:
    return float(decode_confidence(code.min())) if len(code) else None
