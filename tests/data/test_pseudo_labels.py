import json
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from dmt.data.pseudo_labels import Provenance, PseudoLabels, read_store, select, write_store
from dmt.errors import CheckpointError
from dmt.selection import decode_confidence
from dmt.types import Prediction, PseudoSpec, Selection

KEYS = ["train/00003", "train/00001", "größe/bild 2.png", "train/00009", "train/00010"]
PREDICTION = Prediction(
    label=torch.tensor([2, 0, -1, 2, 0]), code=torch.tensor([5000, 0, 0, 65_535, 1024], dtype=torch.int32)
)
PROVENANCE = Provenance(teacher="round 1, network b", teacher_hash="abc", config_hash="def")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    write_store(tmp_path / "pseudo_labels", KEYS, PREDICTION, PROVENANCE)
    return tmp_path / "pseudo_labels"


def test_round_trip(store: Path) -> None:
    read = read_store(store, KEYS, PROVENANCE)
    assert read is not None
    assert torch.equal(read.label, PREDICTION.label)
    assert torch.equal(read.code, PREDICTION.code)
    assert read.label.dtype == torch.int64
    assert sorted(entry.name for entry in store.iterdir()) == ["labels.parquet", "manifest.json"]


def test_other_programs_read_the_documented_columns(store: Path) -> None:
    table = pq.read_table(store / "labels.parquet")
    assert [(field.name, str(field.type)) for field in table.schema] == [
        ("image", "string"),
        ("label", "int32"),
        ("confidence", "double"),
        ("code", "uint16"),
    ]
    assert table["image"].to_pylist() == KEYS
    assert table["label"].to_pylist() == PREDICTION.label.tolist()
    assert table["confidence"].to_pylist() == decode_confidence(PREDICTION.code).tolist()
    assert table["confidence"].to_pylist()[4] == pytest.approx(0.5)
    assert table["code"].to_pylist() == PREDICTION.code.tolist()


def test_the_manifest_says_what_the_store_was_made_by(store: Path) -> None:
    manifest = json.loads((store / "manifest.json").read_text())
    assert manifest["num_images"] == 5
    assert {key: manifest[key] for key in vars(PROVENANCE)} == vars(PROVENANCE)


def test_without_a_manifest_there_is_no_store(store: Path, tmp_path: Path) -> None:
    (store / "manifest.json").unlink()
    assert read_store(store, KEYS, PROVENANCE) is None
    assert read_store(tmp_path / "nothing", KEYS, PROVENANCE) is None


def test_the_manifest_is_written_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("dmt.data.pseudo_labels.write_json", fail)
    with pytest.raises(KeyboardInterrupt):
        write_store(tmp_path, KEYS, PREDICTION, PROVENANCE)
    assert (tmp_path / "labels.parquet").is_file()
    assert read_store(tmp_path, KEYS, PROVENANCE) is None


def test_a_store_can_be_written_over_a_half_written_one(store: Path) -> None:
    (store / "manifest.json").unlink()
    other = Prediction(label=PREDICTION.label.flip(0), code=PREDICTION.code.flip(0))
    write_store(store, KEYS, other, PROVENANCE)
    read = read_store(store, KEYS, PROVENANCE)
    assert read is not None
    assert torch.equal(read.label, other.label)


@pytest.mark.parametrize("field", ["teacher", "teacher_hash", "config_hash"])
def test_labels_of_another_origin_are_refused(store: Path, field: str) -> None:
    with pytest.raises(CheckpointError, match=field) as caught:
        read_store(store, KEYS, replace(PROVENANCE, **{field: "other"}))
    assert str(store) in str(caught.value)


@pytest.mark.parametrize("keys", [KEYS[:-1], KEYS[::-1], [*KEYS, "one more"]])
def test_labels_of_other_images_are_refused(store: Path, keys: list[str]) -> None:
    with pytest.raises(CheckpointError, match="other images"):
        read_store(store, keys, PROVENANCE)


def test_a_tampered_table_is_refused(store: Path) -> None:
    path = store / "labels.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(CheckpointError, match=r"labels\.parquet"):
        read_store(store, KEYS, PROVENANCE)


def test_a_missing_table_is_refused(store: Path) -> None:
    (store / "labels.parquet").unlink()
    with pytest.raises(CheckpointError, match=r"labels\.parquet is missing"):
        read_store(store, KEYS, PROVENANCE)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}'])
def test_a_broken_manifest_is_refused(store: Path, text: str) -> None:
    (store / "manifest.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"manifest\.json|pseudo_labels"):
        read_store(store, KEYS, PROVENANCE)


def test_a_later_format_is_refused(store: Path) -> None:
    manifest = json.loads((store / "manifest.json").read_text()) | {"format": 2}
    (store / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match="format 2"):
        read_store(store, KEYS, PROVENANCE)


@pytest.mark.parametrize(
    ("selection", "fraction", "positions"),
    [
        ("overall", 0.5, [0, 3]),
        ("per_class", 0.5, [3, 4]),
        ("overall", 1.0, [0, 1, 3, 4]),
        ("per_class", 0.6, [0, 1, 3, 4]),
        ("class_prior", 1.0, [0, 3, 4]),  # class 0 is believed to be a quarter of four images
    ],
)
def test_selection_from_a_store(selection: Selection, fraction: float, positions: list[int]) -> None:
    spec = PseudoSpec(teacher="a", teacher_round=0, top_fraction=fraction, selection=selection)
    chosen = select(PREDICTION, spec, class_shares=[0.25, 0.0, 0.75])
    assert isinstance(chosen, PseudoLabels)
    assert len(chosen) == len(positions)
    assert chosen.positions.tolist() == positions
    assert chosen.label.tolist() == PREDICTION.label[positions].tolist()
    assert torch.equal(chosen.confidence, decode_confidence(PREDICTION.code[positions]))


def test_selection_without_any_usable_label_is_empty() -> None:
    spec = PseudoSpec(teacher="a", teacher_round=0, top_fraction=1.0, selection="overall")
    nothing = Prediction(label=torch.tensor([-1, -1]), code=torch.tensor([0, 0]))
    assert len(select(nothing, spec, class_shares=[1.0])) == 0
