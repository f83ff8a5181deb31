"""Weight files: safetensors only, strict unless told otherwise, readable by the backbone's own library."""

import json
import os
import warnings
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from dmt.errors import CheckpointError, ConfigError, first_line
from dmt.files import write_atomic
from dmt.models.network import Network, Preprocessing

SUFFIX = ".safetensors"
FORMAT = 1
"""The newest layout that this version knows of what our files tell of their weights."""
METADATA_KEY = "dmt"
"""Of that text in a file's metadata: one key, since safetensors writes several in a random order."""
LEVELS, REAL = "levels", "real"
"""Of what images held in training: 0 to 255, as files do, or real numbers as they were given."""
_KEYS_SHOWN = 3
# Not in files of old, such as the paper's COCO weights; no network here uses it (PyTorch does without it, too).
_STEP_COUNT = "num_batches_tracked"


@dataclass(frozen=True, kw_only=True)
class LoadReport:
    """What became of each weight: names in the network's order, `skipped` in the file's.

    Attributes:
        loaded: taken from the file.
        missing: not in the file, or there for another number of classes: kept as they were.
        skipped: in the file, but of no use here.
    """

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    skipped: tuple[str, ...]


def state_of(network: Network) -> dict[str, Tensor]:
    """The weights and buffers of a network under the backbone library's own names (no copy).

    A backbone that holds a library's model inside says in `library_prefix` what comes before that model's names; it is
    left out here, for every way in and out, so that the library's files fit by name, and ours fit the library.
    """
    prefix = getattr(network.backbone, "library_prefix", "")
    inner = network.backbone.state_dict()
    state = {name.removeprefix(prefix): tensor for name, tensor in inner.items()}
    assert len(state) == len(inner), "two tensors of one name"
    return state


def load_weights(
    network: Network, source: str | os.PathLike[str], *, allow_missing: bool, key: str = "networks.a"
) -> LoadReport:
    """Fill a network from a `.safetensors` file.

    With `allow_missing`, weights that the file lacks, or has for another number of classes, keep their values.

    Args:
        network: changed in place; unchanged after an error.
        source: the file.
        allow_missing: accept a file that fits in part.
        key: the config key of this network, to name in an error.

    Raises:
        CheckpointError: the file is missing, broken or of another kind, or does not fit the network.
    """
    path = Path(source)
    return set_state(network, _read(path, key), origin=str(path), allow_missing=allow_missing, key=key)


def set_state(
    network: Network,
    state: Mapping[str, Tensor],
    *,
    origin: str,
    allow_missing: bool = False,
    key: str = "networks.a",
) -> LoadReport:
    """Fill a network from tensors in memory; see `load_weights`. `origin` says in an error where they come from.

    Raises:
        CheckpointError: the tensors do not fit the network.
    """
    own = state_of(network)
    fits = [name for name, tensor in own.items() if name in state and state[name].shape == tensor.shape]
    misfits = [name for name in own if name in state and name not in fits]
    other_classes = [n for n in misfits if _differs_in_classes_only(state[n], own[n], network.num_classes)]
    absent = [name for name in own if name not in state and not name.endswith(_STEP_COUNT)]
    surplus = [name for name in state if name not in own]
    problems = _shape_problems([n for n in misfits if n not in other_classes], state, own)
    if not allow_missing:
        problems += _partial_fit_problems(_shape_problems(other_classes, state, own), absent, surplus, key)
    elif not fits:
        problems.append(f"nothing in it fits: its keys are {_shorten(list(state))}; the network's are {_shorten(own)}")
    if problems:
        raise CheckpointError(f"{origin} does not fit network {network.name!r}: {'; '.join(problems)}.")
    _copy(state, own, fits)
    return LoadReport(
        loaded=tuple(fits),
        missing=tuple(name for name in own if name not in fits),
        skipped=tuple(name for name in state if name not in fits),
    )


def warn_of_random(report: LoadReport, source: str | os.PathLike[str], *, key: str = "networks.a") -> None:
    """Warn, once in a process, of the weights of a new network that a file has not filled.

    Args:
        report: of loading them.
        source: the file.
        key: the config key of this network.
    """
    missing, loaded = (
        [name for name in names if not name.endswith(_STEP_COUNT)] for names in (report.missing, report.loaded)
    )
    if missing:
        _warn_once(
            f"{key}.weights: {len(loaded)} of {len(loaded) + len(missing)} tensors were taken from {source}; random "
            f"stay: {', '.join(_grouped(missing, loaded))}."
        )


def warn_of_preprocessing(preprocessing: Preprocessing, source: str | os.PathLike[str], *, key: str) -> None:
    """Warn, once in a process, where a file of ours says that its weights learned from images prepared otherwise.

    Args:
        preprocessing: that the network has.
        source: the file.
        key: the config key of this network.
    """
    told = told_of(Path(source)).get("preprocessing")
    try:
        learned = Preprocessing(**told) if isinstance(told, dict) else preprocessing
    except (TypeError, ValueError, ConfigError):
        return
    if learned != preprocessing:
        _warn_once(
            f"{key}.weights: {source} learned from images that were prepared otherwise than this network's: "
            f"{_differences(learned, preprocessing)}. Give it the name and options of the run that wrote the file."
        )


def _differences(one: Preprocessing, other: Preprocessing) -> str:
    theirs = asdict(other)
    return ", ".join(
        f"{name} {value} and {theirs[name]}" for name, value in asdict(one).items() if value != theirs[name]
    )


def save_weights(
    weights: Network | Mapping[str, Tensor], path: str | os.PathLike[str], metadata: Mapping[str, str] | None = None
) -> None:
    """Write a network's weights, or tensors by name, with text metadata, atomically."""
    state = state_of(weights) if isinstance(weights, Network) else weights
    # Bytes first: a full disk is then an OSError, which the command line knows, and not the library's own error.
    content = save(independent(state), metadata=dict(metadata or {}))
    write_atomic(Path(path), lambda temporary: temporary.write_bytes(content))


def read_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """The text metadata of a `.safetensors` file.

    Raises:
        CheckpointError: the file is missing or broken.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise _unreadable(Path(path), error) from error


def independent(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same values on the CPU, contiguous, no two sharing memory, as safetensors wants them."""
    result: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in state.items():
        value = tensor.detach().cpu().contiguous()
        if value.untyped_storage().data_ptr() in seen:
            value = value.clone()
        seen.add(value.untyped_storage().data_ptr())
        result[name] = value
    return result


def _read(path: Path, key: str) -> dict[str, Tensor]:
    if path.suffix != SUFFIX:
        raise CheckpointError(
            f"{key}.weights is {str(path)!r}; it may be null, 'pretrained' or a {SUFFIX} file. "
            "Other formats can run code when opened: convert the file with safetensors.torch.save_file first."
        )
    if not path.is_file():
        raise CheckpointError(f"{key}.weights: there is no file {path}.")
    _refuse_newer(path)
    try:
        return dict(load_file(path))
    except (SafetensorError, OSError) as error:
        raise _unreadable(path, error) from error


def _refuse_newer(path: Path) -> None:
    """Of weights that a later version of `dmt` wrote, say so; other programs' files have no format of ours."""
    found = told_of(path).get("format")
    if isinstance(found, int) and found > FORMAT:
        raise CheckpointError(
            f"{path} was written by a newer version of dmt (format {found}; this one reads up to {FORMAT}). Update dmt."
        )


def told_of(path: Path) -> dict[str, Any]:
    """What a file of ours says of its weights; nothing of other programs'."""
    try:
        described = json.loads(read_metadata(path).get(METADATA_KEY, "{}"))
    except ValueError:
        return {}
    return described if isinstance(described, dict) else {}


def _unreadable(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"{path} cannot be read as {SUFFIX} ({first_line(error)}); it may be cut short: make or fetch it again."
    )


def _differs_in_classes_only(stored: Tensor, own: Tensor, num_classes: int) -> bool:
    """Whether two shapes agree but for the first dimension, which counts the classes in every classifier."""
    return stored.dim() == own.dim() > 0 and stored.shape[1:] == own.shape[1:] and len(own) == num_classes


def _shape_problems(misfits: list[str], state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> list[str]:
    if not misfits:
        return []
    shapes = [f"{name} {tuple(state[name].shape)} instead of {tuple(own[name].shape)}" for name in misfits]
    return [f"wrong shapes ({_shorten(shapes)})"]


@cache
def _warn_once(text: str) -> None:
    """A network is built anew for every stage, and Python's own memory of warnings is cleared by many a library."""
    warnings.warn(text, UserWarning, stacklevel=2)


def _grouped(missing: Iterable[str], loaded: Iterable[str]) -> list[str]:
    """Missing names, those of one part of the network as one entry."""
    parts: dict[str, list[str]] = {}
    for name in missing:
        parts.setdefault(name.partition(".")[0], []).append(name)
    filled = Counter(name.partition(".")[0] for name in loaded)
    entries = []
    for part, names in parts.items():
        count = f"{len(names)} of {len(names) + filled[part]}" if filled[part] else f"{len(names)}"
        entries.append(names[0] if len(names) == 1 else f"{part}.* ({count} tensors)")
    return entries


def _partial_fit_problems(problems: list[str], absent: list[str], surplus: list[str], key: str) -> list[str]:
    if absent:
        problems.append(f"it lacks {_shorten(absent)}")
    if surplus:
        problems.append(f"it holds {_shorten(surplus)}, unknown to the network")
    if problems:
        problems[-1] += f". If a partial fit is meant, set {key}.allow_missing=true"
    return problems


def _shorten(names: Collection[str]) -> str:
    shown = ", ".join(list(names)[:_KEYS_SHOWN])
    return f"{shown}, ... ({len(names)} in all)" if len(names) > _KEYS_SHOWN else shown


@torch.no_grad()
def _copy(state: Mapping[str, Tensor], own: Mapping[str, Tensor], names: Collection[str]) -> None:
    for name in names:
        own[name].copy_(state[name])
