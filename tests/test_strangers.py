import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from dmt.config_files import load_config
from dmt.errors import ConfigError
from dmt.methods import build_method
from dmt.run import run
from dmt.selection import decode_confidence
from dmt.strangers import earlier_labeling, report, strangers
from dmt.types import Prediction
from tiny_runs import TINY_NETWORKS, tiny_config, tiny_parts


def test_both_unsure_and_different() -> None:
    """Against a slow loop, with confidences around the bound and images without a label."""
    stream = torch.Generator().manual_seed(0)
    codes = [torch.randint(0, 3000, (200,), generator=stream, dtype=torch.int32) for _ in range(2)]
    labels = [torch.randint(-1, 3, (200,), generator=stream) for _ in range(2)]
    now, before = (Prediction(label=label, code=code) for label, code in zip(labels, codes, strict=True))
    found = strangers(now, before, below=0.6)
    assert 0 < int(found.sum()) < 200
    for index in range(200):
        sure = [float(decode_confidence(code[index])) >= 0.6 for code in codes]
        assert bool(found[index]) == (not any(sure) and labels[0][index] != labels[1][index])


@pytest.mark.parametrize(("scheme", "expected"), [("chain", [("a", 1)]), ("mutual", [("a", 1), ("b", 1), ("a", 2)])])
def test_the_labeling_before(scheme: str, expected: list[tuple[str, int]]) -> None:
    plan = build_method(load_config(tiny_config(scheme=scheme))).plan()
    taught = [stage for stage in plan if stage.pseudo is not None]
    assert earlier_labeling(plan, taught[0]) is None
    before = [earlier_labeling(plan, stage) for stage in taught[1:]]
    assert [(stage.network, stage.round) for stage in before if stage is not None] == expected


def test_few_strangers_are_not_worth_a_sentence() -> None:
    assert report("round 2", 4, 100, below=0.5, left_out=False) is None
    told = report("round 2", 5, 100, below=0.5, left_out=False)
    assert told is not None
    assert told.startswith("round 2: 5 of 100 unlabeled images")
    assert "rounds.strangers=leave_out" in told
    assert "are left out." in (report("x", 9, 9, below=0.5, left_out=True) or "")


@pytest.mark.parametrize("choice", ["keep", "leave_out"])
def test_strangers_are_counted_and_left_out(choice: str, tmp_path: Path) -> None:
    # With a bound of 1 whatever two rounds label differently is strange.
    rounds = {"top_fractions": [0.5, 1.0], "strangers": choice, "stranger_confidence": 1.0}
    config = tiny_config(rounds=rounds, supervised={"steps": 3}, duration={"steps": 4})
    result = run(config, tiny_parts(), TINY_NETWORKS, run_dir=tmp_path / "run")
    tables = [
        pq.read_table(tmp_path / "run" / "rounds" / str(number) / "a" / "pseudo_labels" / "labels.parquet")
        for number in (1, 2)
    ]
    labels = [table["label"].to_pylist() for table in tables]
    differing = sum(one != other for one, other in zip(*labels, strict=True))
    assert differing > 0
    assert "strangers" not in result["rounds"][1]
    last = result["rounds"][2]
    assert last["strangers"] == differing
    assert last["num_pseudo_labels"] == len(labels[0]) - (differing if choice == "leave_out" else 0)
    assert json.loads((tmp_path / "run" / "result.json").read_text())["rounds"][2]["strangers"] == differing


def test_where_nothing_can_be_left_out() -> None:
    for change in ({"task": "segmentation", "data": {"name": "scenes"}}, {"task": "classification"}):
        config = {"data": {"name": "digits"}, **change}
        config["rounds"] = {"strangers": "leave_out", "selection": "renormalized"}
        with pytest.raises(ConfigError, match=r"rounds\.strangers"):
            load_config(config)
