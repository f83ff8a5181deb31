"""What a user may ask to compare, and what is refused."""

import pytest

from dmt.compare import candidates_of, parse_seeds
from dmt.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("0..4", [0, 1, 2, 3, 4]), ("3", [3]), ("0,1,5", [0, 1, 5]), ("7, 0 .. 2,1", [7, 0, 1, 2]), ("2..2", [2])],
)
def test_seeds_are_ranges_and_numbers_each_once(text, seeds) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "4..0", "0...4", "-1", "0,,1", "1.5", "0..x"])
def test_other_seeds_are_refused(text) -> None:
    with pytest.raises(ConfigError, match=r"--seeds: found .*0\.\.4"):
        parse_seeds(text)


def test_methods_and_variants_differ_from_the_preset_in_what_they_name() -> None:
    candidates = candidates_of(
        "digits-20",
        ["curriculum_labeling", "dmt"],
        ["from scratch: start=scratch loss={gamma_agree: 1.0, gamma_disagree: 2.0}  data.num_labeled=50"],
        changes=["duration.steps=7"],
    )
    assert [one.name for one in candidates] == ["curriculum_labeling", "dmt", "from scratch"]
    configs = [one.config(3) for one in candidates]
    assert [config.method for config in configs] == ["curriculum_labeling", "dmt", "dmt"]
    assert {(config.seed, config.duration.steps) for config in configs} == {(3, 7)}
    scratch = configs[2]
    assert (scratch.start, scratch.data.num_labeled) == ("scratch", 50)
    assert (scratch.loss.gamma_agree, scratch.loss.gamma_disagree) == (1.0, 2.0)


def test_without_methods_the_presets_own_is_compared() -> None:
    candidates = candidates_of("voc-211-cbst-paper", [], ["short: duration.steps=1"])
    assert [one.name for one in candidates] == ["cbst", "short"]


@pytest.mark.parametrize("text", ["", "name", "name:", ": start=scratch", "name: scratch", "a=b: start=scratch"])
def test_a_variant_that_is_none_is_refused(text) -> None:
    with pytest.raises(ConfigError, match="Write a name, a colon, and changes"):
        candidates_of("digits-20", [], [text])


@pytest.mark.parametrize(
    ("methods", "variants", "words"),
    [
        (["dmt", "dmt"], [], "dmt is given twice"),
        (["dmt"], ["dmt: start=scratch"], "dmt is given twice"),
        (["dmt"], ["other: workers=2"], "other is given twice, the same run as dmt"),
    ],
)
def test_what_is_given_twice_is_refused(methods, variants, words) -> None:
    with pytest.raises(ConfigError, match=words):
        candidates_of("digits-20", methods, variants)
