"""What every store of pseudo labels is: a teacher's answers, kept once, selected from late.

Classification keeps a table (`pseudo_table.py`), segmentation keeps images (`pseudo_masks.py`). A manifest ties a store
to its teacher and its run; it is written last, and without it there is no store.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from dmt.data.parts import UnlabeledPart
from dmt.errors import CheckpointError
from dmt.files import read_json, sha256, write_json
from dmt.selection import MAX_CODE
from dmt.types import Prediction, PseudoSpec

FORMAT = 1
MANIFEST = "manifest.json"

Gather = Callable[[Sequence[Any]], list[Any]]
"""Every process's list, concatenated."""


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What a store was made by; labels of any other origin are refused."""

    teacher: str
    teacher_hash: str
    config_hash: str


@dataclass(frozen=True, kw_only=True)
class PseudoSummary:
    """What a selection keeps, by class.

    Attributes:
        predicted: sites of each class that the teacher predicts.
        kept: those of them that are selected.
        thresholds: the lowest confidence that is kept; None for a class that keeps nothing.
    """

    predicted: tuple[int, ...]
    kept: tuple[int, ...]
    thresholds: tuple[float | None, ...]


class PseudoLabels(Protocol):
    """What a stage trains on: some unlabeled images, with a label and a confidence code for every site."""

    @property
    def positions(self) -> Tensor:
        """`(n,)` int64: which of the unlabeled images."""

    @property
    def summary(self) -> PseudoSummary:
        """What is kept of each class."""

    def __len__(self) -> int:
        """How many images."""

    def summarized_as(self, summary: PseudoSummary) -> "PseudoLabels":
        """The same labels under another summary, where a selection was made in two steps."""

    def read(self, items: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Labels `(n, *S)` int64, ignored where they are not kept, and confidence codes `(n, *S)` int32."""


class PseudoStore(Protocol):
    """A teacher's answers on disk."""

    def is_whole(self) -> bool:
        """Whether all answers are there.

        Raises:
            CheckpointError: when they are another teacher's or run's, or were changed after they were written.
        """

    def add(self, positions: Sequence[int], prediction: Prediction) -> None:
        """Keep the answers for some images, in any order; each process adds its own share."""

    def finish(self, gather: Gather, *, is_main: bool) -> None:
        """Make the store whole; every process calls it when it has added its share."""

    def select(self, spec: PseudoSpec, *, class_shares: Sequence[float]) -> PseudoLabels:
        """The most confident part of a whole store.

        Args:
            spec: how much of it, selected how.
            class_shares: of each class in the labeled set, for `BY_SHARES`.
        """


@dataclass(frozen=True)
class WithoutLabels:
    """Every unlabeled image without any label, for methods that make labels while they train."""

    part: UnlabeledPart
    ignore_label: int
    dense: bool

    @property
    def positions(self) -> Tensor:
        """All of them."""
        return torch.arange(len(self.part))

    @property
    def summary(self) -> PseudoSummary:
        """Nothing is known of the classes."""
        return PseudoSummary(predicted=(), kept=(), thresholds=())

    def summarized_as(self, summary: PseudoSummary) -> PseudoLabels:
        """Nothing is selected."""
        raise NotImplementedError

    def __len__(self) -> int:
        return len(self.part)

    def read(self, items: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Ignored labels of the images' shapes; codes are above 0, which tells pixels from a view's padding."""
        shape = (len(items), *(self.part.size(items[0]) if self.dense else ()))
        return torch.full(shape, self.ignore_label), torch.full(shape, MAX_CODE, dtype=torch.int32)


def write_manifest(folder: Path, provenance: Provenance, *, num_images: int, files: Sequence[str]) -> None:
    """Declare a store whole; `files` are those that tell of all others, and their hashes are kept."""
    hashes = {name: file_hash(folder / name) for name in files}
    write_json(folder / MANIFEST, {"format": FORMAT, "num_images": num_images, "sha256": hashes, **asdict(provenance)})


def check_manifest(folder: Path, provenance: Provenance) -> bool:
    """Whether a whole store of this origin is there.

    Raises:
        CheckpointError: when it is of another origin or version, or its files are not what the manifest says.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return False
    try:
        manifest: dict[str, Any] = dict(read_json(path))
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{path} is broken ({error}). Delete the folder {folder} to label again.") from error
    if manifest.get("format") != FORMAT or not isinstance(manifest.get("sha256"), dict):
        raise CheckpointError(f"{path} has format {manifest.get('format')}; this version of dmt reads format {FORMAT}.")
    for name, expected in asdict(provenance).items():
        if manifest.get(name) != expected:
            raise CheckpointError(
                f"The pseudo labels in {folder} were made with {name} {manifest.get(name)!r}, this run needs "
                f"{expected!r}. Delete the folder to label again."
            )
    for name, expected in manifest["sha256"].items():
        if file_hash(folder / name) != expected:
            raise CheckpointError(f"{folder / name} is not what its manifest says. Delete the folder to label again.")
    return True


def file_hash(path: Path) -> str:
    """SHA-256 of a file of a store.

    Raises:
        CheckpointError: when it is missing.
    """
    if not path.is_file():
        raise CheckpointError(f"{path} is missing although its manifest is there. Delete the folder to label again.")
    return sha256(path)


def check_images(found: Sequence[str], expected: Sequence[str], folder: Path) -> None:
    """Refuse labels of other images.

    Raises:
        CheckpointError: when the names differ.
    """
    if list(found) != list(expected):
        raise CheckpointError(f"The pseudo labels in {folder} are for other images. Delete the folder to label again.")
