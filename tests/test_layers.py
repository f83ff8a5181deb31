"""Imports go only downward in the list of layers; whoever adds a module gives it a layer here."""

import ast
from functools import cache
from pathlib import Path

import pytest

import dmt

ROOT = Path(dmt.__file__).parent

LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors", "types"),
    (
        "signals",
        "files",
        "config",
        "config_sections",
        "config_files",
        "losses",
        "selection",
        "histograms",
        "metrics",
        "schedules",
    ),
    ("engine", "randomness", "scores", "data", "models", "tasks"),
    ("methods",),
    (
        "inference",
        "checkpoint",
        "finite",
        "resources",
        "metrics_log",
        "train",
        "label",
        "alignment",
        "evaluate",
        "choose",
        "run_folder",
        "stage_files",
        "setting",
        "strangers",
        "teaching",
        "stages",
        "self_supervised",
        "round_0",
        "result",
        "networks",
        "own_networks",
        "loading",
        "assemble",
    ),
    # progress has an observer that keeps quiet, which run falls back on.
    ("progress", "run"),
    (
        "report",
        "predict",
        "evaluation",
        "export",
        "compare",
        "estimator",
        "init",
        "check",
    ),
    ("cli",),
)
LAYER_OF = {name: number for number, names in enumerate(LAYERS) for name in names}


def name_of(path: Path) -> str:
    """`src/dmt/data/own.py` -> `data.own`; a package stands for its `__init__`."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name: path for path in sorted(ROOT.rglob("*.py")) if (name := name_of(path))}


@cache
def imports(path: Path) -> tuple[str, ...]:
    """Absolute names of all modules that a file imports anywhere in it, functions included."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the layer"
            # `from package import module` takes the module, not what the package itself defines.
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [name if name.removeprefix("dmt.") in MODULES else node.module or "" for name in names]
    return tuple(found)


def own_imports(name: str) -> set[str]:
    """The modules of dmt that a module of dmt imports."""
    targets = {one.removeprefix("dmt.") for one in imports(MODULES[name]) if one.startswith("dmt.")}
    return (targets & MODULES.keys()) - {name}


def top(name: str) -> str:
    return name.partition(".")[0]


def test_the_walk_sees_the_package() -> None:
    assert {"losses", "methods.base", "data.own", "run"} <= MODULES.keys()
    assert {"config", "losses", "selection", "types"} <= own_imports("methods.base")


@pytest.mark.parametrize("name", MODULES)
def test_imports_go_downward(name: str) -> None:
    assert top(name) in LAYER_OF, f"{name} has no layer; add it to LAYERS"
    upward = {one for one in own_imports(name) if LAYER_OF.get(top(one), 99) > LAYER_OF[top(name)]}
    assert not upward, f"{name} (layer {LAYER_OF[top(name)]}) imports {sorted(upward)} from above"


def test_there_are_no_cycles() -> None:
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, f"imports go round: {' -> '.join((*path, name))}"
        if name not in done:
            for below in sorted(own_imports(name)):
                visit(below, (*path, name))
            done.add(name)

    for name in MODULES:
        visit(name, ())


def test_packages_of_one_layer_do_not_import_each_other() -> None:
    between = {(top(name), top(one)) for name in MODULES for one in own_imports(name) if top(name) != top(one)}
    assert not {pair for pair in between if pair[::-1] in between}


def test_config_and_losses_know_nothing_of_training() -> None:
    for name in LAYERS[0] + LAYERS[1]:
        for path in [MODULES[name]]:
            heavy = {one for one in imports(path) if one.partition(".")[0] in {"accelerate", "torchvision", "timm"}}
            assert not heavy


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("methods.")])
def test_methods_import_the_base_and_no_other_method(name: str) -> None:
    others = {one for one in own_imports(name) if top(one) == "methods"}
    assert others <= ({"methods.base"} if name != "methods.base" else set())


@pytest.mark.parametrize(("library", "owners"), [("accelerate", {"engine"}), ("torch.distributed", {"engine"})])
def test_only_the_engine_distributes(library: str, owners: set[str]) -> None:
    users = {
        name
        for name, path in MODULES.items()
        if any(one == library or one.startswith(f"{library}.") for one in imports(path))
    }
    assert users <= owners


def test_no_pickle_and_no_global_generators() -> None:
    """What is never imported cannot be used by mistake; the reader of CIFAR's files has a restricted unpickler."""
    users = {name for name, path in MODULES.items() if {"random", "cPickle", "dill", "joblib"} & set(imports(path))}
    # A private random.Random: the authors' splits were shuffled by it, and numpy cannot repeat that.
    assert users == {"data.reference_splits"}
    assert {name for name, path in MODULES.items() if "pickle" in imports(path)} == {"data.readers"}


def test_nothing_prints_in_the_library() -> None:
    printing = [
        name
        for name, path in MODULES.items()
        if top(name) != "cli"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert printing == []
