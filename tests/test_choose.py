"""Which network a run ends with, and when a pair is too unequal to teach each other."""

from collections.abc import Mapping, Sequence

import pytest
import torch

from dmt.choose import MAX_UNEQUAL_POINTS, choose, unequal_pair
from dmt.config_files import load_config
from dmt.methods.base import mutual_plan
from dmt.scores import ImageScores, PixelScores, Scores
from dmt.types import LabeledSubset, Stage

START = Stage(round=0, trains=("a",), start="scratch")
FIRST = Stage(round=1, trains=("a",), start="finetune")
LAST = Stage(round=2, trains=("a",), start="finetune")
CHAIN = (START, FIRST, LAST)


def images(right: Sequence[bool], *, sharp: float = 0.9) -> ImageScores:
    """Two classes; the truth is class 0 throughout."""
    first = torch.tensor([sharp if hit else 1 - sharp for hit in right], dtype=torch.float64)
    return ImageScores(probabilities=torch.stack([first, 1 - first], dim=1), targets=torch.zeros(len(right), dtype=int))


def share(hits: int, count: int) -> ImageScores:
    """Right on the first `hits` of `count` images."""
    return images([number < hits for number in range(count)])


def pixels(*matrices: Sequence[Sequence[int]]) -> PixelScores:
    return PixelScores.of(torch.tensor(matrices))


def bands(hits: Sequence[int], *, of: int = 100) -> PixelScores:
    """One image each; of both classes, `hits` of `of` pixels are right."""
    return pixels(*[[[hit, of - hit], [of - hit, hit]] for hit in hits])


def even_bands(hits: int, count: int = 6) -> PixelScores:
    """The same in every image, so that the standard error of a difference is 0."""
    return bands([hits] * count)


def picked(plan: tuple[Stage, ...], validation: Mapping[Stage, Scores]) -> tuple[Stage, Stage]:
    choice = choose(plan, validation)
    return choice.stage, choice.last


def test_without_validation_the_last_round_is_final() -> None:
    choice = choose(CHAIN, {})
    assert (choice.stage, choice.last) == (LAST, LAST)
    assert choice.why == "no validation labels: the last round is final"


def test_the_only_stage_is_picked() -> None:
    choice = choose((START,), {START: share(3, 9)})
    assert (choice.stage, choice.last, choice.why) == (START, START, "the only stage")


def test_the_last_round_stands_within_one_standard_error() -> None:
    # One image more of ten: 10 points, and a standard error of sqrt(.1 * .9 / 9) = 10 points.
    validation = {START: share(5, 10), FIRST: share(8, 10), LAST: share(7, 10)}
    choice = choose(CHAIN, validation)
    assert choice.stage == LAST
    assert choice.why == "accuracy 70.0 % on 10 validation images; no other stage is better by over one standard error"


@pytest.mark.parametrize(("wins", "losses"), [(1, 0), (3, 1), (6, 3)])
def test_a_gain_of_just_one_standard_error_is_not_more_than_one(wins: int, losses: int) -> None:
    """(wins - losses)^2 = wins + losses: equal for any number of images, whatever the last bits of both say."""
    for count in range(wins + losses + 1, 200):
        last = images([number >= wins for number in range(count)])
        first = images([number < wins or number >= wins + losses for number in range(count)])
        gain, error = first.minus(last)
        assert gain == pytest.approx(error)
        assert picked(CHAIN, {START: images([False] * count), FIRST: first, LAST: last}) == (LAST, LAST)


def test_a_clearly_better_stage_is_picked() -> None:
    # Three more of ten: 30 points; the standard error is sqrt(.3 * .7 / 9) = 15.3 points.
    validation = {START: share(5, 10), FIRST: share(9, 10), LAST: share(6, 10)}
    choice = choose(CHAIN, validation)
    assert (choice.stage, choice.last) == (FIRST, LAST)
    assert choice.why == (
        "on 10 validation images the accuracy of round 1, network a is 30.0 points above that of round 2, network a, "
        "more than the standard error of 15.3"
    )


def test_the_baseline_can_be_picked() -> None:
    assert picked(CHAIN, {START: share(40, 40), FIRST: share(30, 40), LAST: share(20, 40)}) == (START, LAST)


def test_a_last_round_that_both_figures_put_below_the_labels_alone_is_not_returned() -> None:
    # One image of ten less is within a standard error of 10 points; that it is wrong with confidence decides.
    start, unsure, sure = share(8, 10), images([True] * 7 + [False] * 3, sharp=0.6), share(7, 10)
    # One temperature fits both: what counts is the figure after scaling, and there more errors are a larger loss.
    assert unsure.rank()[1] == pytest.approx(sure.rank()[1])
    choice = choose(CHAIN, {START: start, FIRST: share(5, 10), LAST: sure})
    assert (choice.stage, choice.last) == (START, LAST)
    assert choice.why == (
        "on 10 validation images round 2, network a is below supervised by accuracy and by temperature-scaled log-loss"
    )


def test_a_last_round_with_the_better_log_loss_stands_within_one_standard_error() -> None:
    # Eight right, and two errors as sure as the rest; against seven right, surer where right than where wrong.
    careful = torch.tensor([0.99] * 7 + [0.45] * 3, dtype=torch.float64)
    last = ImageScores(
        probabilities=torch.stack([careful, 1 - careful], dim=1), targets=torch.zeros(10, dtype=torch.int64)
    )
    start = share(8, 10)
    assert last.rank()[0] < start.rank()[0]
    assert last.rank()[1] > start.rank()[1]
    assert picked(CHAIN, {START: start, FIRST: share(5, 10), LAST: last}) == (LAST, LAST)


def test_equal_accuracies_are_decided_by_the_scaled_log_loss() -> None:
    # Right on the same number, but unsure where it is wrong.
    hits = [True] * 6 + [False] * 2
    plain = images(hits)
    careful = torch.tensor([0.9] * 6 + [0.45] * 2, dtype=torch.float64)
    better = ImageScores(probabilities=torch.stack([careful, 1 - careful], dim=1), targets=plain.targets)
    assert better.rank() > plain.rank()
    pair = (START, *(Stage(round=1, trains=(network,), start="scratch") for network in "ab"))
    assert picked(pair, {pair[0]: plain, pair[1]: plain, pair[2]: better}) == (pair[2], pair[2])
    assert picked(pair, {pair[0]: plain, pair[1]: better, pair[2]: plain}) == (pair[1], pair[1])


MUTUAL = mutual_plan(
    load_config({"task": "segmentation", "data": {"name": "x"}, "rounds": {"top_fractions": [0.5, 1.0]}}),
    start="finetune",
)
A0, B0, A1, B1, A2, B2 = MUTUAL


def test_the_better_network_of_the_last_round_stands_for_it() -> None:
    validation: dict[Stage, Scores] = {stage: even_bands(70) for stage in MUTUAL} | {B2: even_bands(80)}
    assert picked(MUTUAL, validation) == (B2, B2)
    validation |= {A2: even_bands(81)}
    assert picked(MUTUAL, validation) == (A2, A2)


def test_masks_are_ranked_by_mean_iou_and_not_by_pixels() -> None:
    # Many pixels of the first class right, the second class lost; against fewer pixels right of both.
    easy = pixels([[900, 0], [90, 10]], [[900, 0], [90, 10]])
    fair = pixels([[700, 200], [0, 100]], [[700, 200], [0, 100]])
    assert easy.figures()["pixel_accuracy"] > fair.figures()["pixel_accuracy"]
    assert easy.figures()["mean_iou"] < fair.figures()["mean_iou"]
    validation: dict[Stage, Scores] = {stage: even_bands(10, count=2) for stage in MUTUAL} | {A2: easy, B2: fair}
    assert choose(MUTUAL, validation).last == B2


def test_equal_mean_iou_is_decided_by_pixels() -> None:
    # Classes at 50 % and 25 %, and at 75 % and 0 %.
    fewer, more = pixels([[3, 1], [2, 1]]), pixels([[3, 1], [0, 0]])
    assert (fewer.rank(), more.rank()) == ((37.5, pytest.approx(400 / 7)), (37.5, 75.0))
    low = pixels([[0, 1], [1, 0]])
    for better, worse in ((A2, B2), (B2, A2)):
        validation: dict[Stage, Scores] = dict.fromkeys(MUTUAL, low) | {better: more, worse: fewer}
        assert choose(MUTUAL, validation).last == better


def test_a_round_of_masks_is_picked_over_the_last_only_where_the_images_agree() -> None:
    """The gain must exceed the jackknife's error: six images that gain alike, or one that gains it all."""
    last = even_bands(60)
    alike: dict[Stage, Scores] = dict.fromkeys(MUTUAL, last) | {A1: even_bands(66)}
    choice = choose(MUTUAL, alike)
    assert (choice.stage, choice.last.round) == (A1, 2)
    gain, error = even_bands(66).minus(last)
    assert gain > 5
    assert error == pytest.approx(0, abs=1e-9)
    assert choice.why == (
        f"on 6 validation images the mean IoU of round 1, network a is {gain:.1f} points above that of round 2, "
        "network a, more than the standard error of 0.0"
    )
    lucky = bands([60, 60, 60, 60, 60, 96])
    gain, error = lucky.minus(last)
    assert 0 < gain < error
    assert choose(MUTUAL, alike | {A1: lucky}).stage.round == 2


@pytest.mark.parametrize("count", [2, 5, 20, 100])
def test_a_class_that_one_image_has_does_not_overrule_the_last_round(count: int) -> None:
    """Without that image, all agree: the jackknife alone would call the gain larger than its error."""
    common = [[90, 10, 0], [10, 90, 0], [0, 0, 0]]
    rare = [[90, 10, 0], [10, 90, 0], [0, 2, 8]]
    missed = [[90, 10, 0], [10, 90, 0], [0, 8, 2]]
    last, lucky = (pixels(one, *[common] * (count - 1)) for one in (missed, rare))
    gain, error = lucky.minus(last)
    assert gain > 10
    assert error == pytest.approx(gain)
    validation: dict[Stage, Scores] = dict.fromkeys(MUTUAL, last) | {A1: lucky}
    assert choose(MUTUAL, validation).stage.round == 2


def test_one_validation_image_never_overrules_the_last_round() -> None:
    validation: dict[Stage, Scores] = {stage: bands([50]) for stage in MUTUAL} | {A0: bands([99])}
    choice = choose(MUTUAL, validation)
    assert choice.stage.round == 2
    assert choice.why.startswith("mean IoU 33.3 % on 1 validation images")


def starts(weak: Scores, strong: Scores) -> dict[Stage, Scores]:
    return dict.fromkeys(MUTUAL, strong) | {A0: weak, B0: strong}


def test_unequal_networks_are_warned_of() -> None:
    weak, strong = even_bands(60), even_bands(70)
    gap = strong.minus(weak)[0]
    assert gap > MAX_UNEQUAL_POINTS
    sentence = unequal_pair(MUTUAL, starts(weak, strong))
    assert sentence is not None
    assert f"b is {gap:.1f} points of validation mean IoU above a" in sentence
    assert "weights of b" in sentence
    assert "rounds.dms_share=0.8" in sentence
    assert "train longer on the labels" in sentence
    other = unequal_pair(MUTUAL, starts(strong, weak))
    assert other is not None
    assert f"a is {gap:.1f} points of validation mean IoU above b" in other


@pytest.mark.parametrize(
    ("weak", "strong"),
    [
        (even_bands(60), even_bands(60)),
        (even_bands(60), even_bands(62)),  # a few points
        (bands([60, 60, 60, 60, 84, 5]), even_bands(60)),  # images speak for one and for the other
        (bands([30]), bands([90])),  # one image has no standard error
    ],
)
def test_networks_of_like_strength_are_not(weak: PixelScores, strong: PixelScores) -> None:
    assert unequal_pair(MUTUAL, starts(weak, strong)) is None
    assert unequal_pair(MUTUAL, starts(strong, weak)) is None


def test_a_gap_in_points_alone_is_not_enough() -> None:
    """Two of the pairs above are further apart than the margin, and no further than chance."""
    for weak, strong in ((bands([60, 60, 60, 60, 84, 5]), even_bands(60)), (bands([30]), bands([90]))):
        gap, error = strong.minus(weak)
        assert MAX_UNEQUAL_POINTS < gap < error


def test_images_are_compared_likewise() -> None:
    found = unequal_pair(MUTUAL, starts(share(20, 60), share(50, 60)))
    assert found is not None
    assert "b is 50.0 points of validation accuracy above a" in found
    assert unequal_pair(MUTUAL, starts(share(48, 60), share(50, 60))) is None


def test_a_single_network_and_no_validation_have_nothing_to_compare() -> None:
    assert unequal_pair(CHAIN, {stage: even_bands(50) for stage in CHAIN}) is None
    assert unequal_pair(MUTUAL, {}) is None
    assert unequal_pair(MUTUAL, {A0: even_bands(10), B2: even_bands(90)}) is None


def test_where_the_pair_starts_from_samples_the_samples_are_compared() -> None:
    """The baseline on all labels is in round 0 as well, and teaches nobody."""

    def start(network: str, subset: LabeledSubset) -> Stage:
        return Stage(round=0, trains=(network,), start="scratch", labeled_subset=subset)

    base, first, second = start("a", "all"), start("a", "dms_a"), start("b", "dms_b")
    plan = (base, first, second, A1, B1)
    equal = {base: even_bands(90), first: even_bands(60), second: even_bands(60)}
    assert unequal_pair(plan, equal) is None
    unequal = {base: even_bands(60), first: even_bands(60), second: even_bands(75)}
    found = unequal_pair(plan, unequal)
    assert found is not None
    assert "b is" in found
