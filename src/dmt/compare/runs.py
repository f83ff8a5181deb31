"""Running what is to be compared: ordinary runs, in folders that their settings name."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from dmt.assemble import draw_split, learnable, resolve_validation, stored_split
from dmt.compare.candidates import Candidate, run_folder
from dmt.compare.comparison import Comparison, Judges
from dmt.compare.validation import by_validation
from dmt.config import Config
from dmt.config_files import load_config
from dmt.data.catalog import load_dataset
from dmt.data.images import DataSet
from dmt.engine import reset_peak_memory
from dmt.errors import ConfigError, DMTError, NonFiniteError, StoppedError
from dmt.loading import load_data
from dmt.methods import build_method
from dmt.networks import network_builder
from dmt.own_networks import check_networks
from dmt.run import run
from dmt.run_folder import read_result
from dmt.stage_files import undone_stage
from dmt.types import Observer, networks_of

Watch = Callable[[Candidate, int, Path], AbstractContextManager[Observer]]
"""Called before each run that is not finished yet; its context lasts as long as the run."""

Key: TypeAlias = tuple[str, int]
"""A candidate's name and a seed."""


def compare(
    candidates: Sequence[Candidate],
    seeds: Sequence[int],
    *,
    folder: Path,
    judges: Judges = "test",
    watch: Watch | None = None,
) -> Comparison:
    """Run every candidate with every seed, and put their results side by side.

    Runs of the same seed and number of labels share their split, whatever the method. A finished run is read, one that
    was stopped goes on, and networks of round 0 that two runs share are trained once. A candidate that diverges with
    one seed is left out with all of them; it gets no further run, and the others go on.

    Args:
        candidates: lines of the comparison.
        seeds: of the runs.
        folder: holds the run folders; shared by comparisons, it spares what they have in common.
        judges: whose figures: the test part's, or those of the validation labels, by which settings may be chosen.
        watch: shows the runs.

    Raises:
        ConfigError: a config that is wrong, or runs without the labels that are to judge: before anything runs.
        NonFiniteError: every candidate diverged.
        DMTError: as runs do.
    """
    data = _Data()
    for candidate in candidates:
        with _named(candidate.name):
            _try(candidate.config(seeds[0]), data, judges)
        _try_splits(candidate, seeds[1:], data)
    # Seed by seed: whoever stops early has whole pairs.
    runs = [(candidate, seed) for seed in seeds for candidate in candidates]
    folders = {(one.name, seed): run_folder(folder, one.config(seed)) for one, seed in runs}
    results, diverged = _run_all(runs, folders, data, watch)
    names = [candidate.name for candidate in candidates if candidate.name not in diverged]
    if not names:
        raise NonFiniteError("\n".join(diverged.values()))
    # A mean without the seed that diverged would flatter.
    results = {key: result for key, result in results.items() if key[0] in names}
    folders = {key: folders[key] for key in results}
    if judges == "validation":
        results = {key: by_validation(result) for key, result in results.items()}
    return Comparison(names, list(seeds), results, folders, judges, diverged)


def _run_all(
    runs: Sequence[tuple[Candidate, int]], folders: Mapping[Key, Path], data: "_Data", watch: Watch | None
) -> tuple[dict[Key, dict[str, Any]], dict[str, str]]:
    """Results by name and seed, and what the candidates said that diverged, which get no further run."""
    results: dict[Key, dict[str, Any]] = {}
    diverged: dict[str, str] = {}
    for candidate, seed in runs:
        if candidate.name in diverged:
            continue
        try:
            results[candidate.name, seed] = _result(candidate, seed, folders[candidate.name, seed], data, watch)
        except NonFiniteError as error:
            diverged[candidate.name] = str(error)
    return results, diverged


def _try(config: Config, data: "_Data", judges: Judges) -> None:
    """Meet every mistake that needs no training to be met: before the first hour of it, and not after."""
    method, images = build_method(config), load_data(config, data.of(config))
    if images.test is None and judges == "test":
        raise ConfigError(
            f"data.name={config.data.name} has no test part, and so there are no figures to compare. Name images with "
            "labels for it (data.test, or the data set's own way), or judge by validation."
        )
    resolved = _resolved(config, images)
    if judges == "validation" and (resolved.validation.source == "none" or method.needs_all_labels):
        why = "it sees every label" if method.needs_all_labels else "validation.source is none here"
        raise ConfigError(
            f"There are no validation images to judge method={config.method} by: {why}. Name validation.source=extra, "
            "cut or cross_validation for all that is compared, and leave the oracle out."
        )
    draw_split(resolved, images, needs_all_labels=method.needs_all_labels)
    network_builder(config, images, None, plan=method.plan())


def _try_splits(candidate: Candidate, seeds: Sequence[int], data: "_Data") -> None:
    """Draw the other seeds' splits: which class gives one label more differs by seed, and it may have none to give."""
    for seed in seeds:
        config = candidate.config(seed)
        images, method = load_data(config, data.of(config)), build_method(config)
        with _named(f"{candidate.name}, seed {seed}"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # each run tells its own
            draw_split(_resolved(config, images), images, needs_all_labels=method.needs_all_labels)


def _resolved(config: Config, images: DataSet) -> Config:
    return resolve_validation(learnable(config, images), images, plan=build_method(config).plan())


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Errors within say whose they are; those that tell how to go on stay as they are."""
    try:
        yield
    except StoppedError:
        raise
    except DMTError as error:
        raise type(error)(f"{name}: {error}") from error


def _result(candidate: Candidate, seed: int, path: Path, data: "_Data", watch: Watch | None) -> dict[str, Any]:
    config = candidate.config(seed)
    images = data.of(config)
    neighbours = sorted(path.parent.glob(f"*-seed{seed}-*"))
    reset_peak_memory()
    with _named(f"{candidate.name}, seed {seed}"):
        if (path / "result.json").is_file() and undone_stage(path, build_method(config).plan()) is None:
            stored = load_config(str(path / "config.yaml"))
            check_networks(path / "splits", stored, None, networks_of(build_method(stored).plan()))
            stored_split(stored, images, path / "splits")  # refuses other data
            return read_result(path / "result.json")
        if watch is None:
            return run(config, images, run_dir=path, neighbours=neighbours)
        with watch(candidate, seed, path) as observer:
            return run(config, images, run_dir=path, observer=observer, neighbours=neighbours)


class _Data:
    """The data set of the last config, kept for the next that names the same one, with however many labels."""

    def __init__(self) -> None:
        self._key = ""
        self._data: DataSet | None = None

    def of(self, config: Config) -> DataSet:
        """The data set that the config names."""
        key = f"{config.task} {config.data.model_dump_json(exclude={'num_labeled', 'num_unlabeled'})}"
        if self._data is None or key != self._key:
            self._key, self._data = key, load_dataset(config.data, task=config.task)
        return self._data
