import io
import json
import math
import pickle
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from dmt.data.pseudo_labels import Provenance
from dmt.data.pseudo_masks import MaskPseudoLabels, MaskStore, default_palette, read_masks
from dmt.errors import CheckpointError, DataError
from dmt.selection import MAX_CODE, confidence_code, decode_confidence
from dmt.types import IGNORE_INDEX, Prediction, PseudoSpec, Selection

KEYS = ["train/0001_a", "train/sub folder/größe.png", "b", "train/0001.b", "0004"]
SIZES = [(6, 9), (6, 9), (1, 1), (13, 4), (6, 9)]
PALETTE = [(128, 64, 0), (0, 255, 1), (7, 8, 9), (250, 250, 250)]
PROVENANCE = Provenance(teacher="round 1, network b", teacher_hash="abc", config_hash="def")


def predictions(num_classes: int = 4) -> list[Prediction]:
    """One for each image, `(1, H, W)`, with ties, answers that are not finite, and a class that is never predicted."""
    random = torch.Generator().manual_seed(num_classes)
    found = []
    for height, width in SIZES:
        label = torch.randint(-1, num_classes - 1, (1, height, width), generator=random)
        code = torch.randint(9, (1, height, width), generator=random) * 8000
        code += torch.randint(3, (1, height, width), generator=random)
        found.append(Prediction(label=label, code=code.clamp(max=MAX_CODE).where(label >= 0, 0).int()))
    return found


def alone(values: Sequence[Any]) -> list[Any]:
    return list(values)


def make_store(folder: Path, num_classes: int = 4, **changes: Any) -> MaskStore:
    arguments: dict[str, Any] = {"keys": KEYS, "provenance": PROVENANCE, "palette": PALETTE, **changes}
    return MaskStore(folder, num_classes=num_classes, **arguments)


def fill(folder: Path, num_classes: int = 4, **changes: Any) -> MaskStore:
    store = make_store(folder, num_classes, **changes)
    for position, prediction in enumerate(predictions(num_classes)):
        store.add([position], prediction)
    store.finish(alone, is_main=True)
    return store


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    fill(tmp_path / "pseudo_labels")
    return tmp_path / "pseudo_labels"


def make_spec(selection: Selection, alpha: str, threshold: float | None = None) -> PseudoSpec:
    return PseudoSpec(teacher="a", teacher_round=0, top_fraction=float(alpha), selection=selection, threshold=threshold)


def select_all(store: MaskStore) -> MaskPseudoLabels:
    return store.select(make_spec("per_class", "1.0"), class_shares=[])


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_everything_comes_back(folder: Path) -> None:
    store = make_store(folder)
    assert store.is_whole()
    chosen = select_all(store)
    assert len(chosen) == 5
    assert chosen.positions.tolist() == [0, 1, 2, 3, 4]
    for item, prediction in enumerate(predictions()):
        labels, codes = chosen.read([item])
        assert torch.equal(labels, prediction.label.where(prediction.label >= 0, IGNORE_INDEX))
        assert torch.equal(codes, prediction.code)
        assert (labels.dtype, codes.dtype) == (torch.int64, torch.int32)


def test_images_of_one_size_are_read_together_in_any_order(folder: Path) -> None:
    chosen = select_all(make_store(folder))
    labels, codes = chosen.read([4, 0, 0])
    singles = [chosen.read([item]) for item in (4, 0, 0)]
    assert torch.equal(labels, torch.cat([label for label, _ in singles]))
    assert torch.equal(codes, torch.cat([code for _, code in singles]))


def test_any_viewer_shows_the_masks_in_the_data_sets_colors(folder: Path) -> None:
    for key, prediction in zip(KEYS, predictions(), strict=True):
        mask = Image.open(folder / "labels" / f"{key}.png")
        assert mask.mode == "P"
        expected = [(255, 255, 255) if k < 0 else PALETTE[k] for k in prediction.label.flatten().tolist()]
        assert np.array(mask.convert("RGB")).reshape(-1, 3).tolist() == [list(color) for color in expected]
        assert np.array(mask).flatten().tolist() == [k % 256 for k in prediction.label.flatten().tolist()]
        codes = Image.open(folder / "codes" / f"{key}.png")
        assert codes.mode.startswith("I")
        assert np.array(codes).tolist() == prediction.code[0].tolist()


def test_other_programs_read_the_tables(folder: Path) -> None:
    index = pq.read_table(folder / "index.parquet").to_pylist()
    assert [(row["image"], row["height"], row["width"]) for row in index] == [
        (key, *size) for key, size in zip(KEYS, SIZES, strict=True)
    ]
    assert list(index[0]) == ["image", "height", "width", "label_crc32", "code_crc32"]
    counts: dict[tuple[int, int], int] = {}
    for prediction in predictions():
        for site in zip(prediction.label.flatten().tolist(), prediction.code.flatten().tolist(), strict=True):
            counts[site] = counts.get(site, 0) + 1
    histogram = pq.read_table(folder / "histogram.parquet").to_pylist()
    assert list(histogram[0]) == ["class", "code", "count"]
    found = [((row["class"], row["code"]), row["count"]) for row in histogram]
    assert found == sorted((site, count) for site, count in counts.items() if site[0] >= 0)


def test_the_manifest_says_what_the_store_was_made_by(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["num_images"] == 5
    assert {key: manifest[key] for key in vars(PROVENANCE)} == vars(PROVENANCE)
    assert sorted(manifest["sha256"]) == ["histogram.parquet", "index.parquet"]


def slow_thresholds(sites: list[tuple[int, int]], spec: PseudoSpec, alpha: str, shares: list[str]) -> list[float]:
    """For each class the lowest code it keeps, by sorting; infinity when it keeps none."""
    thresholds = []
    for k, share in enumerate(shares):
        own = sorted((code for label, code in sites if label == k), reverse=True)
        ranked = sorted((code for _, code in sites), reverse=True) if spec.selection == "overall" else own
        quota = math.ceil(Fraction(alpha) * len(ranked))
        if spec.selection == "overall":
            quota = max(1, math.floor(Fraction(alpha) * len(ranked) + Fraction(1, 2)))
        if spec.selection == "class_prior" and Fraction(share) > 0:
            quota = min(quota, math.ceil(Fraction(share) * Fraction(alpha) * len(sites)))
        if spec.selection == "class_share" and Fraction(share) > 0:
            quota = min(len(own), math.ceil(Fraction(share) * Fraction(alpha) * len(sites)))
        threshold = 0 if alpha == "1.0" and quota == len(ranked) else ([math.inf, *ranked])[quota]
        if spec.selection == "threshold":
            assert spec.threshold is not None
            confidence = decode_confidence(torch.arange(MAX_CODE + 1)).tolist()
            threshold = next(code for code in range(MAX_CODE + 1) if confidence[code] > spec.threshold)
        thresholds.append(threshold if own and own[0] >= threshold else math.inf)
    return thresholds


@pytest.mark.parametrize("num_classes", [4, 30])
@pytest.mark.parametrize(
    ("selection", "alpha"),
    [
        *(("per_class", alpha) for alpha in ("0.0001", "0.2", "0.29", "0.6", "1.0")),
        *(("overall", alpha) for alpha in ("0.0001", "0.35", "1.0")),
        *((by_shares, alpha) for by_shares in ("class_prior", "class_share") for alpha in ("0.2", "1.0")),
        ("threshold", "0.1"),
    ],
)
def test_what_is_kept_equals_sorting_all_pixels(
    tmp_path: Path, selection: Selection, alpha: str, num_classes: int
) -> None:
    spec = make_spec(selection, alpha, threshold=0.999 if selection == "threshold" else None)
    shares = ["1/40", "0", *["1/9"] * 28][:num_classes]
    chosen = fill(tmp_path, num_classes).select(spec, class_shares=[float(Fraction(share)) for share in shares])
    maps = [(one.label.flatten().tolist(), one.code.flatten().tolist()) for one in predictions(num_classes)]
    sites = [site for labels, codes in maps for site in zip(labels, codes, strict=True) if site[0] >= 0]
    thresholds = slow_thresholds(sites, spec, alpha, shares)
    for item, (labels, codes) in enumerate(maps):
        expected = [k if k >= 0 and q >= thresholds[k] else 255 for k, q in zip(labels, codes, strict=True)]
        read, read_codes = chosen.read([item])
        assert read.flatten().tolist() == expected
        assert read_codes.flatten().tolist() == codes
    classes = range(num_classes)
    assert chosen.summary.predicted == tuple(sum(label == k for label, _ in sites) for k in classes)
    assert chosen.summary.kept == tuple(sum(k == label and q >= thresholds[k] for label, q in sites) for k in classes)
    assert chosen.summary.thresholds == tuple(
        None if math.isinf(threshold) else float(decode_confidence(torch.tensor(int(threshold))))
        for threshold in thresholds
    )


def two_processes(folder: Path) -> None:
    """Rank 0 has the even images, rank 1 the odd ones, the last one first."""
    stores = [make_store(folder), make_store(folder)]
    for position, prediction in reversed(list(enumerate(predictions()))):
        stores[position % 2].add([position], prediction)
    sent: list[list[Any]] = []

    def send(values: Sequence[Any]) -> list[Any]:
        sent.append(pickle.loads(pickle.dumps(list(values))))
        return list(values)

    stores[1].finish(send, is_main=False)
    assert not (folder / "manifest.json").exists()
    assert not stores[1].is_whole()
    stores[0].finish(lambda values: [*values, *sent.pop(0)], is_main=True)
    assert sent == []
    assert all(store.is_whole() for store in stores)


def test_two_processes_make_the_files_of_one(folder: Path, tmp_path: Path) -> None:
    two_processes(tmp_path / "two")
    assert files_of(tmp_path / "two") == files_of(folder)


def test_images_may_come_in_batches(folder: Path, tmp_path: Path) -> None:
    parts = predictions()
    store = make_store(tmp_path / "batches")
    for positions in ([4, 0, 1], [2], [3]):
        label, code = (torch.cat([getattr(parts[i], name) for i in positions]) for name in ("label", "code"))
        store.add(positions, Prediction(label=label, code=code))
    store.finish(alone, is_main=True)
    assert files_of(tmp_path / "batches") == files_of(folder)


def test_labeling_that_was_interrupted_starts_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = files_of(folder)
    (folder / "manifest.json").unlink()
    store = make_store(folder)
    assert not store.is_whole()
    store.add([0], Prediction(label=torch.zeros(1, 2, 2, dtype=torch.int64), code=torch.zeros(1, 2, 2).int()))
    assert not make_store(folder).is_whole()
    fill(folder)
    assert files_of(folder) == before

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    (folder / "manifest.json").unlink()
    monkeypatch.setattr("dmt.data.pseudo_labels.write_json", fail)
    with pytest.raises(KeyboardInterrupt):
        fill(folder)
    assert not make_store(folder).is_whole()


def test_an_image_that_nobody_labeled_is_our_bug(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    store.add([1], predictions()[1])
    with pytest.raises(AssertionError):
        store.finish(alone, is_main=True)


@pytest.mark.parametrize("field", ["teacher", "teacher_hash", "config_hash"])
def test_labels_of_another_origin_are_refused(folder: Path, field: str) -> None:
    with pytest.raises(CheckpointError, match=field) as caught:
        make_store(folder, provenance=replace(PROVENANCE, **{field: "other"})).is_whole()
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize("keys", [KEYS[:-1], KEYS[::-1], [*KEYS, "one more"]])
def test_labels_of_other_images_are_refused(folder: Path, keys: list[str]) -> None:
    with pytest.raises(CheckpointError, match="other images"):
        make_store(folder, keys=keys).is_whole()


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


@pytest.mark.parametrize("name", ["index.parquet", "histogram.parquet"])
@pytest.mark.parametrize("damage", [flip_a_bit, truncate])
def test_damaged_tables_are_refused(folder: Path, name: str, damage: Callable[[Path], None]) -> None:
    damage(folder / name)
    with pytest.raises(CheckpointError, match=rf"{name} is not what its manifest says"):
        make_store(folder).is_whole()


@pytest.mark.parametrize("name", ["index.parquet", "histogram.parquet", "labels/b.png", "codes/train/0001.b.png"])
def test_a_missing_file_is_noticed_before_training(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=rf"{name} is missing.*Delete the folder"):
        make_store(folder).is_whole()


@pytest.mark.parametrize("kind", ["labels", "codes"])
@pytest.mark.parametrize("damage", [flip_a_bit, truncate])
def test_an_image_that_was_changed_is_refused_when_it_is_read(
    folder: Path, kind: str, damage: Callable[[Path], None]
) -> None:
    damage(folder / kind / f"{KEYS[1]}.png")
    chosen = select_all(make_store(folder))
    chosen.read([0])
    with pytest.raises(CheckpointError, match=rf"{kind}.{KEYS[1]}\.png was changed after it was written"):
        chosen.read([1])


def test_an_image_that_vanished_is_refused_when_it_is_read(folder: Path) -> None:
    chosen = select_all(make_store(folder))
    (folder / "codes/0004.png").unlink()
    with pytest.raises(CheckpointError, match=r"0004\.png cannot be read"):
        chosen.read([4])


def test_a_second_look_at_the_images_notices_damage(tmp_path: Path) -> None:
    store = fill(tmp_path, 30)
    flip_a_bit(tmp_path / "codes/b.png")
    with pytest.raises(CheckpointError, match=r"codes.b\.png was changed"):
        select_all(store)


def test_masks_can_be_looked_at_without_a_selection(folder: Path) -> None:
    labels, codes = read_masks(folder, KEYS[3])
    prediction = predictions()[3]
    assert torch.equal(labels, prediction.label[0].where(prediction.label[0] >= 0, IGNORE_INDEX))
    assert torch.equal(codes, prediction.code[0])


def broken_pngs() -> list[bytes]:
    """Broken where the decoder gives up in different ways."""
    noise = np.random.default_rng(0).integers(MAX_CODE, size=(150, 250)).astype(np.uint16)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "PNG")
    whole = buffer.getvalue()
    second_chunk = whole.rindex(b"IDAT")
    return [
        b"",
        whole[:8],
        b"not a picture",
        whole[:-1000],
        whole[: second_chunk + 2],
        whole[:second_chunk] + b"I@AT" + whole[second_chunk + 4 :],
        whole[:11] + bytes([whole[11] - 1]) + whole[12:],
    ]


@pytest.mark.parametrize("case", range(7))
def test_a_broken_png_is_named(folder: Path, case: int) -> None:
    (folder / "codes/0004.png").write_bytes(broken_pngs()[case])
    with pytest.raises(CheckpointError, match=r"codes.0004\.png is no whole PNG"):
        read_masks(folder, "0004")


def test_a_mask_that_is_not_there_is_named(folder: Path) -> None:
    with pytest.raises(CheckpointError, match=r"labels.nobody\.png cannot be read"):
        read_masks(folder, "nobody")


@pytest.mark.parametrize("key", ["../a", "a/../../b", "/etc/passwd", "//etc/passwd"])
def test_masks_of_images_that_lie_elsewhere_stay_in_the_folder(tmp_path: Path, key: str) -> None:
    folder = tmp_path / "deep" / "store"
    store = fill(folder, keys=[*KEYS[:3], key, KEYS[4]])
    _, codes = read_masks(folder, key)
    assert torch.equal(codes, predictions()[3].code[0])
    assert torch.equal(select_all(store).read([3])[0], read_masks(folder, key)[0][None])
    assert all(path.resolve().is_relative_to(folder.resolve()) for path in tmp_path.rglob("*.png"))


@pytest.mark.parametrize("key", ["..", "", ".", "a\0b", "a/.."])
def test_keys_that_are_no_images_are_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(DataError, match="cannot name a file") as caught:
        make_store(tmp_path / "store", keys=["fine", key])
    assert repr(key) in str(caught.value)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("keys", [["a", "a"], ["a/b", "c", "a//b"], ["a/./b", "a/b"], ["../a", "__up__/a"]])
def test_keys_that_would_share_a_file_are_refused(tmp_path: Path, keys: list[str]) -> None:
    with pytest.raises(DataError, match="share the file"):
        make_store(tmp_path, keys=keys)


def test_the_longest_names_that_images_may_have(tmp_path: Path) -> None:
    keys = [*KEYS[:3], "a" * 251 + ".jpg", "a" * 252 + ".jp"]
    store = fill(tmp_path, keys=keys)
    for number, key in enumerate(keys):
        assert torch.equal(read_masks(tmp_path, key)[1], predictions()[number].code[0])
    assert torch.equal(select_all(store).read([3])[0], read_masks(tmp_path, keys[3])[0][None])


def test_dots_in_names_are_fine(tmp_path: Path) -> None:
    make_store(tmp_path, keys=["..a", "a..b", "a.b/..c", "a.b/c.jpg", "a.b/c.png", "a.b/c"])


def test_more_classes_than_a_byte_holds_are_refused(tmp_path: Path) -> None:
    make_store(tmp_path, num_classes=255)
    with pytest.raises(DataError, match="256 classes"):
        make_store(tmp_path, num_classes=256)


def test_loading_processes_get_a_small_object(folder: Path) -> None:
    chosen = select_all(make_store(folder))
    pickled = pickle.dumps(chosen)
    assert len(pickled) < 10_000
    copy = pickle.loads(pickled)
    assert all(torch.equal(a, b) for a, b in zip(copy.read([0]), chosen.read([0]), strict=True))
    assert copy.summary == chosen.summary


def test_the_default_palette_tells_classes_apart(tmp_path: Path) -> None:
    palette = default_palette(255)
    assert len({*palette, (255, 255, 255)}) == 256
    assert palette[:5] == default_palette(5)
    store = make_store(tmp_path, palette=None, keys=["a"])
    store.add([0], Prediction(label=torch.tensor([[[0, 2]]]), code=torch.tensor([[[1, 2]]])))
    mask = Image.open(tmp_path / "labels/a.png").convert("RGB")
    assert [mask.getpixel((0, 0)), mask.getpixel((1, 0))] == [palette[0], palette[2]]


def smooth_logits(random: torch.Generator) -> Tensor:
    """What a segmenter's output is like: bilinear between coarse places, not quite smooth."""
    coarse = 3 * torch.randn(2, 11, 8, 10, generator=random)
    logits = F.interpolate(coarse, (113, 145), mode="bilinear", align_corners=True)
    return logits + 0.02 * torch.randn(logits.shape, generator=random)


def test_a_pixel_takes_at_most_two_bytes(tmp_path: Path) -> None:
    logits = smooth_logits(torch.Generator().manual_seed(0))
    store = make_store(tmp_path, 11, keys=["a", "b"], palette=None)
    store.add([0, 1], Prediction(label=logits.argmax(dim=1), code=confidence_code(logits)))
    images = [content for name, content in files_of(tmp_path).items() if name.endswith(".png")]
    assert len(images) == 4
    assert sum(map(len, images)) <= 2 * logits[:, 0].numel()
