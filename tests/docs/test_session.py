"""docs/session-camvid.md: its commands in its order, on a small folder of the same layout, training cut short."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import timm
from PIL import Image
from safetensors.torch import save_file

from dmt.cli.main import app
from pages import commands

COMMANDS = commands("docs/session-camvid.md")
SHORT = ["supervised={steps: 2}", "duration={steps: 2}", "precision=fp32"]
NUM_CLASSES = 11


def write_camvid(folder: Path) -> None:
    """60 street scenes of noise, 4 of them for choices, each with a mask in which every class occurs."""
    random = np.random.default_rng(0)
    names = [f"street_{index:02d}" for index in range(60)]
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for name in names:
        Image.fromarray(random.integers(0, 256, (48, 64, 3), dtype=np.uint8)).save(folder / f"images/{name}.jpg")
        mask = np.repeat(np.arange(48)[:, None] % NUM_CLASSES, 64, axis=1).astype(np.uint8)
        Image.fromarray(mask).save(folder / f"masks/{name}.png")
    (folder / "classes.txt").write_text("\n".join(f"thing {index}" for index in range(NUM_CLASSES)))
    (folder / "train.txt").write_text("\n".join(names[:56]))
    (folder / "val.txt").write_text("\n".join(names[56:]))


@pytest.mark.slow
def test_the_session_runs_from_init_to_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_camvid(Path("camvid"))
    network = timm.create_model("mobilenetv1_100", pretrained=False, pad_type="same", bn_eps=1e-3)
    save_file(network.state_dict(), "mobilenetv1_100_imagenet.safetensors")
    assert [words[0] for words in COMMANDS][:3] == ["init", "check", "train"]
    assert {words[0] for words in COMMANDS} == {"init", "check", "train", "predict", "evaluate", "export"}
    for words in COMMANDS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert not app([*words, *(SHORT if words[0] == "train" else [])], standalone_mode=False), words
    assert "num_labeled: 46" in Path("dmt.yaml").read_text()
    assert len(list(Path("answers/masks").rglob("*.png"))) == 60
    assert all(Path(name).is_file() for name in ("camvid-model/model.json", "camvid-onnx/model.onnx"))
