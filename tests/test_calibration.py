"""Teachers that are calibrated on the validation labels before they label."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from dmt.config_files import load_config
from dmt.errors import ConfigError
from dmt.run import run
from dmt.scores import ImageScores, load_scores
from tiny_runs import TINY_NETWORKS, tiny_config, tiny_parts

EXTRA = {"source": "extra", "size": 9}


def calibrated(**changes: Any) -> dict[str, Any]:
    return tiny_config(rounds={"top_fractions": [1.0], "calibration": "temperature"}, **changes)


def by_grid(scores: ImageScores) -> float:
    """The temperature of the least log-loss, by trying many; as if each class had been seen once more."""
    log_probabilities = scores.probabilities.double().log()
    count, num_classes = log_probabilities.shape

    def log_loss(temperature: float) -> float:
        total = 0.0
        for logits, target in zip(log_probabilities / temperature, scores.targets.tolist(), strict=True):
            losses = logits.logsumexp(dim=0) - logits
            total += (count * float(losses[target]) + float(losses.sum())) / (count + num_classes)
        return total

    return min(torch.linspace(-3, 3, 1501, dtype=torch.float64).exp().tolist(), key=log_loss)


def test_the_teacher_labels_at_its_best_temperature(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    result = run(calibrated(validation=EXTRA), tiny_parts(), TINY_NETWORKS, run_dir=folder)
    scores = load_scores(folder / "supervised" / "scores.safetensors")["validation"]
    assert isinstance(scores, ImageScores)
    temperature = result["rounds"][1]["teacher_temperature"]
    assert temperature == pytest.approx(by_grid(scores), rel=0.01)
    assert abs(temperature - 1) > 0.05  # or the rest would show nothing
    plain = run(
        tiny_config(validation=EXTRA, rounds={"top_fractions": [1.0]}),
        tiny_parts(),
        TINY_NETWORKS,
        run_dir=tmp_path / "plain",
    )
    assert "teacher_temperature" not in plain["rounds"][1]
    tables = [
        pq.read_table(tmp_path / name / "rounds" / "1" / "a" / "pseudo_labels" / "labels.parquet").to_pydict()
        for name in ("run", "plain")
    ]
    assert tables[0]["label"] == tables[1]["label"]
    sure = [sum(table["confidence"]) for table in tables]
    assert (sure[0] < sure[1]) == (temperature > 1)


def test_resumed_and_repeated_it_is_the_same(tmp_path: Path) -> None:
    config = calibrated(validation=EXTRA)
    first = run(config, tiny_parts(), TINY_NETWORKS, run_dir=tmp_path / "one")
    (tmp_path / "one" / "result.json").unlink()
    (tmp_path / "one" / "rounds" / "1" / "a" / "DONE").unlink()
    again = run(config, tiny_parts(), TINY_NETWORKS, run_dir=tmp_path / "one")
    costs = {"seconds", "peak_memory_mb"}
    assert {key: again["rounds"][1][key] for key in again["rounds"][1].keys() - costs} == {
        key: first["rounds"][1][key] for key in first["rounds"][1].keys() - costs
    }


@pytest.mark.parametrize("source", ["none", "cross_validation", None])
def test_it_needs_labels_for_choices(source: str | None, tmp_path: Path) -> None:
    """Left open, nine labels would be cross-validated."""
    with pytest.raises(ConfigError, match=r"rounds\.calibration is temperature.*validation\.source is (none|cross)"):
        run(calibrated(validation={"source": source}), tiny_parts(), TINY_NETWORKS, run_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_where_nobody_teaches_there_is_nothing_to_calibrate(tmp_path: Path) -> None:
    config = calibrated(method="supervised")
    assert run(config, tiny_parts(), TINY_NETWORKS, run_dir=tmp_path / "run")["rounds"]


def test_masks_have_no_calibrated_teachers() -> None:
    with pytest.raises(ConfigError, match=r"rounds\.calibration: .* classification only"):
        load_config({"task": "segmentation", "data": {"name": "scenes"}, "rounds": {"calibration": "temperature"}})
