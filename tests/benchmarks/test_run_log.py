"""The log of runs: figures of result.json, settings that make the run again, and lines that outlive their folders."""

import csv
import json
import shutil
from pathlib import Path

import pytest

from dmt import __version__
from dmt.config_files import config_hash, load_config
from scripts import load_script


def test_a_line_has_the_figures_and_settings_of_its_run(digits_run: Path, tmp_path: Path) -> None:
    output = tmp_path / "log.csv"
    load_script("benchmarks/run_log.py").main([str(digits_run), "--output", str(output)])
    (line,) = csv.DictReader(output.open())
    result = json.loads((digits_run / "result.json").read_text())
    environment = json.loads((digits_run / "environment.json").read_text())
    assert (line["cpu"], line["dmt"]) == (environment["cpu"], __version__)
    assert float(line["last_round"]) == result["last_round"]["accuracy"]
    assert float(line["supervised"]) == result["supervised"]["accuracy"]
    config = load_config(str(digits_run / "config.yaml"))
    assert line["config"] == config_hash(config)[:8]
    changes = [
        f"method={line['method']}",
        f"seed={line['seed']}",
        "data.name=digits",
        f"data.num_labeled={line['labels']}",
    ]
    made_again = load_config(
        {"task": "classification", "data": {"name": "digits"}}, [*line["settings"].split(" "), *changes]
    )
    assert config_hash(made_again) == config_hash(config)


def test_lines_stay_when_their_folders_are_gone(
    digits_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script, output = load_script("benchmarks/run_log.py"), tmp_path / "log.csv"
    shutil.copytree(digits_run, tmp_path / "runs/one")
    script.main([str(tmp_path / "runs"), "--output", str(output)])
    first = output.read_text()
    script.main([str(tmp_path / "runs"), "--output", str(output)])
    assert output.read_text() == first
    shutil.rmtree(tmp_path / "runs/one")
    script.main([str(tmp_path / "runs"), "--output", str(output)])
    assert output.read_text() == first
    assert "1 runs, 0 of them new" in capsys.readouterr().out
    assert str(tmp_path) not in first


def test_settings_are_flat_and_paths_cut() -> None:
    settings = load_script("benchmarks/run_log.py").settings
    values = {
        "seed": 3,
        "data": {"root": "/a/b", "image_size": None},
        "networks": {"a": {"weights": "/a/b/c.safetensors"}},
    }
    assert list(settings(values)) == ["data.root=b", "data.image_size=null", "networks.a.weights=c.safetensors"]
