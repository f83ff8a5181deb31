"""Pictures of a whole small run: everything that they show is computed again, slowly."""

import json
import shutil
import warnings
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from report_runs import page_of
from torch import nn

from dmt.data.pseudo_labels import Provenance
from dmt.data.pseudo_masks import MaskStore, read_masks
from dmt.models.weights import load_weights
from dmt.models.windowed import Windowed
from dmt.report.gallery import Gallery, open_gallery, spread
from dmt.report.panels import ramp
from dmt.report.pictures import read_overview, write_pictures
from dmt.run import run
from dmt.selection import confidence_code, decode_confidence
from dmt.types import Prediction

SIZES = [(24, 32), (32, 24)]
GAMMA_AGREE, GAMMA_DISAGREE = 5.0, 3.0
CONFIG = {
    "task": "segmentation",
    "validation": {"source": "none"},
    "scheme": "chain",
    "rounds": {"top_fractions": [0.6]},
    "networks": {"a": {"name": "deeplab:timm:test_resnet"}},
    "loss": {"gamma_agree": GAMMA_AGREE, "gamma_disagree": GAMMA_DISAGREE},
    "batch": {"size": 4, "labeled": 2},
    "crop": {"size": [24, 24]},
    "supervised": {"steps": 4},
    "duration": {"steps": 2},
    "precision": "fp32",
}


def write_images(root: Path) -> Path:
    """Twelve images with masks, of two sizes: three labeled, six unlabeled, three for the test."""
    for number in range(12):
        random = np.random.default_rng(number)
        height, width = SIZES[number % 2]
        labels = (
            random.choice([0, 1, 2, 255], (height // 8, width // 8), p=[0.4, 0.3, 0.2, 0.1]).repeat(8, 0).repeat(8, 1)
        )
        labels.ravel()[:4] = (0, 1, 2, 255)
        pixels = np.stack([60 * (labels % 4), 255 - 60 * (labels % 4), random.integers(0, 256, labels.shape)], axis=2)
        for folder, array in (("images", pixels), ("masks", labels)):
            (root / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array.astype(np.uint8)).save(root / folder / f"{number:02d}.png")
    (root / "classes.txt").write_text("ground\n<i>tree</i>\nsky\n")
    (root / "labeled.txt").write_text("00\n01\n02\n")
    (root / "test.txt").write_text("09\n10\n11\n")
    return root


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder, beside its data."""
    base = tmp_path_factory.mktemp("pictures")
    data = {"name": "folder", "root": str(write_images(base / "data"))}
    run(CONFIG | {"data": data}, run_dir=base / "run")
    return base / "run"


@pytest.fixture
def moved(finished: Path, tmp_path: Path) -> Path:
    """The run's folder and data in a place where they may be damaged."""
    shutil.copytree(finished.parent, tmp_path / "copy")
    folder = tmp_path / "copy" / "run"
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["data"]["root"] = str(tmp_path / "copy" / "data")
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


@pytest.fixture(scope="module")
def gallery(finished: Path) -> Gallery:
    return open_gallery(finished)


def test_every_image_has_its_file_and_a_sheet_has_all(moved: Path) -> None:
    paths = write_pictures(moved)
    assert [path.name for path in paths] == [*(f"{number}.png" for number in range(1, 8)), "overview.png"]
    assert sorted(path.name for path in (moved / "pictures").iterdir()) == sorted(path.name for path in paths)
    sizes = [Image.open(path).size for path in paths]
    # 24 x 32 pixels grow to 360 x 480 in a file of their own, and to 192 x 256 in the sheet.
    is_upright = [width < 480 * columns for (width, _), columns in zip(sizes, [4] * 3 + [6] * 4, strict=False)]
    assert is_upright == [True, False, True, True, True, False, False]
    assert sizes[-1][1] > 7 * 192
    first = [path.read_bytes() for path in paths]
    assert [path.read_bytes() for path in write_pictures(moved)] == first


def test_rows_are_spread_over_their_parts(gallery: Gallery) -> None:
    blocks = gallery.blocks()
    assert [block.title for block in blocks] == ["Test images", "Unlabeled training images"]
    assert [[row.name for row in block.rows] for block in blocks] == [["09", "10", "11"], ["03", "05", "06", "08"]]
    captions = [[panel.caption for panel in block.rows[0].panels] for block in blocks]
    shared = ["image", "truth", "labels alone", "dmt, round 1"]
    assert captions == [shared, [*shared, "pseudo labels", "dynamic weights"]]


def test_panels_show_images_truth_and_answers(gallery: Gallery, finished: Path) -> None:
    data = finished.parent / "data"
    for row in [row for block in gallery.blocks() for row in block.rows]:
        image, truth, *_ = row.panels
        assert np.array_equal(image.pixels, np.asarray(Image.open(data / "images" / f"{row.name}.png")))
        labels = np.asarray(Image.open(data / "masks" / f"{row.name}.png"))
        assert np.array_equal(truth.blank, labels == 255)
        scaled = torch.from_numpy(image.pixels.copy()).permute(2, 0, 1)[None].float() / 255
        for caption, network in gallery.networks.items():
            panel = next(panel for panel in row.panels if panel.caption == caption)
            with torch.no_grad():
                answers = network(scaled)[0].argmax(dim=0).numpy()
            for k, color in enumerate(gallery.palette):
                assert ((panel.pixels == color).all(axis=2) == (answers == k)).all()


def test_networks_of_a_run_through_windows_look_through_them(moved: Path) -> None:
    config = yaml.safe_load((moved / "config.yaml").read_text())
    config["rounds"]["window"] = [16, 16]
    (moved / "config.yaml").write_text(yaml.safe_dump(config))
    for network in open_gallery(moved).networks.values():
        assert isinstance(network, Windowed)
        assert (network.window, network.training) == ((16, 16), False)


def test_networks_are_those_of_the_stages(gallery: Gallery, finished: Path) -> None:
    for shown, folder in zip(gallery.networks.values(), ("supervised", "rounds/1/a"), strict=True):
        assert isinstance(shown, Windowed)
        network = shown.network
        before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        load_weights(network, finished / folder / "last.safetensors", allow_missing=False)
        assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_pseudo_labels_are_those_that_the_student_was_given(gallery: Gallery, finished: Path) -> None:
    row = json.loads((finished / "result.json").read_text())["rounds"][1]
    assert gallery.teaching is not None
    kept = torch.zeros(3, dtype=torch.int64)
    for number in range(3, 9):
        label, confidence = gallery.teaching.read(f"{number:02d}")
        kept += label[label != 255].bincount(minlength=3)
        stored, code = read_masks(finished / "rounds/1/a/pseudo_labels", f"{number:02d}")
        assert torch.equal(confidence, decode_confidence(code))
        assert torch.equal(label[label != 255], stored[label != 255])
    assert kept.tolist() == row["pseudo_labels_per_class"]
    assert 0 < sum(kept) < sum(row["predicted_per_class"])


def at_odds(gallery: Gallery, folder: Path) -> Gallery:
    """The same images with a teacher and a student who know nothing of each other."""
    stream = torch.Generator().manual_seed(0)
    student = nn.Conv2d(3, 3, kernel_size=1, bias=False)
    student.weight.data = 3 * torch.eye(3).reshape(3, 3, 1, 1)
    part = gallery.unlabeled
    keys = [part.source.key(index) for index in part.indices]
    store = MaskStore(
        folder, keys, Provenance(teacher="", teacher_hash="", config_hash=""), num_classes=3, palette=None
    )
    for position in range(len(part)):
        size = (1, *part.size(position))
        codes = torch.randint(0, 4000, size, generator=stream, dtype=torch.int32)
        store.add([position], Prediction(label=torch.randint(0, 3, size, generator=stream), code=codes))
    store.finish(list, is_main=True)
    assert gallery.teaching is not None
    thresholds = torch.full((256,), torch.inf, dtype=torch.float64)
    thresholds[:3] = torch.tensor([0.0, 0.5, torch.inf])
    teaching = replace(gallery.teaching, store=folder, thresholds=thresholds)
    return replace(gallery, networks={"student": student.eval()}, teaching=teaching)


def test_weights_are_equation_3(gallery: Gallery, tmp_path: Path) -> None:
    gallery = at_odds(gallery, tmp_path / "store")
    assert gallery.teaching is not None
    seen = set()
    for row in gallery.blocks()[1].rows:
        image, panel = row.panels[0], row.panels[-1]
        label, confidence = gallery.teaching.read(row.name)
        with torch.no_grad():
            scaled = torch.from_numpy(image.pixels.copy()).permute(2, 0, 1)[None].float() / 255
            logits = gallery.networks["student"](scaled)
        probabilities = logits.softmax(dim=1)[0]
        own = decode_confidence(confidence_code(logits))[0]
        assert panel.blank is not None
        assert np.array_equal(panel.blank, (label == 255).numpy())
        for y, x in (label != 255).nonzero().tolist()[::7]:
            right = float(probabilities[label[y, x], y, x])
            if int(probabilities[:, y, x].argmax()) == label[y, x]:
                case, weight = "agree", right**GAMMA_AGREE
            elif confidence[y, x] >= own[y, x]:
                case, weight = "teacher", right**GAMMA_DISAGREE
            else:
                case, weight = "student", 0.0
            seen.add(case)
            expected = ramp(np.array(weight)).astype(int)
            assert np.abs(panel.pixels[y, x].astype(int) - expected).max() <= 1
    assert seen == {"agree", "teacher", "student"}, "some case was not seen"


def test_the_legend_names_what_occurs(gallery: Gallery) -> None:
    blocks = gallery.blocks()
    assert [key.name for key in gallery.keys(blocks)] == ["ground", "<i>tree</i>", "sky", "no label", "weight 0 to 1"]
    assert "weight 0 to 1" not in [key.name for key in gallery.keys(blocks[:1])]


def test_the_page_shows_the_sheet_with_its_words(moved: Path) -> None:
    page = page_of(moved)
    (image,) = [given for tag, given in page.tags if tag == "img"]
    columns = "image, truth, labels alone, dmt, round 1"
    assert image["alt"] == (
        f"Rows of pictures. Test images: {columns}. Unlabeled training images: {columns}, pseudo labels, "
        "dynamic weights."
    )
    assert "left out" not in page.words
    assert "i" not in {tag for tag, given in page.tags if not given}
    assert page.text.count("<i>tree</i>") >= 3


def test_hidden_truth_has_no_column(moved: Path) -> None:
    for number in range(3, 9):
        (moved.parent / "data" / "masks" / f"{number:02d}.png").unlink()
    row = open_gallery(moved).blocks()[1].rows[0]
    captions = [panel.caption for panel in row.panels]
    assert captions == ["image", "labels alone", "dmt, round 1", "pseudo labels", "dynamic weights"]


def test_a_method_that_weighs_nothing_has_no_weights(moved: Path) -> None:
    config = yaml.safe_load((moved / "config.yaml").read_text()) | {"method": "curriculum_labeling"}
    (moved / "config.yaml").write_text(yaml.safe_dump(config))
    row = open_gallery(moved).blocks()[1].rows[0]
    assert row.panels[-1].caption == "pseudo labels"


def test_a_run_of_one_stage_shows_what_it_has(moved: Path) -> None:
    config = yaml.safe_load((moved / "config.yaml").read_text()) | {"method": "supervised"}
    (moved / "config.yaml").write_text(yaml.safe_dump(config))
    result = json.loads((moved / "result.json").read_text())
    changes = {"method": "supervised", "rounds": result["rounds"][:1], "last_round": {"round": 0, "network": "a"}}
    (moved / "result.json").write_text(json.dumps(result | changes | {"picked": {"what": "supervised", "why": ""}}))
    (block,) = open_gallery(moved).blocks()
    assert [panel.caption for panel in block.rows[0].panels] == ["image", "truth", "labels alone"]


def test_a_picked_baseline_is_still_held_against_the_last_round(moved: Path) -> None:
    result = json.loads((moved / "result.json").read_text())
    (moved / "result.json").write_text(json.dumps(result | {"picked": {"what": "supervised", "why": "better"}}))
    assert list(open_gallery(moved).networks) == ["labels alone", "dmt, round 1"]


def test_weights_files_that_the_run_began_with_may_be_gone(moved: Path) -> None:
    config = yaml.safe_load((moved / "config.yaml").read_text())
    config["networks"]["a"]["weights"] = "/nowhere/coco.safetensors"
    (moved / "config.yaml").write_text(yaml.safe_dump(config))
    assert len(open_gallery(moved).networks) == 2


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda run: shutil.rmtree(run.parent / "data"), "data"),
        (
            lambda run: (run / "supervised" / "last.safetensors").unlink(),
            "supervised is marked done but holds no weights",
        ),
        (lambda run: (run / "splits" / "unlabeled.txt").write_text("nobody\n"), "no image is named 'nobody'"),
        (lambda run: (run / "rounds/1/a/pseudo_labels/codes/05.png").write_bytes(b"no"), "05.png"),
    ],
    ids=["data", "weights", "split", "store"],
)
def test_what_cannot_be_read_again_leaves_the_page_whole(moved: Path, damage: object, said: str) -> None:
    assert callable(damage)
    damage(moved)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        page = page_of(moved)
    assert "Pictures are left out" in page.words
    assert said in page.words
    assert "img" not in {tag for tag, _ in page.tags}


def test_no_overview_is_none(tmp_path: Path) -> None:
    assert read_overview(tmp_path) is None


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 150])
def test_spread_is_even_and_keeps_both_ends(count: int) -> None:
    found = spread(count, 4)
    assert len(found) == len(set(found)) == min(count, 4)
    assert found == sorted(found)
    if count > 4:
        assert (found[0], found[-1]) == (0, count - 1)
        gaps = [later - earlier for earlier, later in pairwise(found)]
        assert max(gaps) - min(gaps) <= 1
