"""Run methods of one preset over seeds, on paired splits, and print the Markdown table that docs/results.md holds.

    python benchmarks/methods.py digits-20 --methods curriculum_labeling,dmt --seeds 0,1,2,3,4 --runs runs/results

Figures are those of the last round, before any pick, in percent of the test part. Each run is an ordinary run folder:
one that is finished is read, not run again. The supervised column is the baseline that every run trains.

The baseline of one seed is the same bits whatever the method: with `--share-baseline` a run takes the finished
`supervised/` folder of an earlier method's run of this seed instead of training it again.
"""

import argparse
import shutil
import statistics
from pathlib import Path
from typing import Any

from dmt.config import Config
from dmt.config_files import dump_config, load_config
from dmt.run import run
from dmt.tasks import TASKS

BEARING_ON_BASELINE = (
    "task",
    "seed",
    "data",
    "validation",
    "mixup",
    "ema",
    "supervised",
    "crop",
    "augment",
)


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset")
    parser.add_argument("changes", nargs="*", metavar="key.path=value")
    parser.add_argument("--methods", default="curriculum_labeling,dmt")
    parser.add_argument("--seeds", default="0,1,2,3,4")
    parser.add_argument("--runs", type=Path, default=Path("runs/results"))
    parser.add_argument("--share-baseline", action="store_true")
    options = parser.parse_args()
    seeds = [int(seed) for seed in options.seeds.split(",")]
    methods = options.methods.split(",")
    results: dict[str, list[dict[str, Any]]] = {method: [] for method in methods}
    for seed in seeds:
        for method in methods:
            results[method].append(_run(options, method, seed))
    print("\n".join(_table(results, seeds)))


def _run(options: argparse.Namespace, method: str, seed: int) -> dict[str, Any]:
    config = load_config(options.preset, [*options.changes, f"method={method}", f"seed={seed}"])
    folders = options.runs / Path(options.preset).stem
    folder = folders / f"{method}-seed{seed}"
    # What the oracle calls its baseline has seen every label.
    if options.share_baseline and not folder.exists() and method != "oracle":
        _take_baseline(config, folder, sorted(set(folders.glob(f"*-seed{seed}")) - set(folders.glob("oracle-*"))))
    result = run(config, run_dir=folder)
    baseline, last = (result[key].get(_headline(result), float("nan")) for key in ("supervised", "last_round"))
    print(f"{method} seed {seed}: {baseline:.2f} -> {last:.2f}, {result['seconds']:.0f} s", flush=True)
    return result


def _take_baseline(config: Config, folder: Path, others: list[Path]) -> None:
    """Begin a run folder with another method's baseline, where every setting that bears on it is the same."""
    for other in others:
        same = (other / "supervised" / "DONE").is_file() and _baseline_settings(
            load_config(other / "config.yaml")
        ) == _baseline_settings(config)
        if same:
            shutil.copytree(other / "supervised", folder / "supervised")
            shutil.copytree(other / "splits", folder / "splits")
            settled = load_config(other / "config.yaml")
            (folder / "config.yaml").write_text(_yaml_with_precision(config, settled), encoding="utf-8")
            return


def _baseline_settings(config: Config) -> dict[str, Any]:
    values = config.model_dump(include=set(BEARING_ON_BASELINE))
    optimizer = config.optimizer.model_dump(exclude={"lr", "supervised_lr"})
    lr = config.optimizer.supervised_lr or config.optimizer.lr
    batch = config.batch.supervised or config.batch.size
    network, balance = config.networks.a.model_dump(), config.loss.class_balance
    return values | {"optimizer": optimizer, "lr": lr, "batch": batch, "network": network, "class_balance": balance}


def _yaml_with_precision(config: Config, settled: Config) -> str:
    changes = {"precision": settled.precision, "validation": settled.validation}
    return dump_config(config.model_copy(update=changes))


def _headline(result: dict[str, Any]) -> str:
    return TASKS[result["task"]].scores.headline


def _table(results: dict[str, list[dict[str, Any]]], seeds: list[int]) -> list[str]:
    first = next(iter(results.values()))
    headline = _headline(first[0])
    supervised = [result["supervised"][headline] for result in first]
    lines = [
        f"| method | {' | '.join(f'seed {seed}' for seed in seeds)} | mean | sd | over supervised | s a run |",
        f"|---|{'---|' * (len(seeds) + 4)}",
        _row("supervised", supervised, supervised, [0.0]),
    ]
    for method, runs in results.items():
        seconds = [result["seconds"] for result in runs]
        lines.append(_row(method, [result["last_round"][headline] for result in runs], supervised, seconds))
        if all("ensemble" in result for result in runs):
            together = [result["ensemble"][headline] for result in runs]
            lines.append(_row(f"{method}, ensemble of a and b", together, supervised, [0.0]))
    picked = [result["final"][headline] for result in list(results.values())[-1]]
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
