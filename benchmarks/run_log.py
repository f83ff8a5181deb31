"""A log of finished runs, a line for each: what its config changes from the defaults, and its figures.

    python benchmarks/run_log.py runs --output docs/runs.csv

Looks for run folders below those that are named. Lines that the file has already stay, so that it outlives the folders;
a run is known again by the hash of its config, which ends its folder's name in a comparison, and its day: the same
settings on another machine are another line. Paths are cut to their last part. The processor and the version of dmt are
told since 2026-11-29. Figures are percent, of the last round, before any pick.
"""

import argparse
import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from dmt.compare.validation import by_validation
from dmt.config_files import config_hash, load_config
from dmt.files import read_json, write_text
from dmt.tasks import TASKS

COLUMNS = (
    "config", "date", "dataset", "labels", "method", "seed", "figure", "supervised", "last_round",
    "supervised_by_validation", "last_round_by_validation", "seconds", "cpu", "dmt", "settings",
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Read, add, sort, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args(arguments)
    lines = {(line["config"], line["date"]): line for line in known(options.output)}
    before = len(lines)
    for result in sorted(path for folder in options.folders for path in folder.rglob("result.json")):
        line = line_of(result.parent)
        lines[line["config"], line["date"]] = line
    write(options.output, sorted(lines.values(), key=lambda one: [one[key] for key in ("dataset", "date", "config")]))
    print(f"{len(lines):,} runs, {len(lines) - before:,} of them new, in {options.output}.")


def known(path: Path) -> list[dict[str, str]]:
    """The lines that are there already."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def line_of(folder: Path) -> dict[str, str]:
    """What the log says of one finished run."""
    config, result = load_config(str(folder / "config.yaml")), read_json(folder / "result.json")
    environment = read_json(folder / "environment.json")
    headline = TASKS[config.task].scores.headline
    judged = by_validation(result) if all("validation" in row for row in result["rounds"]) else {}
    texts = {
        "config": config_hash(config)[:8],
        "date": date.fromtimestamp((folder / "result.json").stat().st_mtime).isoformat(),
        "dataset": result["dataset"],
        "labels": result["num_labeled"],
        "method": config.method,
        "seed": config.seed,
        "figure": headline,
        "seconds": round(result["seconds"]),
        **{name: environment.get(name, "") for name in ("cpu", "dmt")},
        "settings": " ".join(settings(config.model_dump(mode="json", exclude_defaults=True))),
    }
    for suffix, figures in {"": result, "_by_validation": judged}.items():
        for part in ("supervised", "last_round"):
            texts[part + suffix] = figures.get(part, {}).get(headline, "")
    return {column: str(texts[column]) for column in COLUMNS}


def settings(values: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """`key.path=value` of each value, what other columns tell left out."""
    for key, value in values.items():
        name = f"{path}{key}"
        if isinstance(value, Mapping):
            yield from settings(value, f"{name}.")
        elif name not in ("method", "seed", "data.name", "data.num_labeled"):
            cut = Path(value).name if isinstance(value, str) and "/" in value else value
            yield f"{name}={cut if isinstance(cut, str) else json.dumps(cut)}"


def write(path: Path, lines: Sequence[Mapping[str, str]]) -> None:
    """All lines, below a heading."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    write_text(path, text.getvalue())


if __name__ == "__main__":
    main()
