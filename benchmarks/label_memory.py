"""Peak memory of labeling and predicting, by the number of image files.

    python benchmarks/label_memory.py --counts 2000,20000

Writes that many files (200 different photos of noise, hard-linked), trains a few steps on six labels so that all
others are labeled once, then predicts the same folder with `dmt predict`, and prints each process's peak memory and
the ratio of the last to the first. Decoded images are kept up to 256 MiB (dmt/data/memory.py); at 224x224 pixels both
counts reach that.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

SIDE, DIFFERENT, LABELS = 224, 200, 3
CLASSES = ("dark", "light")
DMT = (sys.executable, "-m", "dmt.cli.main")


def write_files(root: Path, count: int) -> None:
    """Photos of two brightnesses: a few in class folders, all others without a label."""
    random = np.random.default_rng(0)
    originals = root / "unlabeled"
    originals.mkdir(parents=True)
    for number in range(DIFFERENT):
        low = 0 if number % 2 == 0 else 90
        coarse = random.integers(low, low + 160, (14, 14, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((SIDE, SIDE)).save(originals / f"{number:06d}.jpg")
    for number in range(DIFFERENT, count):
        os.link(originals / f"{number % DIFFERENT:06d}.jpg", originals / f"{number:06d}.jpg")
    for number in range(2 * LABELS):
        folder = root / "labeled" / CLASSES[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        os.link(originals / f"{number:06d}.jpg", folder / f"{number}.jpg")


def peak_megabytes(arguments: list[str], log: Path) -> float:
    """Of one process, from start to end."""
    with log.open("w") as output:
        process = subprocess.Popen([*DMT, *arguments], stdout=output, stderr=output)
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{' '.join(arguments)} failed:\n{log.read_text()[-2000:]}")
    return usage.ru_maxrss / 1024


def measure(count: int, folder: Path) -> tuple[float, float]:
    """Peak megabytes of a run that labels so many images, and of predicting them."""
    root, run = folder / f"images-{count}", folder / f"run-{count}"
    write_files(root, count)
    settings = folder / "config.yaml"
    settings.write_text(
        "task: classification\nnetworks: {a: {name: small_cnn}}\nsupervised: {steps: 10}\nduration: {steps: 10}\n"
        "rounds: {top_fractions: [0.5]}\nvalidation: {source: none}\nbatch: {size: 16, labeled: 4}\nprecision: fp32\n"
        f"data: {{name: folder, image_size: [{SIDE}, {SIDE}]}}\n"
    )
    train = ["train", str(settings), f"data.root={root}", "--run-dir", str(run)]
    predict = ["predict", str(run), str(root / "unlabeled"), "-o", str(folder / f"classes-{count}.csv")]
    return tuple(peak_megabytes(one, folder / "log.txt") for one in (train, predict))  # type: ignore[return-value]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--counts", default="2000,20000")
    counts = [int(count) for count in parser.parse_args().counts.split(",")]
    print(f"{'files':>8} {'training and labeling, MB':>26} {'predicting, MB':>16}")
    with tempfile.TemporaryDirectory() as folder:
        rows = []
        for count in counts:
            rows.append(measure(count, Path(folder)))
            print(f"{count:>8,} {rows[-1][0]:>26,.0f} {rows[-1][1]:>16,.0f}", flush=True)
    ratios = [last / first for first, last in zip(rows[0], rows[-1], strict=True)]
    print(f"{'ratio':>8} {ratios[0]:>26.2f} {ratios[1]:>16.2f}")


if __name__ == "__main__":
    main()
