"""Teachers whose labels come in the shares of the labeled set."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from scipy.optimize import minimize
from torch import nn

from dmt.alignment import MAX_IMAGES, Alignment, align, class_offsets, sample
from dmt.config_files import load_config
from dmt.data.images import ArrayImages
from dmt.data.parts import UnlabeledPart
from dmt.engine import Engine
from dmt.errors import ConfigError
from dmt.models.aligned import Aligned
from dmt.progress import Silent
from dmt.run import run
from tiny_runs import TINY_NETWORKS, tiny_config, tiny_parts

ROUND_1 = Path("rounds") / "1" / "a"


def some_logits(count: int = 200, num_classes: int = 4) -> torch.Tensor:
    return 3 * torch.randn(count, num_classes, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def by_minimizing(logits: torch.Tensor, shares: list[float]) -> np.ndarray:
    """The offsets as the minimum of mean(logsumexp(logits + b)) - shares . b, whose gradient is means - shares."""
    values = logits.numpy()

    def loss(offsets: np.ndarray) -> float:
        return float(np.logaddexp.reduce(values + offsets, axis=1).mean() - np.dot(shares, offsets))

    found = minimize(loss, np.zeros(values.shape[1]), method="BFGS", options={"gtol": 1e-9}).x
    return np.asarray(found - found.mean())


@pytest.mark.parametrize("shares", [[0.25] * 4, [0.7, 0.1, 0.1, 0.1], [0.4, 0.3, 0.2, 0.1]])
def test_offsets_against_a_general_minimizer(shares: list[float]) -> None:
    logits = some_logits() + torch.tensor([2.0, 0.0, 0.0, -1.0])
    offsets = class_offsets(logits, shares)
    assert (offsets - offsets.mean()).numpy() == pytest.approx(by_minimizing(logits, shares), abs=1e-3)
    assert (logits + offsets).softmax(dim=1).mean(dim=0).tolist() == pytest.approx(shares, rel=2e-4)


def test_a_class_that_is_almost_never_given_gets_its_share() -> None:
    logits = some_logits() + torch.tensor([0.0, 0.0, 0.0, -40.0])
    assert (logits.softmax(dim=1).mean(dim=0)[3]) < 1e-10
    means = (logits + class_offsets(logits, [0.25] * 4)).softmax(dim=1).mean(dim=0)
    assert means.tolist() == pytest.approx([0.25] * 4, rel=1e-3)


def test_a_class_of_unknown_share_keeps_its_mean_and_the_others_share_the_rest() -> None:
    logits = some_logits() + torch.tensor([2.0, 0.0, 0.0, -1.0])
    before = logits.softmax(dim=1).mean(dim=0)[1].item()
    means = (logits + class_offsets(logits, [0.5, 0.0, 0.25, 0.25])).softmax(dim=1).mean(dim=0)
    assert means.tolist() == pytest.approx([0.5 * (1 - before), before, *[0.25 * (1 - before)] * 2], rel=1e-3)


@pytest.mark.parametrize("scale", [1.0, 30.0, 100.0])
def test_sharp_teachers_are_brought_to_the_shares_as_well(scale: float) -> None:
    logits = scale * some_logits(2000)
    logits[:, 1] = logits[:, 0] - 1  # of two classes that look alike, one is always given
    means = (logits + class_offsets(logits, [0.25] * 4)).softmax(dim=1).mean(dim=0)
    assert means.tolist() == pytest.approx([0.25] * 4, rel=0.005)


def test_rows_that_are_not_finite_do_not_count() -> None:
    logits = some_logits()
    broken = torch.cat([logits, torch.full((3, 4), torch.nan), torch.full((1, 4), torch.inf)]).double()
    assert torch.equal(class_offsets(broken, [0.25] * 4), class_offsets(logits, [0.25] * 4))
    assert class_offsets(broken[-4:], [0.25] * 4).tolist() == [0.0] * 4
    assert class_offsets(logits, [0.0] * 4).tolist() == [0.0] * 4


@pytest.mark.parametrize("count", [0, 1, MAX_IMAGES, MAX_IMAGES + 1, 57_900])
def test_a_sample_is_as_large_as_it_may_be_and_follows_no_order_of_the_images(count: int) -> None:
    chosen = sample(count, seed=3)
    assert chosen == sorted(set(chosen)) == sample(count, seed=3)
    assert len(chosen) == min(count, MAX_IMAGES)
    assert not chosen or 0 <= chosen[0] <= chosen[-1] < count
    if count > 2 * MAX_IMAGES:
        assert chosen != sample(count, seed=4)
        assert np.bincount(np.array(chosen) % 10) == pytest.approx([MAX_IMAGES / 10] * 10, rel=0.15)


def aligned_config(**changes: Any) -> dict[str, Any]:
    return tiny_config(rounds={"top_fractions": [1.0], "alignment": "labeled_shares"}, **changes)


def labels_of(folder: Path) -> dict[str, list[Any]]:
    table: dict[str, list[Any]] = pq.read_table(folder / ROUND_1 / "pseudo_labels" / "labels.parquet").to_pydict()
    return table


def test_a_run_labels_nearer_to_the_labeled_shares(tmp_path: Path) -> None:
    """After three steps a teacher gives one class too often; aligned, less than half as unevenly."""
    short = {"supervised": {"steps": 3}, "ema": None}
    run(aligned_config(**short), tiny_parts(), TINY_NETWORKS, run_dir=tmp_path / "aligned")
    run(tiny_config(rounds={"top_fractions": [1.0]}, **short), tiny_parts(), TINY_NETWORKS, run_dir=tmp_path / "plain")
    counts = [np.bincount(labels_of(tmp_path / name)["label"], minlength=3) for name in ("plain", "aligned")]
    uneven = [int(np.ptp(one)) for one in counts]
    assert counts[0].sum() == counts[1].sum() == 51
    assert uneven[0] >= 10  # or the rest would show nothing
    assert uneven[1] < uneven[0] / 2


def test_a_result_tells_what_alignment_moved(tmp_path: Path) -> None:
    """Of a teacher that gives one class too often, some labels change; without alignment nothing is told."""
    short = {"supervised": {"steps": 3}, "ema": None}
    result = run(aligned_config(**short), tiny_parts(), TINY_NETWORKS, run_dir=tmp_path / "aligned")
    plain = run(
        tiny_config(rounds={"top_fractions": [1.0]}, **short), tiny_parts(), TINY_NETWORKS, run_dir=tmp_path / "plain"
    )
    row = result["rounds"][1]
    kept = json.loads((tmp_path / "aligned" / ROUND_1 / "pseudo_labels" / "alignment.json").read_text())
    before, after = (labels_of(tmp_path / name)["label"] for name in ("plain", "aligned"))
    changed = sum(first != second for first, second in zip(before, after, strict=True))
    assert 0 < changed < len(before)  # or the rest would show nothing
    assert row["labels_moved"] == pytest.approx(100 * changed / len(before), abs=1e-4)
    assert row["alignment_offsets"] == pytest.approx(kept["offsets"], abs=1e-4)
    assert not {"labels_moved", "alignment_offsets"} & set(plain["rounds"][1])
    assert "labels_moved" not in result["rounds"][0]


def test_a_teacher_is_aligned_once_a_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not again for CBST's second ranking, nor when a stage goes on; what is kept is what labels."""
    asked: list[str] = []

    def counted(*args: Any, title: str, **kwargs: Any) -> Alignment:
        asked.append(title)
        return align(*args, title=title, **kwargs)

    monkeypatch.setattr("dmt.teaching.align", counted)
    config = tiny_config(
        method="cbst", rounds={"top_fractions": [0.5], "alignment": "labeled_shares", "selection": "renormalized"}
    )
    folder, labels = tmp_path / "run", Path("rounds/1/a/pseudo_labels")
    run(config, tiny_parts(), TINY_NETWORKS, run_dir=folder)
    first = labels_of(folder)
    assert len(asked) == 1
    for name in ("result.json", f"{ROUND_1}/DONE"):
        (folder / name).unlink()
    for path in [path for path in (folder / labels).rglob("*") if path.is_file() and path.name != "alignment.json"]:
        path.unlink()
    (folder / labels / "alignment.json").write_text('{"offsets": [0.0, 50.0, 0.0], "moved": 0.5}')
    run(config, tiny_parts(), TINY_NETWORKS, run_dir=folder)
    assert len(asked) == 1
    assert set(labels_of(folder)["label"]) == {1} != set(first["label"])


class Looked(nn.Module):
    """Answers each image by its first pixel, which is its number."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.logits = logits.float()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.logits[(images[:, 0, 0, 0] * 255).round().long()]


class Told(Silent):
    def __init__(self) -> None:
        self.messages: list[str] = []

    def message(self, text: str) -> None:
        self.messages.append(text)


def numbered(count: int) -> UnlabeledPart:
    """Images whose first pixel is their number."""
    pixels = torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 2, 2)
    return UnlabeledPart(
        ArrayImages(pixels, torch.zeros(count, dtype=torch.int64), "x"), (*range(count),), has_truth=False
    )


@pytest.mark.parametrize(("bias", "warns"), [(0.0, False), (20.0, True)])
def test_a_teacher_is_moved_and_a_run_says_when_many_labels_change(bias: float, warns: bool) -> None:
    """A teacher that gives one class to nearly everything is wrong, or the labels' shares are not the images'."""
    part, observer = numbered(200), Told()
    biased = some_logits() + torch.tensor([bias, 0.0, 0.0, 0.0])
    found = align(
        Looked(biased),
        part,
        [0.25] * 4,
        seed=0,
        engine=Engine("fp32"),
        batch_size=7,
        workers=0,
        title="round 1",
        observer=observer,
    )
    assert list(found.offsets) == pytest.approx(class_offsets(biased.float().double(), [0.25] * 4).tolist())
    teacher = Aligned(Looked(biased), torch.tensor(found.offsets))
    answers = teacher(part.images([*range(200)]) / 255)
    assert found.moved == pytest.approx(float((answers.argmax(dim=1) != biased.argmax(dim=1)).double().mean()))
    assert answers.softmax(dim=1).mean(dim=0).tolist() == pytest.approx([0.25] * 4, rel=1e-3)
    assert len(observer.messages) == warns
    assert all(
        re.match(r"round 1: rounds\.alignment=labeled_shares changes \d\d% of", one) for one in observer.messages
    )


def test_labeling_again_gives_the_same_labels(tmp_path: Path) -> None:
    first = run(aligned_config(), tiny_parts(), TINY_NETWORKS, run_dir=tmp_path / "run")
    labels = labels_of(tmp_path / "run")
    (tmp_path / "run" / "result.json").unlink()
    (tmp_path / "run" / ROUND_1 / "DONE").unlink()
    shutil.rmtree(tmp_path / "run" / ROUND_1 / "pseudo_labels")
    again = run(aligned_config(), tiny_parts(), TINY_NETWORKS, run_dir=tmp_path / "run")
    assert labels_of(tmp_path / "run") == labels
    assert again["rounds"][1]["accuracy"] == first["rounds"][1]["accuracy"]


def test_masks_have_no_aligned_teachers() -> None:
    with pytest.raises(ConfigError, match=r"rounds\.alignment: .* classification only"):
        load_config({"task": "segmentation", "data": {"name": "scenes"}, "rounds": {"alignment": "labeled_shares"}})
