"""What ties a store of pseudo labels to its teacher and its run, whatever it keeps."""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dmt.data.parts import UnlabeledPart
from dmt.data.pseudo_labels import (
    Provenance,
    PseudoLabels,
    WithoutLabels,
    check_images,
    check_manifest,
    write_manifest,
)
from dmt.errors import CheckpointError
from tiny_runs import striped_images, tiny_masks

PROVENANCE = Provenance(teacher="round 1, network b", teacher_hash="abc", config_hash="def")
FILES = {"one.bin": b"the answers", "two.bin": b"and what tells of them"}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    folder = tmp_path / "pseudo_labels"
    folder.mkdir()
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    write_manifest(folder, PROVENANCE, num_images=5, files=tuple(FILES))
    return folder


def test_the_manifest_says_what_the_store_was_made_by(store: Path) -> None:
    manifest = json.loads((store / "manifest.json").read_text())
    assert manifest["num_images"] == 5
    assert {key: manifest[key] for key in vars(PROVENANCE)} == vars(PROVENANCE)
    assert manifest["sha256"] == {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}
    assert check_manifest(store, PROVENANCE)


def test_without_a_manifest_there_is_no_store(store: Path, tmp_path: Path) -> None:
    (store / "manifest.json").unlink()
    assert not check_manifest(store, PROVENANCE)
    assert not check_manifest(tmp_path / "nothing", PROVENANCE)


@pytest.mark.parametrize("field", ["teacher", "teacher_hash", "config_hash"])
def test_labels_of_another_origin_are_refused(store: Path, field: str) -> None:
    with pytest.raises(CheckpointError, match=field) as caught:
        check_manifest(store, replace(PROVENANCE, **{field: "other"}))
    assert str(store) in str(caught.value)


@pytest.mark.parametrize("name", FILES)
def test_a_tampered_file_is_refused(store: Path, name: str) -> None:
    content = bytearray((store / name).read_bytes())
    content[len(content) // 2] ^= 1
    (store / name).write_bytes(bytes(content))
    with pytest.raises(CheckpointError, match=name):
        check_manifest(store, PROVENANCE)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_refused(store: Path, name: str) -> None:
    (store / name).unlink()
    with pytest.raises(CheckpointError, match=f"{name} is missing"):
        check_manifest(store, PROVENANCE)


@pytest.mark.parametrize("text", ["", "{", "[]", "[1, 2]", "3", "null", '{"format": 1}', '{"format": 1, "sha256": []}'])
def test_a_broken_manifest_is_refused(store: Path, text: str) -> None:
    (store / "manifest.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"manifest\.json|pseudo_labels"):
        check_manifest(store, PROVENANCE)


def test_a_later_format_is_refused(store: Path) -> None:
    manifest = json.loads((store / "manifest.json").read_text()) | {"format": 2}
    (store / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match="format 2"):
        check_manifest(store, PROVENANCE)


@pytest.mark.parametrize("found", [["a"], ["b", "a"], ["a", "b", "c"], []])
def test_labels_of_other_images_are_refused(tmp_path: Path, found: list[str]) -> None:
    check_images(["a", "b"], ("a", "b"), tmp_path)
    with pytest.raises(CheckpointError, match="other images") as caught:
        check_images(found, ["a", "b"], tmp_path)
    assert str(tmp_path) in str(caught.value)


@dataclass
class Levels:
    """Images with labels that must not be looked at."""

    pixels: Tensor

    def __len__(self) -> int:
        return len(self.pixels)

    def size(self, index: int) -> tuple[int, int]:
        return self.pixels.shape[2], self.pixels.shape[3]


def test_images_without_labels() -> None:
    part = UnlabeledPart(Levels(striped_images(9, seed=0)[0]), (1, 4, 7), has_truth=False)  # type: ignore[arg-type]
    nothing: PseudoLabels = WithoutLabels(part, -1, dense=False)
    assert len(nothing) == 3
    assert nothing.positions.tolist() == [0, 1, 2]
    label, code = nothing.read([2, 0])
    assert (label.tolist(), code.tolist()) == ([-1, -1], [65535, 65535])
    assert (label.dtype, code.dtype) == (torch.int64, torch.int32)
    assert sum(nothing.summary.kept) == 0


def test_images_without_masks_have_an_ignored_one_of_their_own_size() -> None:
    source = tiny_masks().train
    part = UnlabeledPart(source, (3, 4, 5), has_truth=False)
    nothing = WithoutLabels(part, 255, dense=True)
    sizes = set()
    for position, index in enumerate((3, 4, 5)):
        label, code = nothing.read([position])
        assert label.shape == code.shape == (1, *source.size(index))
        assert (label == 255).all()
        assert (code > 0).all(), "0 is the code of padding"
        assert (label.dtype, code.dtype) == (torch.int64, torch.int32)
        sizes.add(source.size(index))
    assert len(sizes) > 1, "the images should differ in size"
