"""Tables against slow recomputation from made-up results."""

import csv
import io
import math
import statistics
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import ttest_rel

from dmt.compare import Comparison, as_csv, as_markdown, as_table_csv

SEEDS = [0, 1, 2, 7]
BASELINE = [70.0, 72.5, 69.0, 71.25]
FIGURES = {
    "supervised": BASELINE,
    "dmt": [75.0, 74.0, 68.5, 76.0],
    "cbst": [74.0, 75.0, 68.0, 73.0],
    "oracle": [80.0, 81.0, 79.5, 82.0],
}


def result(method: str, number: int, *, ensemble: float | None = None, validation: bool = False) -> dict:
    is_single = method in ("oracle", "supervised")
    figure = FIGURES[method][number]
    baseline = figure if is_single else BASELINE[number]
    rows = [
        {"round": 0, "network": "a", "folder": "supervised", "accuracy": baseline},
        *([] if is_single else [{"round": 1, "network": "a", "folder": "rounds/1/a", "accuracy": figure}]),
    ]
    if validation:
        rows[0]["validation"] = {"accuracy": 50.0}
    return {
        "task": "classification",
        "dataset": "digits",
        "method": method,
        "num_labeled": 20,
        "num_validation": 0,
        "num_unlabeled": 1327,
        "num_test": 450,
        "supervised": {"accuracy": baseline},
        "rounds": rows,
        "last_round": {"round": len(rows) - 1, "network": "a", "accuracy": figure},
        "picked": {"what": "supervised"},
        "final": {"accuracy": baseline},
        "seconds": 10.0 * (number + 1),
        **({} if ensemble is None else {"ensemble": {"accuracy": ensemble}}),
    }


def comparison(names: list[str], seeds: list[int] = SEEDS, **keywords) -> Comparison:
    results = {(name, seed): result(name, SEEDS.index(seed), **keywords) for seed in seeds for name in names}
    return Comparison(names, seeds, results, {key: Path(f"{key[0]}-seed{key[1]}-abc") for key in results})


def test_rows_are_the_labels_alone_and_each_candidate() -> None:
    baseline, dmt, cbst, oracle = comparison(["dmt", "cbst", "oracle"]).rows()
    assert (baseline.name, list(baseline.figures), baseline.over_baseline) == ("supervised", BASELINE, ())
    for row, name in ((dmt, "dmt"), (cbst, "cbst"), (oracle, "oracle")):
        assert list(row.figures) == FIGURES[name]
        assert list(row.over_baseline) == [FIGURES[name][k] - BASELINE[k] for k in range(4)]
        assert row.mean == pytest.approx(np.mean(FIGURES[name]))
        assert row.spread == pytest.approx(np.std(FIGURES[name], ddof=1))
    assert list(dmt.seconds) == [10.0, 20.0, 30.0, 40.0]


def test_the_share_of_the_gap_is_the_gain_by_the_oracles() -> None:
    _, dmt, cbst, oracle = comparison(["dmt", "cbst", "oracle"]).rows()
    gap = statistics.mean(FIGURES["oracle"]) - statistics.mean(BASELINE)
    for row, name in ((dmt, "dmt"), (cbst, "cbst")):
        assert row.gap_share == pytest.approx(100 * (statistics.mean(FIGURES[name]) - statistics.mean(BASELINE)) / gap)
    assert oracle.gap_share == pytest.approx(100.0)
    assert all(row.gap_share is None for row in comparison(["dmt", "cbst"]).rows())


def test_gain_and_gap_begin_at_the_same_figure() -> None:
    """Network b, which is a point below its own start at the end, closes none of the gap from there."""
    results = {("dmt", seed): unequal(number) for number, seed in enumerate(SEEDS)}
    results |= {("oracle", seed): result("oracle", number) for number, seed in enumerate(SEEDS)}
    _, last, *_ = Comparison(["dmt", "oracle"], SEEDS, results, dict.fromkeys(results, Path("run"))).rows()
    gap = statistics.mean(FIGURES["oracle"]) - statistics.mean(BASELINE) - 11.0
    assert gap < 0
    assert (list(last.over_baseline), last.gap_share) == ([-1.0] * 4, None)
    for number, seed in enumerate(SEEDS):
        results["oracle", seed]["last_round"]["accuracy"] = BASELINE[number] + 15.0
    _, last, *_ = Comparison(["dmt", "oracle"], SEEDS, results, dict.fromkeys(results, Path("run"))).rows()
    assert last.gap_share == pytest.approx(-100 / 4)


def test_differences_have_the_interval_of_a_paired_t_test() -> None:
    ((later, earlier, difference),) = comparison(["dmt", "cbst"]).differences()
    assert (later, earlier) == ("cbst", "dmt")
    interval = ttest_rel(FIGURES["cbst"], FIGURES["dmt"]).confidence_interval(0.95)
    assert difference.mean - difference.half_width == pytest.approx(interval.low)
    assert difference.mean + difference.half_width == pytest.approx(interval.high)
    assert difference.wins == 1  # 74 < 75, 75 > 74, 68 < 68.5, 73 < 76


def test_one_seed_has_no_spread_and_no_interval() -> None:
    one = comparison(["dmt", "cbst"], [0])
    assert all(math.isnan(row.spread) for row in one.rows())
    text = as_markdown(one, command="dmt compare")
    assert "nan" not in text
    assert "| dmt | 75.0 | 75.0 | +5.0 | 1 of 1 | 10 |" in text


def test_a_baseline_that_is_a_candidate_is_shown_once() -> None:
    names = ["supervised", "dmt"]
    rows = comparison(names).rows()
    assert [row.name for row in rows] == names
    assert rows[0].over_baseline == ()


def test_an_oracle_beside_the_labels_alone_is_held_against_them() -> None:
    alone, oracle = comparison(["supervised", "oracle"]).rows()
    assert (alone.name, alone.over_baseline) == ("supervised", ())
    gains = [high - low for high, low in zip(FIGURES["oracle"], BASELINE, strict=True)]
    assert oracle.over_baseline == pytest.approx(gains)
    assert oracle.gap_share == pytest.approx(100.0)


def test_an_oracle_alone_has_nothing_to_be_held_against() -> None:
    (oracle,) = comparison(["oracle"]).rows()
    assert (oracle.over_baseline, oracle.gap_share) == ((), None)


def test_networks_together_and_picks_have_lines_of_their_own() -> None:
    rows = comparison(["dmt"], ensemble=90.0, validation=True).rows()
    assert [row.name for row in rows] == ["supervised", "dmt", "dmt, a and b together", "dmt, as picked"]
    assert list(rows[2].figures) == [90.0] * 4
    assert list(rows[3].figures) == BASELINE
    assert rows[2].seconds == rows[3].seconds == ()


def unequal(number: int) -> dict:
    """Network b begins 11 points above a and ends its round one point lower, still above a."""
    start = BASELINE[number]
    rounds = [
        {"round": 0, "network": "a", "folder": "supervised", "accuracy": start},
        {"round": 0, "network": "b", "folder": "rounds/0/b", "accuracy": start + 11.0},
        {"round": 1, "network": "a", "folder": "rounds/1/a", "accuracy": start + 2.0},
        {
            "round": 1,
            "network": "b",
            "folder": "rounds/1/b",
            "accuracy": start + 10.0,
            "validation": {"accuracy": 50.0},
        },
    ]
    return result("dmt", number) | {
        "rounds": rounds,
        "last_round": rounds[3],
        "ensemble": {"accuracy": start + 12.0},
        "picked": {"what": "round 0, network b"},
        "final": {"accuracy": start + 11.0},
    }


def test_what_one_network_is_better_than_the_other_is_no_gain() -> None:
    results = {("dmt", seed): unequal(number) for number, seed in enumerate(SEEDS)}
    paths = {key: Path("run") for key in results}
    baseline, last, together, picked = Comparison(["dmt"], SEEDS, results, paths).rows()
    assert list(baseline.figures) == BASELINE
    assert list(last.over_baseline) == [-1.0] * 4
    assert list(together.over_baseline) == [1.0] * 4
    assert list(picked.over_baseline) == [0.0] * 4
    for one in results.values():
        one["last_round"] = one["rounds"][2]
        one["picked"], one["final"] = {"what": "supervised"}, {"accuracy": one["rounds"][0]["accuracy"]}
    _, last, _, picked = Comparison(["dmt"], SEEDS, results, paths).rows()
    assert list(last.over_baseline) == [2.0] * 4
    assert list(picked.over_baseline) == [0.0] * 4


def test_markdown_has_a_column_for_each_seed_and_the_command() -> None:
    text = as_markdown(comparison(["dmt", "cbst"]), command="dmt compare digits-20")
    lines = text.splitlines()
    assert lines[0] == "digits, 20 labels: accuracy of 450 test images, last round, before any pick"
    assert "| seed 0 | seed 1 | seed 2 | seed 7 |" in text
    assert "`dmt compare digits-20`" in lines
    widths = {line.count("|") for line in lines if line.startswith("|")}
    assert widths == {10, 4}  # of the two tables, in every line


def test_csv_has_a_line_for_each_run() -> None:
    records = list(csv.DictReader(io.StringIO(as_csv(comparison(["dmt", "cbst"], validation=True)))))
    assert len(records) == 8
    assert {float(one["last_round"]) for one in records if one["candidate"] == "dmt"} == set(FIGURES["dmt"])
    assert records[0]["run"] == "dmt-seed0-abc"
    assert records[0]["together"] == ""
    assert {one["picked"] for one in records} == {str(figure) for figure in BASELINE}


def test_the_tables_as_csv_have_the_ends_of_the_intervals() -> None:
    baseline, dmt, cbst, pair = csv.DictReader(io.StringIO(as_table_csv(comparison(["dmt", "cbst"]))))
    assert (baseline["row"], baseline["against"], baseline["difference"], baseline["above"]) == (
        "supervised",
        "",
        "",
        "",
    )
    assert (pair["row"], pair["against"]) == ("cbst", "dmt")
    for line, figures, others in (
        (dmt, FIGURES["dmt"], BASELINE),
        (cbst, FIGURES["cbst"], BASELINE),
        (pair, FIGURES["cbst"], FIGURES["dmt"]),
    ):
        interval = ttest_rel(figures, others).confidence_interval(0.95)
        found = [float(line[key]) for key in ("mean", "sd", "low", "high", "seconds")]
        assert found == pytest.approx([np.mean(figures), np.std(figures, ddof=1), interval.low, interval.high, 25.0])
        assert float(line["difference"]) == pytest.approx(np.mean(figures) - np.mean(others))
        assert int(line["above"]) == sum(one > other for one, other in zip(figures, others, strict=True))
        assert int(line["equal"]) == sum(one == other for one, other in zip(figures, others, strict=True))


def test_the_csv_has_the_share_of_the_gap_of_rows_alone() -> None:
    compared = comparison(["dmt", "oracle"])
    shares = [line["of_the_gap"] for line in csv.DictReader(io.StringIO(as_table_csv(compared)))]
    assert (shares[0], shares[3]) == ("", "")
    assert [float(share) for share in shares[1:3]] == pytest.approx([row.gap_share for row in compared.rows()[1:]])


def test_of_one_seed_the_csv_has_no_interval() -> None:
    lines = list(csv.DictReader(io.StringIO(as_table_csv(comparison(["dmt", "cbst"], [0])))))
    assert {line[key] for line in lines for key in ("sd", "low", "high")} == {""}
    assert [line["difference"] for line in lines] == ["", "5.0", "4.0", "-1.0"]
