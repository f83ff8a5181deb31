import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from dmt.data.pseudo_labels import Provenance, PseudoLabels, PseudoStore
from dmt.data.pseudo_table import LabelStore
from dmt.errors import CheckpointError
from dmt.selection import MAX_CODE, decode_confidence
from dmt.types import Prediction, PseudoSpec, Selection

KEYS = ["train/00003", "train/00001", "größe/bild 2.png", "train/00009", "train/00010"]
PREDICTION = Prediction(
    label=torch.tensor([2, 0, -1, 2, 0]), code=torch.tensor([5000, 0, 0, 65_535, 1024], dtype=torch.int32)
)
PROVENANCE = Provenance(teacher="round 1, network b", teacher_hash="abc", config_hash="def")


def alone(values: Sequence[Any]) -> list[Any]:
    return list(values)


def label_store(
    folder: Path, *, keys: Sequence[str] = KEYS, provenance: Provenance = PROVENANCE, num_classes: int = 3
) -> LabelStore:
    return LabelStore(folder, keys, provenance, num_classes=num_classes)


def fill(folder: Path, prediction: Prediction = PREDICTION, **arguments: Any) -> LabelStore:
    made = label_store(folder, **arguments)
    made.add(range(len(prediction.label)), prediction)
    made.finish(alone, is_main=True)
    return made


def rows(prediction: Prediction, items: Sequence[int]) -> Prediction:
    return Prediction(label=prediction.label[list(items)], code=prediction.code[list(items)])


@pytest.fixture
def store(tmp_path: Path) -> Path:
    fill(tmp_path / "pseudo_labels")
    return tmp_path / "pseudo_labels"


def test_round_trip(store: Path) -> None:
    made: PseudoStore = label_store(store)
    assert made.is_whole()
    read = label_store(store).read()
    assert torch.equal(read.label, PREDICTION.label)
    assert torch.equal(read.code, PREDICTION.code)
    assert (read.label.dtype, read.code.dtype) == (torch.int64, torch.int32)
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
    assert not label_store(store).is_whole()
    assert not label_store(tmp_path / "nothing").is_whole()


def test_an_unfinished_store_is_none(tmp_path: Path) -> None:
    made = label_store(tmp_path)
    made.add(range(5), PREDICTION)
    assert not made.is_whole()
    assert list(tmp_path.iterdir()) == []


def test_the_manifest_is_written_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("dmt.data.pseudo_table.write_manifest", fail)
    with pytest.raises(KeyboardInterrupt):
        fill(tmp_path)
    assert (tmp_path / "labels.parquet").is_file()
    assert not label_store(tmp_path).is_whole()


def test_a_store_can_be_written_over_a_half_written_one(store: Path) -> None:
    (store / "manifest.json").unlink()
    other = Prediction(label=PREDICTION.label.flip(0), code=PREDICTION.code.flip(0))
    fill(store, other)
    assert label_store(store).is_whole()
    assert torch.equal(label_store(store).read().label, other.label)


@pytest.mark.parametrize("field", ["teacher", "teacher_hash", "config_hash"])
def test_labels_of_another_origin_are_refused(store: Path, field: str) -> None:
    with pytest.raises(CheckpointError, match=field) as caught:
        label_store(store, provenance=replace(PROVENANCE, **{field: "other"})).is_whole()
    assert str(store) in str(caught.value)


@pytest.mark.parametrize("keys", [KEYS[:-1], KEYS[::-1], [*KEYS, "one more"]])
def test_labels_of_other_images_are_refused(store: Path, keys: list[str]) -> None:
    spec = PseudoSpec(teacher="a", teacher_round=0, top_fraction=1.0, selection="overall")
    with pytest.raises(CheckpointError, match="other images"):
        label_store(store, keys=keys).read()
    with pytest.raises(CheckpointError, match="other images"):
        label_store(store, keys=keys).select(spec, class_shares=())


def test_a_tampered_table_is_refused(store: Path) -> None:
    path = store / "labels.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(CheckpointError, match=r"labels\.parquet"):
        label_store(store).is_whole()


def test_a_missing_table_is_refused(store: Path) -> None:
    (store / "labels.parquet").unlink()
    with pytest.raises(CheckpointError, match=r"labels\.parquet is missing"):
        label_store(store).is_whole()


def test_answers_come_in_any_order_from_any_process(tmp_path: Path) -> None:
    """Every process ends with all rows; the first one writes them, in the order of the images."""
    shares = [[[3, 0], [2]], [[4], [1]]]
    made = [label_store(tmp_path) for _ in shares]
    for own, batches in zip(made, shares, strict=True):
        for positions in batches:
            own.add(positions, rows(PREDICTION, positions))
    gathered: list[Any] = []
    for own in reversed(made):
        own.finish(lambda values: gathered.extend(values) or [], is_main=False)  # type: ignore[func-returns-value]
    assert list(tmp_path.iterdir()) == []
    label_store(tmp_path).finish(lambda values: [*values, *gathered], is_main=True)
    read = label_store(tmp_path).read()
    assert torch.equal(read.label, PREDICTION.label)
    assert torch.equal(read.code, PREDICTION.code)


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
def test_selection_from_a_store(store: Path, selection: Selection, fraction: float, positions: list[int]) -> None:
    spec = PseudoSpec(teacher="a", teacher_round=0, top_fraction=fraction, selection=selection)
    chosen: PseudoLabels = label_store(store).select(spec, class_shares=[0.25, 0.0, 0.75])
    assert len(chosen) == len(positions)
    assert chosen.positions.tolist() == positions
    label, code = chosen.read(range(len(positions)))
    assert label.tolist() == PREDICTION.label[positions].tolist()
    assert code.tolist() == PREDICTION.code[positions].tolist()
    label, code = chosen.read([len(positions) - 1, 0])
    assert label.tolist() == PREDICTION.label[[positions[-1], positions[0]]].tolist()
    assert code.tolist() == PREDICTION.code[[positions[-1], positions[0]]].tolist()


def test_selection_without_any_usable_label_is_empty(tmp_path: Path) -> None:
    nothing = Prediction(label=torch.tensor([-1, -1]), code=torch.tensor([0, 0]))
    made = fill(tmp_path, nothing, keys=KEYS[:2], num_classes=1)
    spec = PseudoSpec(teacher="a", teacher_round=0, top_fraction=1.0, selection="overall")
    chosen = made.select(spec, class_shares=[1.0])
    assert len(chosen) == 0
    assert (chosen.summary.predicted, chosen.summary.kept, chosen.summary.thresholds) == ((0,), (0,), (None,))


def random_answers(count: int, *, seed: int, num_classes: int = 4) -> Prediction:
    """Ties, a class that is never predicted, and answers that are not finite."""
    random = torch.Generator().manual_seed(seed)
    label = torch.randint(-1, num_classes - 1, (count,), generator=random)
    code = torch.randint(12, (count,), generator=random) * 700
    return Prediction(label=label, code=torch.where(label >= 0, code, 0).int())


def confidence_of(code: int) -> float:
    return 1.0 - 2.0 ** (-code / 1024)


@pytest.mark.parametrize("count", [1, 4, 30, 200])
@pytest.mark.parametrize("selection", ["overall", "per_class"])
def test_the_summary_counts_by_class(tmp_path: Path, count: int, selection: Selection) -> None:
    answers = random_answers(count, seed=count)
    made = fill(tmp_path, answers, keys=[str(number) for number in range(count)], num_classes=4)
    chosen = made.select(
        PseudoSpec(teacher="a", teacher_round=0, top_fraction=0.3, selection=selection), class_shares=()
    )
    kept = set(chosen.positions.tolist())
    for k in range(4):
        members = [i for i in range(count) if answers.label[i] == k]
        codes = [int(answers.code[i]) for i in members if i in kept]
        assert chosen.summary.predicted[k] == len(members)
        assert chosen.summary.kept[k] == len(codes)
        found = chosen.summary.thresholds[k]
        if codes:
            assert found == pytest.approx(confidence_of(min(codes)), rel=1e-12)
        else:
            assert found is None


@pytest.mark.parametrize("count", [1, 5, 40, 300])
@pytest.mark.parametrize("threshold", [0.0, 0.5, float(decode_confidence(torch.tensor(2100))), 0.95, 1.0])
def test_a_threshold_keeps_what_is_above_it(tmp_path: Path, count: int, threshold: float) -> None:
    """Eq. 2 is strict; the top fraction plays no part in it."""
    answers = random_answers(count, seed=count)
    made = fill(tmp_path, answers, keys=[str(number) for number in range(count)], num_classes=4)
    for fraction in (0.2, 1.0):
        spec = PseudoSpec(
            teacher="a", teacher_round=0, top_fraction=fraction, selection="threshold", threshold=threshold
        )
        chosen = made.select(spec, class_shares=())
        pairs = list(zip(answers.label.tolist(), answers.code.tolist(), strict=True))
        # Codes lie further apart than the margin, by which a tie is no excess however it is computed.
        expected = [
            i for i, (label, code) in enumerate(pairs) if label >= 0 and confidence_of(code) > threshold + 1e-12
        ]
        assert chosen.positions.tolist() == expected
        assert sum(chosen.summary.kept) == len(expected)


def test_a_confidence_at_the_threshold_is_not_above_it(tmp_path: Path) -> None:
    answers = Prediction(label=torch.tensor([0, 0, 0]), code=torch.tensor([1023, 1024, 1025], dtype=torch.int32))
    made = fill(tmp_path, answers, keys=KEYS[:3])
    spec = PseudoSpec(teacher="a", teacher_round=0, top_fraction=1.0, selection="threshold", threshold=0.5)
    assert decode_confidence(answers.code)[1] == 0.5
    assert made.select(spec, class_shares=()).positions.tolist() == [2]


def test_the_surest_answers_stay_apart_from_each_other(tmp_path: Path) -> None:
    """Codes rank where confidences as float64 are all 1."""
    codes = [MAX_CODE - 3, MAX_CODE, MAX_CODE - 1, MAX_CODE - 2]
    answers = Prediction(label=torch.zeros(4, dtype=torch.int64), code=torch.tensor(codes, dtype=torch.int32))
    made = fill(tmp_path, answers, keys=KEYS[:4])
    spec = PseudoSpec(teacher="a", teacher_round=0, top_fraction=0.5, selection="per_class")
    assert math.isclose(confidence_of(MAX_CODE - 3), 1.0, abs_tol=1e-15)
    assert made.select(spec, class_shares=()).positions.tolist() == [1, 2]
