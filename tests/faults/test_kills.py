"""SIGKILL at random moments: nothing is lost but the steps since the last checkpoint, and no bit differs."""

from pathlib import Path

import pytest
from storm import storm, unharmed


@pytest.mark.parametrize(
    ("task", "kills"),
    [
        ("classification", 2),
        ("segmentation", 1),
        pytest.param("classification", 13, marks=pytest.mark.slow),
        pytest.param("segmentation", 13, marks=pytest.mark.slow),
    ],
)
def test_a_killed_run_ends_with_the_same_bits(tmp_path: Path, task: str, kills: int) -> None:
    unharmed(task, tmp_path / "unharmed")
    outcome = storm(task, tmp_path / "storm", tmp_path / "unharmed", kills=kills, seed=kills)
    assert (outcome.kills, outcome.differences) == (kills, [])
