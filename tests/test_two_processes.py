"""Several processes together do what one does alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

STEP = """
import json, sys
import numpy as np, torch
from dmt.config_files import load_config
from dmt.engine import Engine
from dmt.methods import build_method
from dmt.types import Batch

config = load_config({"task": "segmentation", "data": {"name": "scenes"}, "method": sys.argv[1],
                      "loss": {"confidence_threshold": 0.3, "weights_per_class": sys.argv[2]}})
torch.manual_seed(0)
images, targets = torch.rand(8, 2, 6, 5), torch.randint(0, 4, (8, 6, 5))
confidence = torch.rand(8, 6, 5, dtype=torch.float64)
# Ignored sites lie in the first half alone: by their own counts, the processes would weigh them differently.
targets[:4][torch.rand(4, 6, 5) < 0.8] = 255
is_labeled = torch.arange(8) % 2 == 0
network = torch.nn.Sequential(torch.nn.Conv2d(2, 6, 3, padding=1), torch.nn.Tanh(), torch.nn.Conv2d(6, 4, 1))

engine = Engine("fp32")
mine = slice(engine.rank * 8 // engine.world_size, (engine.rank + 1) * 8 // engine.world_size)
batch = Batch(images=images[mine], targets=targets[mine], confidence=confidence[mine], is_labeled=is_labeled[mine])
wrapped = engine.distribute(engine.place(network))
output = build_method(config).training_step({"a": wrapped}, batch, 0.5, np.random.default_rng(0))
engine.update(output.loss, [torch.optim.SGD(network.parameters(), lr=0.1)])
if engine.is_main:
    print(json.dumps({name: one.grad.flatten().tolist() for name, one in network.named_parameters()}))
"""


def told(script: Path, *arguments: str, processes: int) -> dict[str, list[float]]:
    """The last line that a script prints."""
    launch = [] if processes == 1 else ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *launch, str(script), *arguments],
        capture_output=True,
        text=True,
        env=environment,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


@pytest.mark.parametrize(
    ("method", "per_class"), [("dmt", "free"), ("dmt", "mean_one"), ("online_self_training", "free")]
)
def test_ignored_pixels_count_once_over_all_processes(tmp_path: Path, method: str, per_class: str) -> None:
    """The mean is over the valid sites of the whole batch (contracts, section 5), wherever they are."""
    script = tmp_path / "step.py"
    script.write_text(STEP)
    alone, together = (told(script, method, per_class, processes=number) for number in (1, 2))
    assert alone.keys() == together.keys()
    for name, values in alone.items():
        assert max(map(abs, values)) > 1e-4, f"{name} has no gradient to compare"
        assert together[name] == pytest.approx(values, rel=1e-4, abs=1e-7), name


SHARES = f"""
import json, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from dmt.alignment import align
from dmt.engine import Engine
from dmt.progress import Silent
from test_alignment import Looked, numbered, some_logits

engine = Engine("fp32")
found = align(Looked(some_logits()), numbered(200), [0.4, 0.3, 0.2, 0.1], seed=0, engine=engine, batch_size=7,
              workers=0, title="", observer=Silent())
everywhere = engine.gather([list(found.offsets)])
if engine.is_main:
    print(json.dumps({{"rank " + str(rank): offsets for rank, offsets in enumerate(everywhere)}}))
"""


def test_teachers_are_aligned_by_the_images_of_all_processes(tmp_path: Path) -> None:
    script = tmp_path / "shares.py"
    script.write_text(SHARES)
    alone, together = (told(script, processes=number) for number in (1, 2))
    assert len(together) == 2
    assert together["rank 0"] == together["rank 1"] == pytest.approx(alone["rank 0"], abs=1e-6)


STOP = f"""
import os, signal, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from torch import nn
from dmt.engine import Engine
from dmt.errors import StoppedError
from dmt.run import run
from dmt.signals import orderly_stop
from tiny_runs import tiny_config, tiny_network, tiny_parts

folder, at = sys.argv[1], int(sys.argv[2])
rank, calls = Engine("fp32").rank, 0

class Signalled(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = tiny_network()

    def forward(self, images):
        global calls
        calls += 1
        if calls == at and rank == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return self.inner(images)

config = tiny_config(ema=None, rounds={{"top_fractions": [1.0], "alignment": "labeled_shares"}})
outcome = "finished"
try:
    with orderly_stop():
        run(config, tiny_parts(), {{"a": Signalled}}, run_dir=folder)
except StoppedError as error:
    outcome = str(error)
with open(f"{{folder}}-{{rank}}.txt", "w") as file:  # not stdout, where lines of two processes may mix
    file.write(outcome)
"""


LATE = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from dmt.engine import Engine
from dmt.run import run
from tiny_runs import TINY_NETWORKS, tiny_config, tiny_parts

folder, engine, is_file = Path(sys.argv[1]), Engine("fp32"), Path.is_file
shown_late = ("DONE", "manifest.json", "alignment.json", "result.json", "config.yaml", "state.safetensors")
if not engine.is_main:
    Path.is_file = lambda path: path.name not in shown_late and path.parent.name != "ensemble" and is_file(path)
short = {{"supervised": {{"steps": 2}}, "duration": {{"steps": 2}}}}
rounds = {{"top_fractions": [1.0], "alignment": "labeled_shares"}}
config = tiny_config(scheme="mutual", rounds=rounds, **short)
for again in (False, True):
    if again and engine.is_main:
        for name in ("result.json", "rounds/1/b/DONE"):
            (folder / name).unlink()
    engine.wait()
    run(config, tiny_parts(), TINY_NETWORKS, run_dir=folder)
    engine.wait()
run(config, tiny_parts(), TINY_NETWORKS, run_dir=folder)
open(f"{{folder}}-{{engine.rank}}.txt", "w").write("finished")
"""


def test_a_process_whose_disk_is_late_does_as_the_main_one(tmp_path: Path) -> None:
    """Else each would wait for the other in another place: such disks are shared ones, over a network."""
    script = tmp_path / "late.py"
    script.write_text(LATE)
    assert outcome(script, tmp_path / "run") == ["finished", "finished"]


def outcome(script: Path, folder: Path, *, at: int = 0) -> list[str]:
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *launch, str(script), str(folder), str(at)],
        capture_output=True, text=True, env=environment, timeout=180, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return [Path(f"{folder}-{rank}.txt").read_text() for rank in (0, 1)]


def test_a_signal_to_one_process_stops_all_at_the_same_step(tmp_path: Path) -> None:
    script = tmp_path / "stop.py"
    script.write_text(STOP)
    stopped = outcome(script, tmp_path / "run", at=12)
    assert stopped == ["Stopped by SIGTERM; supervised: 20 of 50 steps are written down."] * 2
    assert outcome(script, tmp_path / "run", at=-1) == ["finished", "finished"]
    assert outcome(script, tmp_path / "whole", at=-1) == ["finished", "finished"]
    results = [json.loads((tmp_path / name / "result.json").read_text()) for name in ("run", "whole")]
    assert results[0]["final"] == results[1]["final"]
    # What the main process found and wrote is what both went on with.
    assert results[0]["rounds"][1]["alignment_offsets"] == results[1]["rounds"][1]["alignment_offsets"]


def test_clocks_that_disagree_hold_nobody_up(tmp_path: Path) -> None:
    clocks = (
        "from dmt.checkpoint import CheckpointClock\nCheckpointClock.is_due = lambda *_: rank == {rank}\noutcome = "
    )
    for rank in (0, 1):
        script = tmp_path / f"clocks{rank}.py"
        script.write_text(STOP.replace("outcome = ", clocks.format(rank=rank), 1))
        assert outcome(script, tmp_path / f"run{rank}", at=-1) == ["finished", "finished"]
