"""A storm of kills: a real run is killed with SIGKILL again and again, resumed, and compared with an unharmed one.

    python tests/faults/storm.py --kills 26 --seed 0

prints the table of docs/reliability.md. Half of the kills come at a random moment of the work, half right before or
after a random rename.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tiny_runs import bits_of_run, differing

VICTIM = Path(__file__).with_name("victim.py")
NEVER = ("before", "0")
SECONDS_OF_WORK = 2.0
RENAMES = 8

COMMANDS: dict[str, list[str]] = {
    "classification": [
        "digits-20", "data.num_unlabeled=60", "rounds.top_fractions=[0.5, 1.0]",
        "self_supervised={steps: 40, batch: 16}", "supervised.steps=60", "duration.steps=60",
        "batch={size: 16, labeled: 8}", "precision=fp32", "checkpoint.every_steps=20",
    ],
    "segmentation": [
        "scenes-24", "data.image_size=[32, 32]", "data.num_unlabeled=12", "rounds.top_fractions=[0.5, 1.0]",
        "supervised.steps=40", "duration.steps=40", "batch={size: 4, labeled: 1}", "precision=fp32",
        "checkpoint.every_steps=20",
    ],
}  # fmt: skip
"""Short runs of either task, with a checkpoint every 20 steps."""


@dataclass
class Outcome:
    """What a storm came to; `differences` names what is not as in an unharmed run."""

    kills: int
    resumes: int
    differences: list[str]


def unharmed(task: str, folder: Path) -> None:
    """A run that nobody kills."""
    assert _finish(task, folder) == 0


def storm(task: str, folder: Path, expected: Path, *, kills: int, seed: int) -> Outcome:
    """Kill and resume until so many kills are done, in one run folder after another, then let it come to its end."""
    dice = random.Random(f"{task} {seed}")
    outcome, number = Outcome(0, 0, []), 0
    while True:
        run = folder / str(number)
        while outcome.kills < kills and _survives(task, run, dice) is False:
            outcome.kills += 1
            outcome.resumes += 1
        assert _finish(task, run) == 0
        outcome.differences += differing(bits_of_run(run), bits_of_run(expected))
        outcome.differences += [str(path) for path in run.rglob("*.dmt-tmp")]
        if outcome.kills == kills:
            return outcome
        number += 1


def _survives(task: str, run: Path, dice: random.Random) -> bool:
    """Start or resume, and kill it at a random place; True where it was done before."""
    if dice.random() < 0.5:
        process = _start(task, run, (dice.choice(["before", "after"]), str(dice.randint(1, RENAMES))))
    else:
        process = _start(task, run, NEVER)
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("Run folder"):
                break
        time.sleep(dice.uniform(0, SECONDS_OF_WORK))
        process.kill()
    output, errors = process.communicate()
    assert process.returncode in {0, -signal.SIGKILL}, (output, errors)
    return process.returncode == 0


def _finish(task: str, run: Path) -> int:
    process = _start(task, run, NEVER)
    process.communicate()
    return process.returncode


def _start(task: str, run: Path, death: tuple[str, str]) -> "subprocess.Popen[str]":
    command = [sys.executable, str(VICTIM), *death, "train", *COMMANDS[task], "--run-dir", str(run)]
    # Tiny tensors: threads would only wait for each other.
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "COLUMNS": "200", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def main() -> None:
    """Both tasks; prints a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=26, help="over both tasks together")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print("| task | kills | resumes | differences found |\n|---|---|---|---|")  # noqa: T201
    for task in COMMANDS:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            unharmed(task, folder / "unharmed")
            found = storm(task, folder / "storm", folder / "unharmed", kills=options.kills // 2, seed=options.seed)
            print(f"| {task} | {found.kills} | {found.resumes} | {len(found.differences)} |", flush=True)  # noqa: T201
            assert not found.differences, found.differences


if __name__ == "__main__":
    main()
