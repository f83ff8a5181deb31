"""The page of a segmentation run, from files alone; pictures have tests of their own."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from report_runs import CLASSES, make_mask_run, page_of, pixel_scores

from dmt.metrics import mean_iou
from dmt.report import summary

CHAIN = {"supervised": 60.0, "rounds/1/a": 70.0, "rounds/2/a": 80.0}
SAMPLED = {"supervised": 70.0, "rounds/0/a": 60.0, "rounds/0/b": 55.0, "rounds/1/a": 72.0, "rounds/1/b": 75.0}


@pytest.fixture
def chain(tmp_path: Path) -> Path:
    return make_mask_run(tmp_path / "run", CHAIN)


def figure(accuracy: float) -> float:
    return float(mean_iou(pixel_scores(accuracy).confusion))


def test_headline_is_the_mean_iou(chain: Path) -> None:
    words = page_of(chain).words
    before, after = figure(60.0), figure(80.0)
    headline = (
        f"{before:.1f} % with the labels alone, {after:.1f} % after the last round (+{after - before:.1f} points)"
    )
    assert f"Unlabeled images helped: {headline}." in words
    assert headline in summary(chain).replace("\u00a0", " ")
    assert "Mean IoU on 40 test images. The difference has a standard error of 0.0 points" in words
    assert f"({after:.1f} % test mean IoU)" in words
    assert "2-fold cross-validation over the 6 labeled images" in words
    assert "Test: mean IoU in percent. The IoU of a class is" in words


def test_rounds_tell_of_pixels(chain: Path) -> None:
    words = page_of(chain).words
    assert "top fraction pseudo labels of them right their mean IoU test pixel accuracy time" in words
    assert f"1 50 % 7.00 M 93.2 71.4 {figure(70.0):.1f} 70.0 2 min" in words
    assert f"supervised {figure(60.0):.1f} 60.0 2 min" in words


def test_classes_by_iou_and_pixels(chain: Path) -> None:
    page = page_of(chain)
    before, after = (pixel_scores(accuracy).per_class(CLASSES)["cat"] for accuracy in (60.0, 80.0))
    assert before is not None
    assert after is not None
    assert "class test pixels labels alone round 2, network a points" in page.words
    assert f"cat 9.00 M {before:.1f} % {after:.1f} % +{after - before:.1f}" in page.words
    assert "9000000" in page.cell_titles


def test_confusion_as_shares_of_the_row(chain: Path) -> None:
    page = page_of(chain)
    assert "Rows are true classes, columns are answers, in percent of the row" in page.words
    assert "7,200,000 of 9,000,000 pixels of cat predicted as cat" in page.cell_titles
    assert "cat 80 20 <script>alert(1)</script> 80 20 dog & fox 20 80" in page.words
    assert "cat → <script>alert(1)</script> · 1.80 M of 9.00 M" in page.words


def test_pseudo_labels_by_class_with_thresholds(chain: Path) -> None:
    page = page_of(chain)
    title = "6,172,839 kept of 12,345,678 predicted, those at least 0.9998 sure"
    assert page.cell_titles.count(title) == 2
    assert "6.17 M 50 % of 12.3 M ≥ 0.9998" in page.words
    assert "40 all" in page.words


def test_classes_that_no_teacher_predicted_are_named(tmp_path: Path) -> None:
    folder = make_mask_run(tmp_path / "run", SAMPLED, scheme="mutual")
    result = json.loads((folder / "result.json").read_text())
    result["rounds"][4]["predicted_per_class"] = [7, 5, 0]
    (folder / "result.json").write_text(json.dumps(result))
    words = page_of(folder).words
    assert (
        "<script>alert(1)</script>: not predicted by the teacher in round 1a, so without pseudo labels there." in words
    )
    assert "dog & fox: not predicted by the teacher in round 1b" in words


@pytest.mark.parametrize(("last", "opening"), [(73.0, "did not help"), (76.0, "helped")])
def test_what_the_second_network_began_with_is_no_gain(tmp_path: Path, last: float, opening: str) -> None:
    figures = {"supervised": 70.0, "rounds/0/b": 74.0, "rounds/1/a": 72.0, "rounds/1/b": last}
    words = page_of(make_mask_run(tmp_path / "run", figures, scheme="mutual")).words
    start = f"Unlabeled images {opening}: {figure(74.0):.1f} % with the labels alone"
    assert f"{start}, {figure(last):.1f} % after the last round" in words


def test_difference_maximized_rounds_begin_below_the_baseline(tmp_path: Path) -> None:
    page = page_of(make_mask_run(tmp_path / "run", SAMPLED, scheme="mutual"))
    assert "supervised a" in page.words
    assert f"0 b {figure(55.0):.1f}" in page.words
    assert "In round 0 each network has a sample of the labels of its own" in page.words
    assert f"{figure(70.0):.1f} % with the labels alone, {figure(75.0):.1f} % after the last round" in page.words
    # Of the line of a, the first point is the sample's; the baseline is the dashed line alone.
    dots = [given["class"] for tag, given in page.tags if tag == "circle"]
    assert dots == ["dot c0", "dot c0", "dot c1", "dot c1"]
    assert f"network a: {figure(60.0):.1f} %" in page.words
    assert f"network a: {figure(70.0):.1f} %" not in page.words
    assert f"labels alone {figure(70.0):.1f} %" in page.words


def test_hostile_names_show_as_text(chain: Path) -> None:
    page = page_of(chain)
    assert "<script>alert(1)</script>" in page.text
    assert not {"script", "b"} & {tag for tag, _ in page.tags}


def test_without_data_a_sentence_stands_for_the_pictures(chain: Path) -> None:
    page = page_of(chain)
    assert "Pictures are left out, since the run's data or networks could not be read again: " in page.words
    assert f"{chain / 'config.yaml'}: " in page.words
    assert "img" not in {tag for tag, _ in page.tags}
    assert not (chain / "pictures").exists()


def test_without_data_pictures_of_an_earlier_report_are_shown(chain: Path) -> None:
    (chain / "pictures").mkdir()
    text = PngInfo()
    text.add_itxt("Description", 'Rows "of" <pictures>')
    Image.new("RGB", (20, 10)).save(chain / "pictures" / "overview.png", pnginfo=text)
    page = page_of(chain)
    (image,) = [given for tag, given in page.tags if tag == "img"]
    assert image["alt"] == 'Rows "of" <pictures>'
    assert (image["src"] or "").startswith("data:image/png;base64,")
    assert "left out" not in page.words


def test_a_broken_picture_is_none(chain: Path) -> None:
    (chain / "pictures").mkdir()
    (chain / "pictures" / "overview.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    assert "img" not in {tag for tag, _ in page_of(chain).tags}


def test_only_result_json_is_needed(chain: Path) -> None:
    for path in [path for path in chain.rglob("*") if path.is_file() and path.name != "result.json"]:
        path.unlink()
    words = page_of(chain).words
    assert "Unlabeled images may have helped" in words
    assert "Confusion" not in words
    assert "test pixels" in words


def test_a_class_that_does_not_occur_has_a_dash(tmp_path: Path) -> None:
    final = {"mean_iou": 50.0, "per_class_iou": {"cat": 50.0, "dog": None}}
    folder = make_mask_run(tmp_path / "run", CHAIN, final=final, supervised=final)
    for path in folder.rglob("scores.safetensors"):
        path.unlink()
    assert "cat 50.0 % 50.0 % 0.0 dog \u2013 \u2013" in page_of(folder).words


def test_one_stage(tmp_path: Path) -> None:
    picked = {"what": "supervised", "why": "the only stage"}
    words = page_of(make_mask_run(tmp_path / "run", {"supervised": 80.0}, picked=picked)).words
    assert f"Trained on the 6 labeled images: {figure(80.0):.1f} % mean IoU on test images." in words
    assert torch.isclose(torch.tensor(figure(80.0)), torch.tensor(pixel_scores(80.0).figures()["mean_iou"]), atol=1e-3)
