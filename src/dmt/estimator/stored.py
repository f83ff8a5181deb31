"""A fitted estimator as a folder: weights and labels in safetensors, everything else in `estimator.json`.

Where it was fitted on levels, as files hold them, the folder is a bundle, too: `dmt.load` and `dmt predict` take it.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from dmt import __version__
from dmt.errors import CheckpointError, DMTError, first_line
from dmt.estimator.forms import Form, ImageForm, TableForm
from dmt.estimator.settings import plain
from dmt.export.card import model_card
from dmt.files import remove_leftovers, sha256, sync_folder, temporary_folder, write_json, write_text
from dmt.models.bundle import CARD, Bundle, refuse_others
from dmt.models.description import DESCRIPTION as MODEL
from dmt.models.description import Description, as_json, parse_description
from dmt.models.weights import save_weights

FORMAT = 1
"""The newest layout of the folder that this version knows."""

DESCRIPTION, WEIGHTS, LABELS = "estimator.json", "model.safetensors", "transduction.safetensors"

_FORMS: dict[str, Callable[..., Form]] = {"table": TableForm, "images": ImageForm}
_AS_THEY_ARE = ("n_iter_", "history_", "result_", "n_features_in_")

E = TypeVar("E")


def save_estimator(estimator: Any, folder: Path) -> None:
    """Write a fitted estimator into a new or empty folder, or over an earlier one.

    Everything is written beside its place and moved at the end: an earlier estimator stays whole until then.

    Raises:
        ExportError: the folder holds other files.
        ConfigError: it is a file, or nothing can be written there.
    """
    refuse_others(folder, ours=_saved(folder))
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    with temporary_folder(folder) as name_of_made:
        made = Path(name_of_made)
        _write(estimator, made)
        # Ours from the first file on; whole with the last one, since the first has its hash.
        for name in (DESCRIPTION, LABELS, MODEL, CARD, WEIGHTS):
            if (made / name).is_file():
                (made / name).replace(folder / name)
            else:
                (folder / name).unlink(missing_ok=True)
            sync_folder(folder)  # in this order on the disk, too


def _write(estimator: Any, folder: Path) -> None:
    save_weights(estimator.network_, folder / WEIGHTS)
    arrays = estimator._labels_to()
    save_weights({f"{index:09d}": torch.as_tensor(one) for index, one in enumerate(arrays)}, folder / LABELS)
    model = _with_weights(estimator.model_, folder / WEIGHTS)
    if isinstance(estimator.form_, ImageForm) and estimator.form_.value_range is None:
        write_text(folder / CARD, model_card(model))
        write_text(folder / MODEL, as_json(model))
    write_json(folder / DESCRIPTION, _described(estimator, model))


def load_estimator(kind: type[E], folder: Path) -> E:
    """Read what `save_estimator` wrote.

    Raises:
        CheckpointError: the folder holds no estimator of this kind, or broken files.
    """
    path = folder / DESCRIPTION
    if not path.is_file():
        raise CheckpointError(f"{folder} is no saved estimator: there is no {path}.")
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        _check_kind(told, kind.__name__, path)
        return _restored(kind, told, folder)
    except DMTError:
        raise
    except (OSError, ValueError, LookupError, TypeError, AttributeError, SafetensorError) as error:
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise CheckpointError(f"{folder} holds no whole estimator ({reason}). Save it again.") from error


def _saved(folder: Path) -> tuple[str, ...]:
    """The names of files in a folder that an earlier `save_estimator` has written."""
    try:
        told = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        is_ours = {"format", "written_by", "estimator", "model"} <= told.keys()
    except (OSError, ValueError, AttributeError):
        return ()
    return (DESCRIPTION, MODEL, CARD, WEIGHTS, LABELS) if is_ours else ()


def _with_weights(model: Description, weights: Path) -> Description:
    """The description of a model whose one network has its weights in this file."""
    network = model.networks[model.picked].model_copy(update={"weights": weights.name, "sha256": sha256(weights)})
    return model.model_copy(update={"networks": {model.picked: network}})


def _described(estimator: Any, model: Description) -> dict[str, Any]:
    form = estimator.form_
    return {
        "format": FORMAT,
        "written_by": f"dmt {__version__}",
        "estimator": type(estimator).__name__,
        "parameters": {name: _storable(value) for name, value in estimator.get_params(deep=False).items()},
        "classes": {"type": estimator.classes_.dtype.str, "values": estimator.classes_.tolist()},
        "form": {"kind": "table" if isinstance(form, TableForm) else "images", **asdict(form)},
        "model": model.model_dump(mode="json"),
        "feature_names_in_": plain(getattr(estimator, "feature_names_in_", None)),
        **{name: plain(getattr(estimator, name, None)) for name in _AS_THEY_ARE},
    }


def _storable(value: Any) -> Any:
    """A parameter as JSON has it; a generator of random numbers is not kept, and a path becomes text."""
    if isinstance(value, np.random.RandomState):
        return None
    return str(value) if isinstance(value, Path) else plain(value)


def _check_kind(told: Any, kind: str, path: Path) -> None:
    if not isinstance(told, dict) or not isinstance(told.get("format"), int):
        raise CheckpointError(f"{path} is no description of an estimator. Save it again.")
    if told["format"] > FORMAT:
        raise CheckpointError(
            f"{path} was written by a newer version of dmt (format {told['format']}; this one reads up to {FORMAT}). "
            "Update dmt."
        )
    if told.get("estimator") != kind:
        raise CheckpointError(f"{path} holds a {told.get('estimator')}, not a {kind}. Load it by its own class.")


def _restored(kind: type[E], told: Mapping[str, Any], folder: Path) -> E:
    estimator: Any = kind(**_with_tuples(told["parameters"]))
    form = _with_tuples(told["form"])
    estimator.form_ = _FORMS[str(form.pop("kind"))](**form)
    model = parse_description(json.dumps(told["model"]).encode(), source=folder / DESCRIPTION)
    weights = {name: folder / network.weights for name, network in model.networks.items()}
    estimator.model_ = model
    estimator.network_ = Bundle(source=folder, description=model, weights=weights).network(model.picked)
    estimator.classes_ = np.array(told["classes"]["values"], dtype=_plain_type(told["classes"]["type"]))
    estimator.run_dir_ = None
    vars(estimator).update({name: told[name] for name in _AS_THEY_ARE if told[name] is not None})
    if told["feature_names_in_"] is not None:
        estimator.feature_names_in_ = np.array(told["feature_names_in_"], dtype=object)
    stored = sorted(load_file(folder / LABELS).items())
    estimator.transduction_ = estimator._labels_from([tensor.numpy() for _, tensor in stored])
    return estimator  # type: ignore[no-any-return]


def _with_tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    """Lists as the tuples that they were."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def _plain_type(name: str) -> np.dtype[Any]:
    """A type of numbers, text or objects, which JSON's own values become; nothing that holds structure."""
    dtype: np.dtype[Any] = np.dtype(name)
    if dtype.kind not in "biufUO":
        raise ValueError(f"classes of type {name}")
    return dtype
