import json
import re
from pathlib import Path

import pytest
from report_runs import ACCURACY, make_run, page_of

from dmt.errors import CheckpointError, RunFolderError
from dmt.report import write_report


@pytest.fixture
def chain(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run", {(number, "a"): accuracy for number, accuracy in ACCURACY.items()})


def test_headline_and_figures_of_a_chain(chain: Path) -> None:
    words = page_of(chain).words
    assert "Unlabeled images helped: 50.0 % with the labels alone, 87.5 % after the last round (+37.5 points)." in words
    assert "Picked: round 2, network a (87.5 % test accuracy): it was the best." in words
    assert "2-fold cross-validation over the 6 labels" in words
    for figure in ("93.2", "61.5", "2 min", "1.9 h", "1,052 MB", "seed 4", "run/config.yaml --run-dir"):
        assert figure in words


def test_names_from_outside_show_as_text(chain: Path) -> None:
    page = page_of(chain)
    assert "<script>alert(1)</script>" in page.text
    assert "dog & fox" in page.text
    assert "some <b>cpu</b>" in page.text
    assert "train/a&b" in page.text
    assert not {"script", "b"} & {tag for tag, _ in page.tags}


def test_page_needs_nothing_from_elsewhere(chain: Path) -> None:
    page = page_of(chain)
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "iframe", "img", "object"})
    links = [value for _, given in page.tags for key, value in given.items() if key in {"href", "src"}]
    assert links == ["data:,"]
    text = (chain / "report.html").read_text()
    assert not re.search(r"https?://|@import|url\(", text)
    assert "prefers-color-scheme: dark" in text


def test_same_files_give_the_same_bytes(chain: Path) -> None:
    first = write_report(chain).read_bytes()
    assert write_report(chain).read_bytes() == first


def test_confusion_and_mistakes(chain: Path) -> None:
    page = page_of(chain)
    titles = page.cell_titles
    # 35 of 40 right: images 35..39, of classes 2, 0, 1, 2, 0, are wrong; each says the next class.
    assert "2 of 14 images of cat predicted as <script>alert(1)</script>" in titles
    assert "11 of 13 images of dog & fox predicted as dog & fox" in titles
    assert "cat → <script>alert(1)</script> · 2 of 14" in page.words


def test_pseudo_labels_by_class(chain: Path) -> None:
    page = page_of(chain)
    assert [title for title in page.cell_titles if "kept of" in title or "never" in title] == [
        "7 kept of 8 predicted, those at least 0.93 sure",
        "8 kept of 8 predicted",
        "never predicted",
        "never predicted",
        "0 kept of 6 predicted",
        "6 kept of 6 predicted",
    ]
    assert "7 88 % of 8 \u2265 0.93" in page.words
    assert "<script>alert(1)</script>: predicted by no teacher, so without pseudo labels." in page.words


def test_a_round_without_counts_by_class_is_left_out(chain: Path) -> None:
    result = json.loads((chain / "result.json").read_text())
    del result["rounds"][1]["pseudo_labels_per_class"]
    (chain / "result.json").write_text(json.dumps(result))
    titles = page_of(chain).cell_titles
    assert [title for title in titles if "kept of" in title] == ["8 kept of 8 predicted", "6 kept of 6 predicted"]


def test_mutual_run_with_ensemble(tmp_path: Path) -> None:
    accuracies = {(n, network): a + (network == "b") for n, a in ACCURACY.items() for network in ("a", "b")}
    page = page_of(make_run(tmp_path / "m", accuracies, scheme="mutual", ensemble={"accuracy": 90.1}))
    assert "90.1 %" in page.words
    assert "(+37.5 points)" in page.words  # over what b began with
    assert "network b, test accuracy" in page.words
    assert sum(given.get("class") == "line c1" for tag, given in page.tags) == 1


@pytest.mark.parametrize("method", ["supervised", "oracle"])
def test_run_of_one_stage(tmp_path: Path, method: str) -> None:
    changes = {"method": method, "picked": {"what": "supervised", "why": "the only stage"}}
    page = page_of(make_run(tmp_path / "one", {(0, "a"): 80.0}, **changes))
    start = "Trained on all 6 labels" if method == "oracle" else "Trained on the 6 labels"
    assert f"{start}: 80.0 % accuracy on test images." in page.words
    assert "Picked" not in page.words


@pytest.mark.parametrize(
    ("accuracies", "opening"),
    [
        ((80.0, 70.0), "Unlabeled images did not help"),
        ((80.0, 80.0), "Unlabeled images did not help"),
        ((80.0, 82.5), "Unlabeled images may have helped"),
        ((40.0, 80.0), "Unlabeled images helped"),
    ],
)
def test_verdict_is_plain(tmp_path: Path, accuracies: tuple[float, float], opening: str) -> None:
    folder = make_run(tmp_path / "run", {(number, "a"): accuracy for number, accuracy in enumerate(accuracies)})
    words = page_of(folder).words
    assert opening in words
    assert ("(\u221210.0 points)" in words) == (accuracies[1] == 70.0)
    assert ("Chance alone" in words) == ("may have" in opening)


def test_only_result_json_is_needed(chain: Path) -> None:
    for path in [path for path in chain.rglob("*") if path.is_file() and path.name != "result.json"]:
        path.unlink()
    words = page_of(chain).words
    assert "Unlabeled images may have helped: 50.0 %" in words
    assert "How much of the difference chance alone may give cannot be told." in words
    assert "standard error" not in words
    assert "Confusion" not in words


def test_damaged_optional_files_are_left_out(chain: Path) -> None:
    for path in [path for path in chain.rglob("*") if path.is_file() and path.name != "result.json"]:
        path.write_bytes(b"\xff{: [broken")
    assert "Unlabeled images may have helped: 50.0 %" in page_of(chain).words


def test_run_without_test_part(chain: Path) -> None:
    result = json.loads((chain / "result.json").read_text())
    for row in result["rounds"]:
        del row["accuracy"], row["fine_grained_accuracy"]
    result |= {"supervised": {"network": "a"}, "final": {}, "last_round": {"round": 2, "network": "a"}, "num_test": 0}
    result["rounds"][2]["validation"]["accuracy"] = 91.5
    (chain / "result.json").write_text(json.dumps(result | {"num_validation": 20}))
    words = page_of(chain).words
    assert "61.5 % with the labels alone, 91.5 % after the last round (+30.0 points)" in words
    assert "There is no test part" in words


def test_run_without_any_scores(chain: Path) -> None:
    result = json.loads((chain / "result.json").read_text())
    for row in result["rounds"]:
        del row["accuracy"], row["fine_grained_accuracy"], row["validation"]
    result |= {"supervised": {"network": "a"}, "final": {}, "last_round": {"round": 2, "network": "a"}, "num_test": 0}
    (chain / "result.json").write_text(json.dumps(result))
    assert "there were no labels to test on" in page_of(chain).words


def test_warnings_are_told(chain: Path) -> None:
    assert "Warning:" not in page_of(chain).words
    result = json.loads((chain / "result.json").read_text())
    (chain / "result.json").write_text(json.dumps(result | {"warnings": ["The networks <a & b> are unequal."]}))
    assert "Warning: The networks <a & b> are unequal." in page_of(chain).words


def test_unfinished_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"no result\.json"):
        write_report(tmp_path)
    (tmp_path / "result.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"result\.json is broken"):
        write_report(tmp_path)
    for content in ("[]", "null", '{"task": "classification"}', '{"rounds": []}', '{"rounds": "x"}', '{"rounds": [5]}'):
        (tmp_path / "result.json").write_text(content)
        with pytest.raises(RunFolderError, match=r"result\.json holds no figures of a run"):
            write_report(tmp_path)
    (tmp_path / "result.json").write_text('{"format": 99, "rounds": [{}]}')
    with pytest.raises(RunFolderError, match="has the format 99, of a newer version"):
        write_report(tmp_path)
    (tmp_path / "result.json").write_text('{"task": "weaving", "rounds": [{}]}')
    with pytest.raises(RunFolderError, match="'weaving'; this version knows classification, segmentation"):
        write_report(tmp_path)


def test_the_command_is_one_that_a_shell_understands(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "my run", {(0, "a"): 80.0, (1, "a"): 90.0})
    assert f"dmt train '{folder}/config.yaml' --run-dir NEW_FOLDER" in page_of(folder).words
