"""Site rules on maps: every formula holds pixel by pixel, and methods differ where they say."""

import pytest
import torch
from torch import Tensor

from dmt.methods import build_method
from dmt.types import IGNORE_INDEX
from slow_pixels import EXPONENT, LOSS, RULED, SHAPES, at, case_of, config, pixel, places, probabilities_of, random_maps


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("method", RULED)
def test_rules_equal_a_scalar_loop(method: str, shape: tuple[int, int, int]) -> None:
    rule = build_method(config(method)).site_rule(0.3)
    assert rule is not None
    logits, label, confidence = random_maps(shape)
    target, weight = rule(logits, label, confidence)
    assert target.shape == weight.shape == shape
    for place in places(shape):
        expected = pixel(method, probabilities_of(at(logits, place)), int(label[place]), float(confidence[place]))
        assert int(target[place]) == expected[0]
        assert float(weight[place]) == pytest.approx(expected[1], rel=1e-4, abs=1e-12)


def test_all_cases_occur_in_the_random_maps() -> None:
    logits, label, confidence = random_maps((3, 4, 5))
    valid = [place for place in places(label.shape) if label[place] != IGNORE_INDEX]
    cases = {case_of(probabilities_of(at(logits, p)), int(label[p]), float(confidence[p])) for p in valid}
    assert cases == {1, 2, 3}
    assert len(valid) < label.numel()


@pytest.mark.parametrize("method", RULED)
def test_the_weight_does_not_change_over_a_round(method: str) -> None:
    """No ramp in segmentation, where students are fine-tuned (spec 1.4)."""
    maps = random_maps((3, 4, 5))
    answers = []
    for progress in (0.0, 0.5, 0.99):
        rule = build_method(config(method)).site_rule(progress)
        assert rule is not None
        answers.append(rule(*maps))
    assert all(torch.equal(one[1], answers[0][1]) for one in answers)


def outputs(method: str, maps: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """A method's targets and weights; weight 1 where it has no rule."""
    rule = build_method(config(method)).site_rule(0.5)
    _, label, _ = maps
    return (label, (label != IGNORE_INDEX).float()) if rule is None else rule(*maps)


@pytest.mark.parametrize("seed", range(3))
def test_ablations_differ_from_dmt_where_they_say(seed: int) -> None:
    """What is trained on, and how much it counts (paper, section 5.4; spec, section 3)."""
    maps = random_maps((4, 6, 5), seed=seed)
    logits, label, confidence = maps
    target, weight = outputs("dmt", maps)
    third = torch.zeros_like(label, dtype=torch.bool)
    for place in places(label.shape):
        if label[place] != IGNORE_INDEX:
            p = probabilities_of(at(logits, place))
            third[place] = case_of(p, int(label[place]), float(confidence[place])) == 3
    assert third.any()
    assert not weight[third].any()

    # DST: another teacher, the same rule.
    assert all(torch.equal(*pair) for pair in zip(outputs("self_training", maps), (target, weight), strict=True))

    # Flip: the third case alone, in target and weight.
    flipped, flip_weight = outputs("dmt_flip", maps)
    assert torch.equal(flipped != target, third)
    assert torch.equal(flipped[third], logits.argmax(dim=1)[third])
    assert torch.equal(flip_weight[~third], weight[~third])
    torch.testing.assert_close(flip_weight[third], ((1 - confidence[third]) ** EXPONENT).float())

    # Naive: the same targets, one exponent and no cases.
    naive, naive_weight = outputs("dmt_naive", maps)
    assert torch.equal(naive, target)
    assert (naive_weight[third] > 0).all()
    same_exponent = config("dmt", loss=LOSS | {"gamma_agree": EXPONENT, "gamma_disagree": EXPONENT})
    rule = build_method(same_exponent).site_rule(0.5)
    assert rule is not None
    torch.testing.assert_close(naive_weight[~third], rule(*maps)[1][~third])

    # CBST: the same targets at weight 1, the third case included.
    cbst, cbst_weight = outputs("cbst", maps)
    assert torch.equal(cbst, target)
    assert torch.equal(cbst_weight, (label != IGNORE_INDEX).float())
