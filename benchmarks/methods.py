"""Run methods of one preset over seeds, on paired splits, and print the Markdown table that docs/results.md holds.

    python benchmarks/methods.py digits-20 --methods curriculum_labeling,dmt --seeds 0,1,2,3,4 --runs runs/results

Figures are those of the last round, before any pick, in percent of the test part. Each run is an ordinary run folder:
one that is finished is read, not run again. The supervised column is the baseline that every run trains.
"""

import argparse
import statistics
from pathlib import Path
from typing import Any

from dmt.config_files import load_config
from dmt.run import run


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset")
    parser.add_argument("changes", nargs="*", metavar="key.path=value")
    parser.add_argument("--methods", default="curriculum_labeling,dmt")
    parser.add_argument("--seeds", default="0,1,2,3,4")
    parser.add_argument("--runs", type=Path, default=Path("runs/results"))
    options = parser.parse_args()
    seeds = [int(seed) for seed in options.seeds.split(",")]
    results = {method: [_run(options, method, seed) for seed in seeds] for method in options.methods.split(",")}
    print("\n".join(_table(results, seeds)))


def _run(options: argparse.Namespace, method: str, seed: int) -> dict[str, Any]:
    config = load_config(options.preset, [*options.changes, f"method={method}", f"seed={seed}"])
    result = run(config, run_dir=options.runs / options.preset / f"{method}-seed{seed}")
    last = result["last_round"]["accuracy"]
    print(f"{method} seed {seed}: {result['supervised']['accuracy']:.2f} -> {last:.2f}", flush=True)
    return result


def _table(results: dict[str, list[dict[str, Any]]], seeds: list[int]) -> list[str]:
    first = next(iter(results.values()))
    supervised = [result["supervised"]["accuracy"] for result in first]
    lines = [
        f"| method | {' | '.join(f'seed {seed}' for seed in seeds)} | mean | sd | over supervised | s a run |",
        f"|---|{'---|' * (len(seeds) + 4)}",
        _row("supervised", supervised, supervised, [0.0]),
    ]
    for method, runs in results.items():
        accuracies = [result["last_round"]["accuracy"] for result in runs]
        lines.append(_row(method, accuracies, supervised, [result["seconds"] for result in runs]))
    picked = [result["final"]["accuracy"] for result in list(results.values())[-1]]
    lines.append(_row(f"{list(results)[-1]}, as picked by validation", picked, supervised, [0.0]))
    return lines


def _row(name: str, accuracies: list[float], supervised: list[float], seconds: list[float]) -> str:
    gains = [one - base for one, base in zip(accuracies, supervised, strict=True)]
    spread = statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0
    gain_spread = statistics.stdev(gains) if len(gains) > 1 else 0.0
    gain = f"{statistics.mean(gains):+.2f} ± {gain_spread:.2f}" if any(gains) else ""
    cost = f"{statistics.median(seconds):.0f}" if any(seconds) else ""
    cells = [*(f"{one:.2f}" for one in accuracies), f"{statistics.mean(accuracies):.2f}", f"{spread:.2f}", gain, cost]
    return f"| {name} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
