"""Every Python block of the documentation runs, page by page, in one namespace and an empty folder."""

import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from dmt.config_files import load_config
from dmt.data.pseudo_labels import Provenance
from dmt.data.pseudo_masks import MaskStore
from dmt.export import export_onnx
from dmt.types import Prediction
from trained_runs import train_digits

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
PAGES = sorted(
    page.name
    for page in DOCS.glob("*.md")
    # Those of own-data.md stand between commands, and run with them in test_own_data.py.
    if not page.name.startswith(("tutorial", "own-data")) and BLOCK.search(page.read_text(encoding="utf-8"))
)


def blocks(page: Path) -> list[tuple[int, str]]:
    """Line and text of each block."""
    text = page.read_text(encoding="utf-8")
    return [(text.count("\n", 0, found.start(1)), found.group(1)) for found in BLOCK.finditer(text)]


def weights_and_a_run() -> None:
    """A small file in place of the one that a reader has fetched, and the store of a run."""
    torch.save({"Scale.conv1.weight": torch.zeros(2, 3)}, "resnet101COCO-41f33a49.pth")
    origin = Provenance(teacher="b", teacher_hash="", config_hash="")
    store = MaskStore(Path("RUN/rounds/1/a/pseudo_labels"), ["x"], origin, num_classes=2, palette=None)
    maps = torch.arange(12).reshape(1, 3, 4)
    store.add([0], Prediction(label=maps % 2, code=maps.to(torch.int32)))
    store.finish(list, is_main=True)


def a_model() -> None:
    """A finished run."""
    train_digits(Path("runs/digits"))


def a_model_and_a_photo() -> None:
    """What the commands of the page leave behind, and a photo."""
    a_model()
    export_onnx(Path("runs/digits"), Path("digits-onnx"))
    Image.new("RGB", (40, 30), "gray").save("photo.png")


FILES_OF_THE_READER: dict[str, Callable[[], None]] = {
    "segmentation.md": weights_and_a_run,
    "predict.md": a_model_and_a_photo,
    "run-folder.md": a_model,
}


YAML = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", ["config.md", "segmentation.md", "which-preset.md"])
def test_the_configs_of_a_page_are_ones(page: str, tmp_path: Path) -> None:
    texts = YAML.findall((DOCS / page).read_text(encoding="utf-8"))
    assert texts
    for text in texts:
        file = tmp_path / "page.yaml"
        is_whole = text.startswith(("extends:", "task:"))
        file.write_text(text if is_whole else f"task: segmentation\n{text}")
        assert load_config(file, [] if is_whole else ["data.name=scenes"])


def test_there_are_pages_with_code() -> None:
    assert "library.md" in PAGES


@pytest.mark.parametrize("page", PAGES)
def test_the_code_of_a_page_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    FILES_OF_THE_READER.get(page, lambda: None)()
    namespace: dict[str, Any] = {"__name__": "page"}
    for line, text in blocks(DOCS / page):
        code = compile("\n" * line + text, str(DOCS / page), "exec")  # so that a traceback names the page's line
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exec(code, namespace)
