"""The run folder: one run's files, one process at a time, the same config from start to end."""

import contextlib
import fcntl
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from dmt.config import Config
from dmt.config_files import WITHOUT_BEARING, config_hash, dump_config, load_config
from dmt.engine import Engine
from dmt.errors import ConfigError, RunFolderError
from dmt.files import DISK_FULL, WORLD_WRITABLE, is_leftover, read_json, remove_leftovers, write_json, write_text

FORMAT = 1
"""The newest layout of run folders that this version knows."""


class RunFolder:
    """Paths and small files of a run.

    Attributes:
        path: the folder.
        config: the resolved config, precision included.
    """

    def __init__(self, path: Path, config: Config) -> None:
        self.path = path
        self.config = config

    @property
    def result(self) -> dict[str, Any] | None:
        """The result of a finished run, else None."""
        path = self.path / "result.json"
        return read_result(path) if path.is_file() else None

    @property
    def environment(self) -> dict[str, Any] | None:
        """What the run was started on, or None where it is new."""
        path = self.path / "environment.json"
        return read_json(path) if path.is_file() else None

    def write_json(self, name: str, value: Any) -> None:
        """Write one of the folder's JSON files."""
        write_json(self.path / name, value)


def read_result(path: Path) -> dict[str, Any]:
    """A finished run's result.json.

    Raises:
        CheckpointError: it is not whole.
        RunFolderError: it is of a newer version, or holds no line of `rounds`.
    """
    result = read_json(path)
    rounds = result.get("rounds") if isinstance(result, dict) else None
    if not isinstance(rounds, list) or not rounds or not all(isinstance(row, dict) for row in rounds):
        raise RunFolderError(f"{path} holds no figures of a run. Delete it and start the same run again.")
    if isinstance(found := result.get("format"), int) and found > FORMAT:
        raise RunFolderError(f"{path} has the format {found}, of a newer version; this one knows up to {FORMAT}.")
    return dict(result)


def default_run_folder(config: Config, name: str = "run") -> Path:
    """`runs/NAME/METHOD-seedN-HASH`: the same command finds its own run again, and no other."""
    return Path("runs") / name / f"{config.method}-seed{config.seed}-{config_hash(config)[:6]}"


@contextmanager
def open_run_folder(path: Path, config: Config, *, engine: Engine) -> Iterator[RunFolder]:
    """Take a folder for a run: an empty or new one, or one that holds this very run.

    A new folder whose run ends with an error before its plan is written is emptied again, so that the command with the
    mistake mended may use it.

    Args:
        path: made where it does not exist.
        config: what the run is to be.
        engine: whose precision is what `precision: auto` means here; it is stored, and kept when the run goes on
            elsewhere. Of several processes, the main one holds the folder for all.

    Raises:
        RunFolderError: when another run works in it, it holds another run or other files, or cannot be written.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(_none_world_writable())
        if engine.is_main:
            stack.enter_context(_taken(path))
        is_new = engine.is_main and not (path / "config.yaml").is_file()
        settled = engine.told_by_main(lambda: _settle_config(path, config, engine.precision))
        try:
            yield RunFolder(path, settled)
        except BaseException:
            if is_new and not (path / "plan.json").is_file():
                _empty(path)
            raise


@contextmanager
def _none_world_writable() -> Iterator[None]:
    """Also where the user's umask would have it: others must not change what a run trains on."""
    before = os.umask(0o077)
    os.umask(before | WORLD_WRITABLE)
    try:
        yield
    finally:
        os.umask(before)


@contextmanager
def _taken(path: Path) -> Iterator[None]:
    """Make and lock the folder; errors of the run inside are not errors of the folder."""
    with contextlib.ExitStack() as stack:
        try:
            path.mkdir(parents=True, exist_ok=True)
            others = [entry for entry in path.iterdir() if entry.name != "lock" and not is_leftover(entry)]
            if others and not (path / "config.yaml").exists():
                raise RunFolderError(
                    f"{path} holds files that are not a run's. Name a new or empty folder with --run-dir."
                )
            stack.enter_context(_locked(path / "lock"))
        except (NotADirectoryError, FileExistsError) as error:
            raise RunFolderError(f"{path} is not a folder. Name another one with --run-dir.") from error
        except OSError as error:
            if error.errno in DISK_FULL:
                raise
            raise RunFolderError(f"{path} cannot be used ({error}). Name another folder with --run-dir.") from error
        yield


def _empty(path: Path) -> None:
    """Take away what a run writes before its plan."""
    for name in ("config.yaml", "environment.json"):
        (path / name).unlink(missing_ok=True)
    shutil.rmtree(path / "splits", ignore_errors=True)


def _settle_config(path: Path, config: Config, precision: str) -> Config:
    """The stored config where it is this run's; else this run's is stored."""
    remove_leftovers(path)
    stored_path = path / "config.yaml"
    if not stored_path.is_file():
        config = config.model_copy(update={"precision": precision})
        write_text(stored_path, dump_config(config))
        return config
    refuse_newer(stored_path)
    try:
        stored = load_config(stored_path)
    except ConfigError as error:
        raise RunFolderError(f"{stored_path} is broken or from another version of dmt. {error}") from error
    if config.precision == "auto":
        config = config.model_copy(update={"precision": stored.precision})
    differing = list(_differences(stored.model_dump(), config.model_dump()))
    if differing:
        shown = "; ".join(f"{key} is {old!r} there and {new!r} here" for key, old, new in differing[:3])
        more = f" and {len(differing) - 3} more differ" if len(differing) > 3 else ""
        raise RunFolderError(
            f"{path} holds another run: {shown}{more}. Leave that as it is, or name another folder with --run-dir."
        )
    # What bears on no result may change from one start to the next.
    return stored.model_copy(update={key: getattr(config, key) for key in WITHOUT_BEARING})


def refuse_newer(path: Path) -> None:
    """Of a config.yaml that a later version wrote, say so and nothing else."""
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))["format"]
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError):
        return  # whatever it is, reading it as a config will tell
    if isinstance(found, int) and found > FORMAT:
        raise RunFolderError(
            f"{path.parent} was made by a newer version of dmt (format {found}; this one reads up to {FORMAT}). "
            "Update dmt, or name another folder with --run-dir."
        )


def _differences(stored: dict[str, Any], given: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Keys whose values differ; where and how often checkpoints are written, and by whom, changes no result."""
    for key, old in stored.items():
        new, dotted = given.get(key), f"{prefix}{key}"
        if dotted in WITHOUT_BEARING:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _differences(old, new, f"{dotted}.")
        elif old != new:
            yield dotted, old, new


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the folder; the system lets go of it when the process ends, however it ends."""
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            owner = file.read().strip() or "another process"
            raise RunFolderError(f"{path.parent} is in use by {owner}. Wait for it, or name another folder.") from error
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)
            with contextlib.suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_UN)
