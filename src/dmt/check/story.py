"""The story of a check: load, draw the parts, look at every image, compare them, try some steps; write nothing."""

import os
import shutil
import time
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from dmt.assemble import draw_split, fold_parts, learnable, parts_of, resolve_validation
from dmt.check.balance import find_imbalance, find_mixtures
from dmt.check.duplicates import find_alike, find_equal
from dmt.check.estimate import Estimate, estimate
from dmt.check.findings import Findings
from dmt.check.measure import Clock, measure
from dmt.check.places import Place, places_of, walk
from dmt.check.report import Report
from dmt.config import Config
from dmt.config_files import load_config
from dmt.data.images import DataSet
from dmt.data.parts import Parts
from dmt.data.problems import gathered
from dmt.data.splits import Split
from dmt.errors import DMTError, StoppedError
from dmt.loading import load_data
from dmt.methods import build_method, told_without_effect
from dmt.networks import network_builder
from dmt.progress import Silent
from dmt.tasks import TASKS
from dmt.types import Observer


@dataclass
class _Check:
    """What is known so far."""

    source: str
    findings: Findings = field(default_factory=Findings)
    config: Config | None = None
    places: dict[str, Place] = field(default_factory=dict)
    estimate: Estimate | None = None

    def report(self) -> Report:
        config = self.config
        return Report(
            config=self.source,
            task=config.task if config else "",
            dataset=config.data.name if config else "",
            method=config.method if config else "",
            findings=self.findings,
            places=self.places,
            estimate=self.estimate,
        )


def check(
    source: str,
    overrides: Iterable[str] = (),
    *,
    sample: int | None = None,
    timing: bool = True,
    run_dir: Path = Path("runs"),
    observer: Observer | None = None,
    clock: Clock = time.perf_counter,
) -> Report:
    """Everything that can be known of a run before it: nothing is trained but a few steps, and no file is kept.

    Args:
        source: a preset or a YAML file.
        overrides: `key.path=value`.
        sample: images of each part to look at, evenly chosen; None = all.
        timing: whether to measure steps.
        run_dir: where the run folder would be, for the disk.
        observer: told of the progress.
        clock: seconds.
    """
    state, observer = _Check(source), observer or Silent()
    with _told(state.findings, "config"):
        overrides = list(overrides)
        state.config = config = load_config(source, overrides)
        for key, message in told_without_effect(source, overrides).items():
            state.findings.add("warning", "no-effect", message, where=key)
        _check_data(state, config, sample=sample, timing=timing, run_dir=run_dir, observer=observer, clock=clock)
    return state.report()


def _check_data(
    state: _Check,
    config: Config,
    *,
    sample: int | None,
    timing: bool,
    run_dir: Path,
    observer: Observer,
    clock: Clock,
) -> None:
    """As `run` begins, and then every image."""
    findings = state.findings
    with _told(findings, "data"):
        with gathered() as problems:
            try:
                data = load_data(config, None)
            finally:
                findings.add_problems("error", problems)
        config = learnable(config, data)
        method = build_method(config)
        state.config = config = resolve_validation(config, data, plan=method.plan())
        split = draw_split(config, data, needs_all_labels=method.needs_all_labels)
        state.places = _walked(config, data, split, findings, sample=sample, observer=observer)
        find_imbalance(config, state.places, findings)
        find_mixtures(config, state.places, findings)
        find_equal(state.places, findings)
        find_alike(state.places, findings)
        readable = _without_unreadable(split, state.places)
        parts = parts_of(config, data, readable)
        with _told(findings, "config"):
            _build_views(config, data)
        with _told(findings, "config"):
            fold_parts(config, data, readable, needs_all_labels=method.needs_all_labels)
        with _told(findings, "network"):
            if not timing or findings.number("error"):
                network_builder(config, data, None, plan=method.plan())
                return
            state.estimate = _estimated(config, data, parts, state.places, observer=observer, clock=clock)
            _check_room(state.estimate, findings, run_dir)


def _build_views(config: Config, data: DataSet) -> None:
    """What a run makes of images before it begins, where it may refuse the config."""
    task = TASKS[config.task]
    task.labeled_view(config, data)
    task.pseudo_view(config, data)
    task.augment(config)


def _walked(
    config: Config, data: DataSet, split: Split, findings: Findings, *, sample: int | None, observer: Observer
) -> dict[str, Place]:
    """The parts, every image looked at."""
    places = places_of(
        data,
        split,
        gives_validation=config.validation.source == "given",
        is_dense=TASKS[config.task].is_dense,
        sample=sample,
    )
    for part, place in places.items():
        tolerated = part == "unlabeled" and config.data.max_unreadable > 0
        walk(place, findings, observer, tolerated=tolerated)
        unreadable = len(place.indices) - len(place.prints)
        if tolerated and unreadable > config.data.max_unreadable:
            message = (
                f"{unreadable} unlabeled images cannot be read, more than data.max_unreadable="
                f"{config.data.max_unreadable}."
            )
            findings.add("error", "too-many-unreadable", message, where="data.max_unreadable", count=1)
    return places


def _without_unreadable(split: Split, places: dict[str, Place]) -> Split:
    """Where damaged unlabeled images are tolerated, the run goes on without them, and so does its measurement."""
    if "unlabeled" not in places:
        return split
    place = places["unlabeled"]
    damaged = set(place.indices) - set(place.prints.indices.tolist())
    return replace(split, unlabeled=tuple(index for index in split.unlabeled if index not in damaged))


def _estimated(
    config: Config, data: DataSet, parts: Parts, places: dict[str, Place], *, observer: Observer, clock: Clock
) -> Estimate:
    measured = measure(config, data, parts, observer=observer, clock=clock)
    decoded = sum(place.num_bytes * place.num_images // max(1, len(place.prints)) for place in places.values())
    return estimate(
        config,
        build_method(config).plan(),
        parts,
        measured,
        label_bytes=label_bytes(config, parts),
        decoded_bytes=decoded,
    )


def label_bytes(config: Config, parts: Parts) -> int:
    """What one store of pseudo labels takes on disk, at most, as the run itself reckons."""
    task, unlabeled = TASKS[config.task], parts.unlabeled
    sizes = (unlabeled.size(position) for position in range(len(unlabeled)))
    sites = sum(height * width for height, width in sizes) if task.is_dense else len(unlabeled)
    return sites * task.bytes_a_site


def _check_room(needed: Estimate, findings: Findings, run_dir: Path) -> None:
    """Compare what a run needs with what there is."""
    place = next(one for one in (run_dir, *run_dir.absolute().parents) if one.is_dir())
    free = shutil.disk_usage(place).free
    if needed.disk_bytes > free:
        level = "error" if needed.largest_store_bytes > free else "warning"
        message = (
            f"The run takes up to {needed.disk_bytes / 1e9:.1f} GB, and the disk of {place} has {free / 1e9:.1f} GB "
            "left. Make room, or name another folder with --run-dir."
        )
        findings.add(level, "disk", message, where=str(place))  # type: ignore[arg-type]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    if needed.memory_mb > memory:
        message = (
            f"The run takes about {needed.memory_mb:,} MB of memory, and this machine has {memory:,} MB. Lower "
            "workers or batch.size."
        )
        findings.add("warning", "memory", message, where="batch.size")


@contextmanager
def _told(findings: Findings, code: str) -> Iterator[None]:
    """Within, warnings become findings, and a user's mistake ends the part of the check at hand."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            yield
        except StoppedError:
            raise
        except DMTError as error:
            findings.add("error", code, str(error), where="")
        finally:
            told = (str(one.message) for one in caught if issubclass(one.category, UserWarning))
            for message in dict.fromkeys(told):
                findings.add("warning", f"{code}-warning", message, where="")
