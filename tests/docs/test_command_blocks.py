"""The commands of predict.md, segmentation.md and the README run, on what the page says is there."""

import warnings
from pathlib import Path

import pytest
from PIL import Image

from dmt.cli.main import app
from dmt.config_files import load_config
from pages import commands
from trained_runs import train_digits, train_scenes


def photos(folder: Path) -> None:
    folder.mkdir()
    for index, shade in enumerate(("black", "gray", "white")):
        Image.new("RGB", (96, 96), shade).save(folder / f"{index}.png")


def test_the_commands_of_predict_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    photos(Path("photos"))
    Image.new("RGB", (96, 96), "red").save("one.jpg")
    demos = {
        ("demo", "--run-dir", "runs/digits"): train_digits,
        ("demo", "--task", "segmentation", "--run-dir", "runs/scenes"): train_scenes,
    }
    shown = commands("docs/predict.md")
    assert all(list(demo) in shown for demo in demos), "the page begins with the demos"
    for words in shown:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if tuple(words) in demos:  # they have tests of their own; here a few steps do
                demos[tuple(words)](Path(words[-1]))
            else:
                assert not app(words, standalone_mode=False), words
    assert Path("classes.csv").read_text().count("\n") == 4
    assert all(
        Path(name).exists() for name in ("answers/overlays", "digits-bundle/model.json", "digits-onnx/model.onnx")
    )


@pytest.mark.parametrize("page", ["docs/segmentation.md", "README.md"])
def test_trainings_of_a_page_are_of_presets_and_keys_that_exist(page: str) -> None:
    trainings = [words for words in commands(page) if words[0] == "train"]
    assert len(trainings) >= 2
    for _, preset, *changes in trainings:
        if not preset.endswith((".yaml", ".yml")):
            assert load_config(preset, changes)


def test_commands_of_the_readme_have_the_options_that_it_names(capsys: pytest.CaptureFixture[str]) -> None:
    shown = [words for words in commands("README.md") if words[0] not in ("train", "list")]
    assert {words[0] for words in shown} >= {"init", "check", "predict", "evaluate", "export"}
    for command, *words in shown:
        app([command, "--help"], standalone_mode=False)
        text = capsys.readouterr().out
        for option in (word for word in words if word.startswith("-")):
            assert option in text, f"dmt {command} has no {option}"


@pytest.mark.slow
def test_the_commands_of_compare_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text("extends: digits-20\n")
    short = [
        "supervised.steps=4",
        "rounds.top_fractions=[1.0]",
        "batch={size: 8, labeled: 4}",
        "precision=fp32",
    ]
    shown = commands("docs/compare.md")
    assert len(shown) >= 3
    for number, (command, source, *words) in enumerate(shown):
        changed = [word.replace("duration.steps=300", "duration.steps=2") for word in words]
        if "--seeds" in changed:  # one will do
            changed[changed.index("--seeds") + 1] = "0"
        else:
            changed += ["--seeds", "0"]
        if "duration.steps=2" not in changed:
            changed.append("duration.steps=2")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            app([command, source, *short, *changed, "--runs", str(number)], standalone_mode=False)
        assert Path(str(number), "compare.md").read_text().count("of 1 |") >= 2
        assert Path(str(number), "compare.csv").read_text().count("\n") >= 3
