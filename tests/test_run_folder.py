"""Who may use a run folder, what an attempt with a mistake leaves behind, and what a resume may change."""

import os
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dmt.config import Config
from dmt.config_files import load_config
from dmt.errors import ConfigError, DataError, DMTError, RunFolderError
from dmt.run import run
from dmt.run_folder import open_run_folder
from tiny_runs import TINY_NETWORKS, striped_set, tiny_config, tiny_parts


def process(*, is_main: bool = True) -> Any:
    """As much of an engine as a run folder asks of it."""
    return SimpleNamespace(is_main=is_main, precision="fp32", told_by_main=lambda look: look())


def config(**changes: Any) -> Config:
    return load_config(tiny_config(**changes))


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    with open_run_folder(tmp_path / "run", config(), engine=process()):
        with (
            pytest.raises(RunFolderError, match="in use by process"),
            open_run_folder(tmp_path / "run", config(), engine=process()),
        ):
            pass
        with open_run_folder(tmp_path / "run", config(), engine=process(is_main=False)) as folder:
            assert folder.config.precision == "fp32"  # another process of the same run takes no lock


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(RunFolderError, match="is not a folder"),
        open_run_folder(tmp_path / "file", config(), engine=process()),
    ):
        pass


@pytest.mark.parametrize("error", [PermissionError, FileExistsError, NotADirectoryError, OSError])
def test_errors_of_the_run_are_not_taken_for_errors_of_the_folder(tmp_path: Path, error: type[OSError]) -> None:
    with pytest.raises(error, match="elsewhere"), open_run_folder(tmp_path / "run", config(), engine=process()):
        raise error("elsewhere")


@pytest.mark.parametrize(
    "mistake",
    [
        {"augment": "strong"},
        {"data": {"name": "stripes", "num_labeled": 61}},
        {"validation": {"source": "extra", "size": 99}},
    ],
)
def test_after_a_mistake_the_same_folder_takes_the_mended_command(tmp_path: Path, mistake: dict[str, Any]) -> None:
    tiny = {"duration": {"steps": 2}, "supervised": {"steps": 2}}
    with pytest.raises(DMTError):
        run(tiny_config(**tiny) | mistake, tiny_parts(), TINY_NETWORKS, run_dir=tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").glob("*")] in ([], ["lock"])
    assert run(tiny_config(**tiny), tiny_parts(), TINY_NETWORKS, run_dir=tmp_path / "run")["final"]


def test_without_unlabeled_images_it_is_supervised_training(tmp_path: Path) -> None:
    parts = {"labeled": striped_set(9, seed=1), "test": striped_set(6, seed=2)}
    data = {"data": {"name": "stripes"}}
    with pytest.warns(UserWarning, match="no unlabeled image, and method=dmt learns from them"):
        result = run(tiny_config(**data), parts, TINY_NETWORKS, run_dir=tmp_path / "run")
    assert (result["method"], result["num_unlabeled"], len(result["rounds"])) == ("supervised", 0, 1)
    with pytest.warns(UserWarning, match="no unlabeled image"):  # the same command finds the same run
        assert run(tiny_config(**data), parts, TINY_NETWORKS, run_dir=tmp_path / "run") == result


def test_a_run_that_has_begun_is_never_emptied(tmp_path: Path) -> None:
    with open_run_folder(tmp_path / "run", config(), engine=process()) as folder:
        folder.write_json("plan.json", [])
    with pytest.raises(DataError), open_run_folder(tmp_path / "run", config(), engine=process()):
        raise DataError("later")
    assert (tmp_path / "run/config.yaml").is_file()


def test_a_resume_may_change_workers_and_checkpoints_and_uses_the_new_ones(tmp_path: Path) -> None:
    with open_run_folder(tmp_path / "run", config(), engine=process()) as folder:
        folder.write_json("plan.json", [])
    changed = config(workers=3, checkpoint={"every_steps": 7})
    with open_run_folder(tmp_path / "run", changed, engine=process()) as folder:
        assert (folder.config.workers, folder.config.checkpoint.every_steps) == (3, 7)
    with (
        pytest.raises(RunFolderError, match="seed is 0 there and 1 here"),
        open_run_folder(tmp_path / "run", config(seed=1), engine=process()),
    ):
        pass


def test_a_class_cannot_be_ignored_by_its_number(tmp_path: Path) -> None:
    data = {"data": {"name": "stripes", "num_labeled": 9, "ignore_index": 2}}
    with pytest.raises(ConfigError, match=r"data\.ignore_index is 2, which is class '2'"):
        run(tiny_config(**data), tiny_parts(), TINY_NETWORKS, run_dir=tmp_path / "run")


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_permissions_are_the_users_but_nothing_is_world_writable(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        run(
            tiny_config(duration={"steps": 3}, supervised={"steps": 3}),
            tiny_parts(),
            TINY_NETWORKS,
            run_dir=tmp_path / "run",
        )
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
    for path in (tmp_path / "run").rglob("*"):
        full = 0o777 if path.is_dir() else 0o666
        assert stat.S_IMODE(path.stat().st_mode) == full & ~umask & ~0o002, path


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="needs a folder where not even the superuser may write")
def test_a_folder_that_may_not_be_written_is_one_sentence() -> None:
    with pytest.raises(
        RunFolderError, match=r"/sys/kernel/run cannot be used \(.*\)\. Name another folder with --run-dir"
    ):
        run(tiny_config(), tiny_parts(), TINY_NETWORKS, run_dir="/sys/kernel/run")


def test_classes_in_another_order_are_another_run(tmp_path: Path) -> None:
    """Weights and stored labels know classes by number alone."""
    for number, place in enumerate(["labeled/cat", "labeled/dog", "labeled/cat", "labeled/dog", "unlabeled"]):
        path = tmp_path / "data" / place / f"{number}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8))
    names = tmp_path / "names.txt"
    settings: dict[str, Any] = {
        "task": "classification",
        "data": {"name": "folder", "root": str(tmp_path / "data"), "class_names": str(names)},
        "validation": {"source": "none"},
        "rounds": {"top_fractions": [1.0]},
        "supervised": {"steps": 2},
        "duration": {"steps": 2},
        "batch": {"size": 4, "labeled": 2},
    }
    names.write_text("cat\ndog\n")
    run(settings, run_dir=tmp_path / "run")
    (tmp_path / "run/result.json").unlink()
    (tmp_path / "run/rounds/1/a/DONE").unlink()
    names.write_text("dog\ncat\n")
    with pytest.raises(DataError, match="class 0 is 'cat' there and 'dog' here"):
        run(settings, run_dir=tmp_path / "run")
    names.write_text("cat\ndog\n")
    assert run(settings, run_dir=tmp_path / "run")["rounds"]


def arrays(*, level: int = 0, first_label: int = 0) -> dict[str, Any]:
    """Own data in memory, whose images have no names."""
    images = np.random.default_rng(0).integers(level, 200 + level, (30, 8, 8), dtype=np.uint8)
    labels = np.arange(30) % 3
    labels[0] = first_label
    return {"train": (images, labels)}


@pytest.mark.parametrize("other", [{"level": 50}, {"first_label": 1}])
@pytest.mark.parametrize("is_finished", [True, False])
def test_other_data_of_ones_own_are_another_run(tmp_path: Path, other: dict[str, int], is_finished: bool) -> None:
    given = tiny_config(method="supervised", data={"name": "arrays", "num_labeled": None}, supervised={"steps": 2})
    first = run(given, arrays(), TINY_NETWORKS, run_dir=tmp_path / "run")
    if not is_finished:
        (tmp_path / "run" / "result.json").unlink()
    with pytest.raises(
        DataError, match=r"run on other data: the (train image|label of train image) train/0000\d differs"
    ):
        run(given, arrays(**other), TINY_NETWORKS, run_dir=tmp_path / "run")
    again = run(given, arrays(), TINY_NETWORKS, run_dir=tmp_path / "run")
    assert again["last_round"] == first["last_round"]


def test_data_that_augment_themselves_are_told_by_their_labels(tmp_path: Path) -> None:
    class Noisy:
        def __init__(self) -> None:
            self.noise = np.random.default_rng()

        def __len__(self) -> int:
            return 30

        def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
            return self.noise.integers(0, 256, (8, 8), dtype=np.uint8), index % 3

    given = tiny_config(method="supervised", data={"name": "arrays", "num_labeled": None}, supervised={"steps": 2})
    first = run(given, {"train": Noisy()}, TINY_NETWORKS, run_dir=tmp_path / "run")
    assert run(given, {"train": Noisy()}, TINY_NETWORKS, run_dir=tmp_path / "run") == first
