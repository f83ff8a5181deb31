"""How long a large table takes to be read and checked, row by row, before anything else happens.

Usage: python benchmarks/manifest.py [--rows 1000000] [--folder FOLDER]

Makes a CSV of that many rows, each of which names a file of its own (hard links to a few tiny images, since the rows of
a manifest may not share a file), reads it in a process that has done nothing else, and prints seconds and memory.
`reading` is the table with every check of a row: part, file, repetition. `loading` is the whole data set of it.
`dmt check` is all that it does but decode every image: 1,000 of each part (--sample), and no steps are measured.
"""

import argparse
import csv
import os
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from dmt.check import check
from dmt.config_sections import DataConfig
from dmt.data.catalog import load_dataset
from dmt.data.manifest import read_manifest

LINKS = 20_000
"""Names of one file: file systems allow some ten thousand."""
FOLDERS, CLASSES, LABELED = 100, 10, 0.02


def main() -> None:
    """Make the files, read them, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, help="where the files go; default: the system's temporary folder")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        table = Path(folder) / "table.csv"
        made = _timed(lambda: _make(table, arguments.rows))
        print(f"made {arguments.rows:,} files and their table in {made:.1f} s")
        print("| step | seconds | peak memory, MB |\n|---|---|---|")
        for name, step in (("reading", _read), ("loading", _load), ("dmt check", _check)):
            print(f"| {name} | {_timed(lambda step=step: step(table)):.1f} | {_peak_mb():,} |")


def _make(table: Path, rows: int) -> None:
    stream = np.random.default_rng(0)
    names = [f"images/{number % FOLDERS:02d}/{number:07d}.png" for number in range(rows)]
    for folder in {os.path.dirname(name) for name in names[:FOLDERS]}:  # noqa: PTH120 - a million names
        (table.parent / folder).mkdir(parents=True)
    for start in range(0, rows, LINKS):
        first, *others = names[start : start + LINKS]
        Image.fromarray(stream.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(table.parent / first)
        for name in others:
            os.link(table.parent / first, table.parent / name)
    labels = stream.integers(0, CLASSES, rows)
    is_labeled = stream.random(rows) < LABELED
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "split"])
        writer.writerows(
            (name, f"class {label}" if known else "", "")
            for name, label, known in zip(names, labels, is_labeled, strict=True)
        )


def _read(table: Path) -> None:
    read_manifest(table, allow_outside=False)


def _load(table: Path) -> None:
    load_dataset(DataConfig(name="manifest", root=str(table), image_size=[8, 8]), task="classification")


def _check(table: Path) -> None:
    config = table.with_suffix(".yaml")
    config.write_text(f"task: classification\ndata: {{name: manifest, root: {table}, image_size: [8, 8]}}\n")
    report = check(str(config), sample=1000, timing=False)
    assert report.places["unlabeled"].num_images > 0


def _timed(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _peak_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 2**10


if __name__ == "__main__":
    main()
