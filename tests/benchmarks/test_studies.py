"""The scripts that draw the pictures of docs/results.md."""

import json
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from dmt.scores import load_scores
from scripts import load_script


def test_errors_by_confidence_are_those_of_a_slow_count(
    digits_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = load_script("benchmarks/error_by_confidence.py")
    script.main([str(digits_run), "--output", str(tmp_path / "errors.png")])
    rows = [re.findall(r"\d+\.\d", line) for line in capsys.readouterr().out.splitlines()[2:]]
    assert len(rows) == len(list(digits_run.glob("rounds/*/*/pseudo_labels")))
    truth = script.true_labels(digits_run)
    store = digits_run / "rounds/1/a/pseudo_labels/labels.parquet"
    answers = sorted(pq.read_table(store).to_pylist(), key=lambda row: -row["confidence"])
    for fraction, shown in zip((0.2, 0.4, 0.6, 0.8, 1.0), rows[0], strict=True):
        kept = answers[: round(fraction * len(answers))]
        wrong = [row for row in kept if truth[row["image"]] != row["label"]]
        assert float(shown) == pytest.approx(100 * len(wrong) / len(kept), abs=0.051)
    assert Image.open(tmp_path / "errors.png").width > 300


def test_a_run_without_labels_of_images_is_told(tmp_path: Path, masks_run: Path) -> None:
    script = load_script("benchmarks/error_by_confidence.py")
    with pytest.raises(SystemExit, match="holds no pseudo labels of images"):
        script.main([str(masks_run)])


TABLE = """candidate,seed,dataset,num_labeled,num_validation,judges,figure,supervised,last_round
cl,0,digits,10,0,test,accuracy,60.0,70.0
dmt,0,digits,10,0,test,accuracy,60.0,75.0
cl,1,digits,10,0,test,accuracy,62.0,72.0
dmt,1,digits,10,0,test,accuracy,62.0,77.0
cl,0,digits,40,10,test,accuracy,90.0,91.0
dmt,0,digits,40,10,test,accuracy,90.0,95.0
"""


def test_means_by_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = load_script("benchmarks/curves.py")
    (tmp_path / "compare.csv").write_text(TABLE)
    arguments = ["labels", str(tmp_path / "compare.csv"), "--output", str(tmp_path / "by_labels.png")]
    script.main([*arguments, "--candidates", "dmt,cl"])
    assert capsys.readouterr().out.splitlines() == [
        "labels alone: 10: 61.0, 50: 90.0",
        "dmt: 10: 76.0, 50: 95.0",
        "cl: 10: 71.0, 50: 91.0",
    ]
    assert Image.open(tmp_path / "by_labels.png").width > 300
    with pytest.raises(SystemExit, match="No table has a candidate called cbst"):
        script.main([*arguments, "--candidates", "dmt,cbst"])


def test_methods_side_by_side_have_a_line_for_each_seed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = load_script("benchmarks/curves.py")
    (tmp_path / "compare.csv").write_text("\n".join(TABLE.splitlines()[:5]))
    arguments = ["methods", str(tmp_path / "compare.csv"), "--output", str(tmp_path / "methods.png")]
    script.main([*arguments, "--candidates", "dmt,cl"])
    assert capsys.readouterr().out.splitlines() == [
        "all seeds: labels alone: 61.0, dmt: 76.0, cl: 71.0",
        "seed 0: labels alone: 60.0, dmt: 75.0, cl: 70.0",
        "seed 1: labels alone: 62.0, dmt: 77.0, cl: 72.0",
    ]
    assert Image.open(tmp_path / "methods.png").width > 300


@pytest.mark.parametrize(
    ("judges", "expected"),
    [
        ("test", ["dmt: 0: 61.0, 1: 70.5", "cl: 0: 60.0, 1: 65.0"]),
        ("validation", ["dmt: 0: 11.0, 1: 20.5", "cl: 0: 10.0, 1: 15.0"]),
    ],
)
def test_means_by_round(tmp_path: Path, capsys: pytest.CaptureFixture[str], judges: str, expected: list[str]) -> None:
    """By the labels that the table was judged by; a table by validation is no leave to look at the test part."""
    script = load_script("benchmarks/curves.py")
    lines = [f"{run},digits,{judges},accuracy" for run in ("dmt,0,x", "dmt,1,y", "cl,0,z")]
    (tmp_path / "compare.csv").write_text("\n".join(["candidate,seed,run,dataset,judges,figure", *lines, ""]))
    for name, figures in {"x": [60.0, 70.0], "y": [62.0, 71.0], "z": [60.0, 65.0]}.items():
        rows = [row_of(number, figure) for number, figure in enumerate(figures)]
        rows[1:1] = [row_of(0, 33.0)]  # a warm start beside the baseline
        rows.append(row_of(1, 99.0) | {"network": "b"})
        result = {"rounds": rows, "supervised": {}, "last_round": {"round": 1, "network": "b"}}
        (tmp_path / name).mkdir()
        (tmp_path / name / "result.json").write_text(json.dumps(result))
    arguments = ["rounds", str(tmp_path / "compare.csv"), "--output", str(tmp_path / "by_round.png")]
    script.main([*arguments, "--candidates", "dmt,cl"])
    assert capsys.readouterr().out.splitlines() == expected
    assert Image.open(tmp_path / "by_round.png").width > 300
    with pytest.raises(SystemExit, match="No table has a candidate called cbst"):
        script.main([*arguments, "--candidates", "cbst"])


def test_classes_by_round_are_those_of_a_slow_count(
    digits_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = load_script("benchmarks/curves.py")
    header = "candidate,seed,run,dataset,judges,figure"
    (tmp_path / "compare.csv").write_text(f"{header}\ndmt,0,{digits_run},digits,test,accuracy\n")
    arguments = ["classes", str(tmp_path / "compare.csv"), "--output", str(tmp_path / "classes.png")]
    script.main([*arguments, "--candidates", "dmt"])
    rounds = {"0": "supervised", "1": "rounds/1/a"}
    scores = {
        number: load_scores(digits_run / folder / "scores.safetensors")["test"] for number, folder in rounds.items()
    }
    lines = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    assert [*lines] == [str(digit) for digit in range(10)]
    for digit, line in lines.items():
        shown = dict(re.findall(r"(\d+): (\d+\.\d)", line))
        for number, of_part in scores.items():
            answers = list(zip(of_part.probabilities.tolist(), of_part.targets.tolist(), strict=True))
            right = [row.index(max(row)) == int(digit) for row, target in answers if target == int(digit)]
            assert float(shown[number]) == pytest.approx(100 * sum(right) / len(right), abs=0.051)
    assert Image.open(tmp_path / "classes.png").width > 300
    with pytest.raises(SystemExit, match="of one candidate"):
        script.main([*arguments, "--candidates", "dmt,dmt"])


def row_of(number: int, figure: float) -> dict[str, object]:
    return {"round": number, "network": "a", "accuracy": figure, "validation": {"accuracy": figure - 50}}
