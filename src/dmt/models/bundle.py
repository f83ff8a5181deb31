"""A bundle: a folder with trained networks and all that they must not travel without, in `model.json`.

Weights are safetensors, everything else is JSON, and nothing is unpickled. Each weights file is held to the hash that
`model.json` has of it, so that a file of another model, or one cut short, is never taken for the right one.
"""

import contextlib
import hashlib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import nn

from dmt.errors import CheckpointError, ConfigError, ExportError, first_line
from dmt.files import check_output, is_leftover, write_atomic, write_text
from dmt.models.description import DESCRIPTION, Description, as_json, parse_description
from dmt.models.network import Network
from dmt.models.own import OWN_NETWORK, ModelFactory, own_module
from dmt.models.registry import build_network
from dmt.models.weights import SUFFIX, set_state
from dmt.randomness import generator, seeded_torch

CARD = "README.md"
ONNX_FILE = "model.onnx"

_ONNX_OF_OURS = re.compile(rb"\x0a\x0awritten_by\x12.dmt", re.DOTALL)
"""The entry `written_by` of an ONNX file's metadata, as it lies in the file: that needs no package to be read."""
_ONNX_MODEL = re.compile(rb"\x0a\x05model\x12\x10([0-9a-f]{16})")
"""The entry `model`, likewise: `model_id` of what was exported."""


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A description, and where its weights are: in its own folder, or still in a run's.

    Attributes:
        source: the folder, for messages.
        description: what `model.json` holds, or would hold.
        weights: the file of each network, by its short name.
    """

    source: Path
    description: Description
    weights: Mapping[str, Path]

    def network(self, name: str, models: Mapping[str, nn.Module | ModelFactory] | None = None) -> Network:
        """A trained network, on the CPU, in eval mode.

        Args:
            name: its short name.
            models: own networks by label, where the run had such.

        Raises:
            CheckpointError: the weights are missing, changed, or do not fit.
            ConfigError: no such network can be built here.
        """
        described, path = self.description.networks[name], self.weights[name]
        # Read once: what is hashed is what is used.
        content = _content(path)
        if hashlib.sha256(content).hexdigest() != described.sha256:
            raise CheckpointError(
                f"{path} is not the file that {self.source} was made with: its SHA-256 differs. Get the file again."
            )
        try:
            state = load_tensors(content)
        except (SafetensorError, ValueError, KeyError) as error:
            raise CheckpointError(f"{path} cannot be read as {SUFFIX} ({first_line(error)}). Get it again.") from error
        network = self._build(name, models or {})
        set_state(network, state, origin=str(path), key=f"{DESCRIPTION}: networks.{name}")
        return network.eval()

    def _build(self, name: str, models: Mapping[str, nn.Module | ModelFactory]) -> Network:
        described, num_classes = self.description.networks[name], len(self.description.class_names)
        preprocessing = described.preprocessing.as_preprocessing()
        if described.label in models:
            backbone = own_module(models[described.label], described.label)
            return Network(backbone, preprocessing, num_classes=num_classes, name=described.name)
        if described.name.startswith(OWN_NETWORK):
            raise ConfigError(
                f"{self.source} has an own network, which no name can build anew. Load it from Python: "
                f"dmt.load({str(self.source)!r}, models={{{described.label!r}: ...}}), with the module that it was "
                "trained with."
            )
        # Its random initial weights are all replaced; no stream of the caller's may move on for them.
        with seeded_torch(generator(0, "unused")):
            built = build_network(
                described.name,
                num_classes=num_classes,
                channels=preprocessing.channels,
                mean=preprocessing.mean,
                std=preprocessing.std,
                task=self.description.task,
                options=described.options,
                head_branches=described.head_branches,
                key=f"{DESCRIPTION}: networks.{name}",
            )
        # As stored, whatever the library says by now of what this network expects.
        return Network(
            built.backbone,
            preprocessing,
            num_classes=num_classes,
            name=built.name,
            size_multiple=built.size_multiple,
        )


def model_id(description: Description) -> str:
    """The same for all exports of the same trained weights, and for no others: 16 hexadecimal digits."""
    hashes = sorted(network.sha256 for network in description.networks.values())
    return hashlib.sha256(" ".join(hashes).encode()).hexdigest()[:16]


def is_bundle(folder: Path) -> bool:
    """Whether a folder says that it is one."""
    return (folder / DESCRIPTION).is_file()


def read_bundle(folder: Path) -> Bundle:
    """Read a bundle's description; weights are read when a network is asked for.

    Raises:
        CheckpointError: there is none, or it is broken or from a newer version.
    """
    path = folder / DESCRIPTION
    if not path.is_file():
        raise CheckpointError(f"{folder} is no bundle: there is no {path}. Make one with `dmt export RUN`.")
    description = parse_description(_content(path), source=path)
    weights = {name: folder / network.weights for name, network in description.networks.items()}
    return Bundle(source=folder, description=description, weights=weights)


def write_bundle(folder: Path, bundle: Bundle, *, card: str) -> None:
    """Write a bundle into a new or empty folder, or over one of the same weights.

    The description follows the weights and makes the folder a bundle; an earlier one is whole until then, and goes on
    being one, since its weights are the same. A stopped export leaves files that the next one knows as its own.

    Args:
        folder: made where it does not exist.
        bundle: whose weights are copied, to the bit.
        card: the text of its README.md.

    Raises:
        ExportError: the folder holds other files, or another model.
        ConfigError: nothing can be written there.
        CheckpointError: a file of weights is missing, or changed since the bundle was described.
    """
    claim_folder(folder, bundle.description)
    earlier = _weights_of_earlier(folder)
    for name, described in bundle.description.networks.items():
        content = _content(bundle.weights[name])
        if hashlib.sha256(content).hexdigest() != described.sha256:
            raise CheckpointError(f"{bundle.weights[name]} was changed while it was exported. Start again.")
        write_atomic(folder / described.weights, partial(_write_bytes, content=content))
    write_text(folder / DESCRIPTION, as_json(bundle.description))
    write_text(folder / CARD, card)
    named = {network.weights for network in bundle.description.networks.values()}
    for path in earlier:
        if path.name not in named:
            path.unlink(missing_ok=True)


def claim_folder(folder: Path, description: Description) -> None:
    """Refuse a folder that holds something else than earlier exports of this model, or what a stopped one left.

    Args:
        folder: to write to.
        description: of the model.

    Raises:
        ExportError: it holds other files, or another model.
        ConfigError: it is a file, or nothing can be written there.
    """
    exported = _exported(folder)
    refuse_others(folder, ours=[*_copies(folder, description), *exported, *([CARD] if exported else [])])
    if set(exported.values()) - {"", model_id(description)}:
        raise ExportError(
            f"{folder} holds an export of another model. Name a new or empty folder to export to, or delete that one."
        )


def refuse_others(folder: Path, *, ours: Collection[str]) -> None:
    """Refuse a folder that holds other files than those named, or that cannot be written to.

    Raises:
        ExportError: it does.
        ConfigError: it is a file, or nothing can be written there.
    """
    check_output(folder, is_folder=True)
    there = [path for path in folder.iterdir() if not is_leftover(path)] if folder.is_dir() else []
    # Folders in it are nothing that is written over; one with nothing else is no export's all the same.
    if there and (not ours or any(path.name not in ours for path in there if not path.is_dir())):
        raise ExportError(f"{folder} holds files that are no export's. Name a new or empty folder to export to.")


def _exported(folder: Path) -> dict[str, str]:
    """Files in a folder that earlier exports have written, and of which model; a name alone makes no file ours."""
    found: dict[str, str] = {}
    with contextlib.suppress(CheckpointError):
        earlier = read_bundle(folder)
        found |= dict.fromkeys((path.name for path in earlier.weights.values()), "")
        found[DESCRIPTION] = model_id(earlier.description)
    if (folder / ONNX_FILE).is_file() and _ONNX_OF_OURS.search(content := (folder / ONNX_FILE).read_bytes()):
        told = _ONNX_MODEL.search(content)
        found[ONNX_FILE] = told[1].decode() if told else ""  # files of earlier versions do not say
    return found


def _weights_of_earlier(folder: Path) -> list[Path]:
    with contextlib.suppress(CheckpointError):
        return list(read_bundle(folder).weights.values())
    return []


def _copies(folder: Path, description: Description) -> list[str]:
    """Files of a folder that are what an export of this model would write, weights to the bit."""
    written = ((folder / network.weights, network.sha256) for network in description.networks.values())
    return [path.name for path, expected in written if path.is_file() and _content_hash(path) == expected]


def _content_hash(path: Path) -> str:
    return hashlib.sha256(_content(path)).hexdigest()


def _write_bytes(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _content(path: Path) -> bytes:
    if not path.is_file():
        raise CheckpointError(f"There is no file {path}. Get the bundle again.")
    try:
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror}). Get the bundle again.") from error
