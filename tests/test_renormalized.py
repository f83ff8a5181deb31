"""CBST's own ranking: probabilities divided by their classes' thresholds (paper, section 4.2.2)."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from dmt.data.pseudo_labels import Provenance, PseudoStore
from dmt.data.pseudo_masks import MaskStore
from dmt.data.pseudo_table import LabelStore
from dmt.label import most_probable, renormalized_by
from dmt.selection import confidence_code, decode_confidence
from dmt.types import PseudoSpec
from slow_logits import code_of, random_logits, sites_of, softmax

PROVENANCE = Provenance(teacher="round 1, network b", teacher_hash="abc", config_hash="def")


def direct_thresholds(logits: Tensor, alpha: float) -> list[float | None]:
    """The lowest confidence that direct ranking keeps of each class, as it is stored; None where it keeps none."""
    prediction = most_probable(logits)
    found: list[float | None] = []
    for k in range(logits.shape[1]):
        codes = sorted(prediction.code[prediction.label == k].tolist(), reverse=True)
        kept = codes[: math.ceil(alpha * len(codes) - 1e-9)]
        found.append(float(decode_confidence(torch.tensor(kept[-1]))) if kept else None)
    return found


def slow_renormalized(p: Sequence[float], thresholds: Sequence[float | None]) -> tuple[int, float]:
    """CBST, for one site: the class of the largest p_k / threshold_k, and its codes above that threshold."""
    shares = [0.0 if one is None else value / one for value, one in zip(p, thresholds, strict=True)]
    chosen = shares.index(max(shares))
    limit = thresholds[chosen]
    return chosen, -math.inf if limit is None else code_of(p[chosen]) - code_of(limit)


@pytest.mark.parametrize("alpha", [0.2, 0.6, 1.0, None])
@pytest.mark.parametrize("num_classes", [2, 3, 8])
@pytest.mark.parametrize("shape", [(40,), (3, 5, 7)])
def test_renormalized_ranking_equals_a_scalar_loop(
    shape: tuple[int, ...], num_classes: int, alpha: float | None
) -> None:
    logits = random_logits(shape, num_classes, seed=num_classes, scale=1.0, bias=0.7)
    uneven = np.geomspace(0.8, 0.15, num_classes).tolist()
    thresholds = uneven if alpha is None else direct_thresholds(logits, alpha)
    prediction = renormalized_by(thresholds)(logits)
    assert prediction.label.shape == prediction.code.shape == shape
    direct, changed = most_probable(logits).label.flatten().tolist(), 0
    rows = zip(sites_of(logits), prediction.label.flatten().tolist(), prediction.code.flatten().tolist(), strict=True)
    for number, (site, found, code) in enumerate(rows):
        p = softmax(site)
        chosen, above = slow_renormalized(p, thresholds)
        assert abs(code - code_of(p[chosen])) <= 0.65, "the code is that of the chosen class"
        if abs(above) > 1.5:  # both are rounded
            assert found == (chosen if above > 0 else -1)
        changed += found not in (-1, direct[number])
    if alpha is None:
        assert changed > 0, "some site should go to another class than its largest"


@pytest.mark.parametrize("threshold", [0.4, 0.5, 0.9])
@pytest.mark.parametrize("num_classes", [3, 5])
def test_equal_thresholds_are_direct_ranking(threshold: float, num_classes: int) -> None:
    """No class changes, and what is kept is what lies above the threshold."""
    logits = random_logits((6, 4, 9), num_classes)
    direct, found = most_probable(logits), renormalized_by([threshold] * num_classes)(logits)
    above = decode_confidence(direct.code) >= threshold
    assert torch.equal(found.code, direct.code)
    assert torch.equal(found.label, torch.where(above, direct.label, -1))
    assert above.any()
    assert not above.all()


@pytest.mark.parametrize("alpha", [0.1, 0.5])
@pytest.mark.parametrize("scale", [3.0, 30.0, 60.0])
def test_where_no_class_changes_the_same_sites_are_kept(alpha: float, scale: float) -> None:
    """All sites that direct ranking keeps, those at their class's threshold included; also where softmax saturates."""
    logits = random_logits((5, 8, 9), 4, scale=scale)
    thresholds, direct = direct_thresholds(logits, alpha), most_probable(logits)
    limits = torch.tensor([math.inf if one is None else one for one in thresholds], dtype=torch.float64)
    kept = decode_confidence(direct.code) >= limits[direct.label]
    found = renormalized_by(thresholds)(logits)
    unchanged = found.label == direct.label
    # A site may go to another class or be lost to one, but none that was kept may fall below its own threshold.
    assert torch.equal(unchanged & kept, kept & ~_taken_by_another(logits, thresholds, direct.label))
    assert int(kept.sum()) >= alpha * kept.numel()


def _taken_by_another(logits: Tensor, thresholds: Sequence[float | None], direct: Tensor) -> Tensor:
    """Whose re-normalized class is not the most probable one, one site at a time."""
    taken = []
    for site, own in zip(sites_of(logits), direct.flatten().tolist(), strict=True):
        chosen, _ = slow_renormalized(softmax(site), thresholds)
        taken.append(chosen != own)
    return torch.tensor(taken).reshape(direct.shape)


@pytest.mark.parametrize("margin", [0.3, 1.0, 2.7, 8.1, 15.3, 17.9, 25.0])
def test_a_site_at_its_own_threshold_is_kept(margin: float) -> None:
    """The threshold is a stored code; a confidence that was rounded to it must not be held to be below it."""
    logits = torch.tensor([[margin, 0.0, 0.0]])
    direct = most_probable(logits)
    threshold = float(decode_confidence(direct.code)[0])
    found = renormalized_by([threshold, threshold, None])(logits)
    assert found.label.tolist() == [0]
    assert torch.equal(found.code, direct.code)
    higher = float(decode_confidence(direct.code + 1)[0])
    assert higher > threshold
    assert renormalized_by([higher, higher, None])(logits).label.tolist() == [-1]


def test_every_tie_is_kept_and_every_code_below_is_not() -> None:
    """On all codes at once: two classes, whose confidence is a function of one difference of logits."""
    margins = torch.linspace(0.0, 30.0, 4001)
    logits = torch.stack([margins, torch.zeros_like(margins)], dim=1)
    codes = confidence_code(logits)
    for place in range(0, 4001, 37):
        threshold = float(decode_confidence(codes[place]))
        found = renormalized_by([threshold, None])(logits)
        assert torch.equal(found.label == 0, codes >= codes[place])


def test_a_class_without_threshold_takes_no_site() -> None:
    logits = random_logits((50,), 3, scale=0.5)
    found = renormalized_by([None, 0.01, None])(logits)
    assert set(found.label.tolist()) == {1}
    assert (renormalized_by([None] * 3)(logits).label == -1).all()


def test_a_rare_class_takes_sites_from_a_frequent_one() -> None:
    logits = torch.tensor([[0.6, 0.4], [0.9, 0.1]]).log()
    found = renormalized_by([0.9, 0.3])(logits)
    assert found.label.tolist() == [1, 0]
    assert abs(int(found.code[0]) - code_of(0.4)) < 1


# Of all masks a store keeps everything, at threshold 0; `teaching` therefore asks for just less than all.
ALL_BUT_NOTHING = 1 - 1e-12


@pytest.mark.parametrize(
    ("kind", "alpha"), [("images", 0.3), ("images", 1.0), ("masks", 0.3), ("masks", ALL_BUT_NOTHING)]
)
def test_thresholds_of_a_store_renormalize_its_own_answers(tmp_path: Path, kind: str, alpha: float) -> None:
    """The whole way: direct ranking of a store, its thresholds, and the second look at the same logits."""
    logits = random_logits((40,) if kind == "images" else (4, 5, 6), 4, seed=3)
    spec = PseudoSpec(teacher="a", teacher_round=0, top_fraction=alpha, selection="per_class")
    keys = [str(number) for number in range(len(logits))]
    store: PseudoStore = (
        LabelStore(tmp_path, keys, PROVENANCE, num_classes=4)
        if kind == "images"
        else MaskStore(tmp_path, keys, PROVENANCE, num_classes=4, palette=None)
    )
    store.add(range(len(logits)), most_probable(logits))
    store.finish(list, is_main=True)
    thresholds = store.select(spec, class_shares=()).summary.thresholds
    found = renormalized_by(thresholds)(logits)
    expected = renormalized_by(direct_thresholds(logits, alpha))(logits)
    assert torch.equal(found.label, expected.label)
    assert len(set(found.label.flatten().tolist())) >= 4


def test_codes_decide_where_confidences_are_all_one() -> None:
    """Above 1 - 2 ** -53 all confidences are 1: such sites stay."""
    logits = torch.tensor([[60.0, 0.0], [43.0, 0.0], [20.0, 0.0]])
    codes = confidence_code(logits).tolist()
    assert codes == sorted(codes, reverse=True)
    assert np.unique(codes).size == 3
    threshold = float(decode_confidence(torch.tensor(codes[1])))
    assert threshold == 1.0
    assert renormalized_by([threshold, None])(logits).label.tolist() == [0, 0, -1]
