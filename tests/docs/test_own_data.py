"""docs/own-data.md: every block runs, in a folder that holds what the page shows."""

import csv
import io
import json
import re
import shlex
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dmt.cli.main import main
from dmt.config_files import load_config, parse_yaml
from dmt.data.catalog import load_dataset
from dmt.init.layouts import KNOWN

PAGE = (Path(__file__).parents[2] / "docs" / "own-data.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE)
COMMANDS = [line for kind, text in BLOCKS if not kind for line in text.splitlines() if line.startswith("dmt ")]
SHORT = ["supervised={steps: 2}", "duration={steps: 2}", "rounds.top_fractions=[1.0]", "precision=fp32"]


def picture(path: str, seed: int) -> None:
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(coarse).resize((40, 36), Image.Resampling.BICUBIC).save(path)


def mask(path: str, values: tuple[int, ...] = (0, 1, 2)) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.resize(np.repeat(np.array(values, dtype=np.uint8), 50), (36, 40))).save(path)


def write_photos() -> None:
    places = [f"labeled/{label}/{k}.jpg" for label in ("cat", "dog") for k in range(4)]
    places += [f"unlabeled/{k}.jpg" for k in range(6)]
    places += [
        f"{part}/{label}/{k}.jpg" for part in ("validation", "test") for label in ("cat", "dog") for k in range(2)
    ]
    for seed, place in enumerate(places):
        picture(f"photos/{place}", seed)
    with open("photos/table.csv", "w", newline="") as file:  # noqa: PTH123
        writer = csv.writer(file)
        writer.writerow(["path", "label", "split"])
        for place in places:
            part, label = place.split("/")[0], place.split("/")[-2]
            writer.writerow([place, "" if part == "unlabeled" else label, "" if "labeled" in part else part])
    Path("photos/shards").mkdir()
    with tarfile.open("photos/shards/0.tar", "w") as tar:
        stream = io.BytesIO()
        Image.new("RGB", (40, 36), "red").save(stream, "png")
        info = tarfile.TarInfo("x.png")
        info.size = len(stream.getvalue())
        tar.addfile(info, io.BytesIO(stream.getvalue()))


def write_masks() -> None:
    for k in range(6):
        for folder in ("scans", "coco", "binary"):
            picture(f"{folder}/images/{k}.jpg", k)
        if k < 4:
            mask(f"scans/masks/{k}.png")
            mask(f"binary/masks-255/{k}.png", (0, 255))
    Path("scans/classes.txt").write_text("soil\nleaf\nfruit\n")
    Path("scans/test.txt").write_text("3\n")
    square = [[2, 2, 30, 2, 30, 30, 2, 30]]
    content = {
        "images": [{"id": k, "file_name": f"{k}.jpg", "height": 36, "width": 40} for k in range(4)],
        "annotations": [{"image_id": k, "category_id": 1, "segmentation": square} for k in range(4)],
        "categories": [{"id": 1, "name": "leaf"}],
    }
    Path("coco/annotations.json").write_text(json.dumps(content))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("own")


def run(command: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as exit_:
        main()
    return int(exit_.value.code or 0)


def test_every_block_runs_in_the_order_of_the_page(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder / "hub"))
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(folder / "torch"))
    write_photos()
    write_masks()
    for k, word in enumerate(["cat", "cat", "dog", "dog", "unknown"]):
        picture(f"named/{word}_{k}.jpg", k)
    for kind, text in BLOCKS:
        if kind == "python":
            exec(compile(text, "own-data.md", "exec"), {})
        elif kind == "yaml":
            config = load_config(parse_yaml(text, source="own-data.md"))
            if config.data.name != "voc":  # which nobody has at hand
                load_dataset(config.data, task=config.task)
        for line in text.splitlines() if not kind else ():
            if line.startswith("dmt "):
                arguments = shlex.split(line)
                assert run([*arguments, *(SHORT if arguments[1] == "train" else [])], monkeypatch) == 0, line
    # What the page leads to can be loaded, too.
    assert run(["dmt", "init", "named/table.csv", "-o", "named.yaml", "--no-timing"], monkeypatch) == 0
    assert run(["dmt", "init", "binary", "-o", "binary.yaml", "--no-timing"], monkeypatch) == 0
    assert load_config("binary.yaml").data.class_names == ["class 0", "class 1"]


def test_every_layout_that_init_knows_is_on_the_page() -> None:
    lines = "\n".join(line for line in PAGE.splitlines() if line.startswith("## ")).lower()
    for title in KNOWN:
        words = {"class folders": "folders", "a table": "table", "images and masks": "images and masks"}
        assert words.get(title, title).lower() in lines


def test_every_code_of_a_finding_is_on_the_page() -> None:
    source = Path(__file__).parents[2] / "src" / "dmt"
    files = [*(source / "check").glob("*.py"), *(source / "data").glob("*.py")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in files)
    refused = re.findall(r'refuse\([^"]*?"([a-z-]+)"', text) + re.findall(r'Problem\(\s*"([a-z-]+)"', text)
    added = re.findall(r'add\(\s*(?:level|"\w+"(?: if [^,]*? else "\w+")?),\s*"([a-z-]+)"', text)
    codes = {*refused, *added}
    assert {"unreadable-image", "bad-mask", "imbalance", "bent"} <= codes
    missing = {code for code in codes if f"`{code}`" not in PAGE}
    assert missing == set()


def test_examples_are_there() -> None:
    assert len(COMMANDS) >= 10
