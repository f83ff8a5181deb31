"""Which network to begin with: one that this machine holds weights for. Nothing is downloaded, nothing asked online."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from dmt.errors import CheckpointError, ConfigError
from dmt.models.adapters import timm_names, torchvision_names, torchvision_weights
from dmt.models.registry import PRETRAINED, build_network, family_of
from dmt.models.request import TaskName
from dmt.models.weights import told_of

PREFERRED = (
    "resnet18", "mobilenetv1_100", "mobilenetv2_100", "resnet34", "efficientnet_b0", "mobilenetv3_large_100",
    "convnext_tiny", "resnet50", "mobilenet_v2", "mobilenet_v3_large", "regnety_008", "densenet121", "squeezenet1_0",
    "squeezenet1_1", "resnet101",
)  # fmt: skip
"""Names in timm and torchvision, those first that learn much in little time."""

_ENOUGH = 0.8
"""The share of a classifier's tensors that a file must hold to be its weights."""
_STEP_COUNT = "num_batches_tracked"
_FROM_TENSORFLOW: dict[str, dict[str, Any]] = {
    "mobilenetv1": {"pad_type": "same", "bn_eps": 1.0e-3},
    "mobilenetv2": {"pad_type": "same", "bn_eps": 1.0e-3},
    "efficientnet": {"pad_type": "same", "bn_eps": 1.0e-3},
}
"""How networks pad and normalize whose weights come from TensorFlow, by how their names begin."""


_SMALL = re.compile(r"small_\w+|wrn_\w+")
"""Our own networks, for small images."""


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A network and its weights.

    Attributes:
        name: as in `networks.a.name`.
        weights: as in `networks.a.weights`.
        options: as in `networks.a.options`.
        why: a sentence.
    """

    name: str
    weights: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    why: str = ""

    @property
    def knows_photos(self) -> bool:
        """Whether it begins with the weights of a large network, which have seen photos, and not of a small one."""
        return self.weights is not None and _SMALL.fullmatch(self.name) is None


def from_file(path: Path, *, task: TaskName, network: str | None) -> Backbone:
    """The network whose weights a file holds.

    Args:
        path: a `.safetensors` file.
        task: what the network is for.
        network: its name where the user gives it.

    Raises:
        CheckpointError: the file cannot be read, or fits no network that is tried.
    """
    shapes = _shapes(path)
    if network is not None:
        return Backbone(name=network, weights=str(path), options=_options(network, path), why="as you name it")
    own = _own_network(path)
    if own is not None:
        full = _for_task(own, task) if own.startswith(("timm:", "torchvision:")) else own
        return Backbone(name=full, weights=str(path), why=f"{path.name} says that it holds weights of {own}")
    for library, name in _candidates(path):
        share = _share(library, name, shapes)
        if share >= _ENOUGH:
            full = _for_task(f"{library}:{name}", task)
            why = f"{path.name} holds {share:.0%} of its tensors"
            return Backbone(name=full, weights=str(path), options=_options(name, path), why=why)
    raise CheckpointError(
        f"{path} fits none of the networks that were tried ({', '.join(PREFERRED)}, and what its name says). Name the "
        "network as well: --network timm:NAME."
    )


def cached(task: TaskName) -> Backbone | None:
    """The best network whose weights a library has once downloaded to this machine; None where there is none."""
    found = {**_torchvision_cache(), **_timm_cache()}
    for name in sorted(found, key=lambda one: _rank(found[one])):
        full = _for_task(name, task)
        if _fits(full, task):
            return Backbone(name=full, weights=PRETRAINED, why="its weights are in this machine's cache")
    return None


def named(network: str, *, task: TaskName) -> Backbone:
    """The network that the user names, without weights unless the cache has them.

    Raises:
        ConfigError: there is none of this name, or it is for the other task.
    """
    family_of(network, task=task, key="--network")
    names = {**_torchvision_cache(), **_timm_cache()}
    known = {_for_task(one, task) for one in names} | {_for_task(one.partition(".")[0], task) for one in names}
    if network in known:
        return Backbone(name=network, weights=PRETRAINED, why="as you name it; its weights are in this machine's cache")
    return Backbone(name=network, why="as you name it; it begins with random weights")


def takes_stride(backbone: Backbone, stride: int) -> bool:
    """Whether a network for masks can be built at an output stride."""
    return _fits(backbone.name, "segmentation", {**backbone.options, "output_stride": stride})


def is_depthwise(backbone: Backbone, task: TaskName) -> bool:
    """Whether most of a network's filters see one channel each, as MobileNets' do, and outnumber its linear layers.

    Linear layers, where they are many, are what takes the time (ConvNeXt).
    """
    layers = list(_built(backbone.name, task, backbone.options).modules())
    spatial = [layer for layer in layers if isinstance(layer, nn.Conv2d) and max(layer.kernel_size) > 1]
    linear = sum(isinstance(layer, nn.Linear) for layer in layers)
    depthwise = sum(layer.groups == layer.in_channels > 1 for layer in spatial)
    return depthwise > len(spatial) / 2 and linear < depthwise


def _for_task(name: str, task: TaskName) -> str:
    return f"deeplab:{name}" if task == "segmentation" else name


def _fits(name: str, task: TaskName, options: Mapping[str, Any] | None = None) -> bool:
    try:
        _built(name, task, options)
    except (ConfigError, CheckpointError, RuntimeError, NotImplementedError):
        return False
    return True


def _built(name: str, task: TaskName, options: Mapping[str, Any] | None = None) -> nn.Module:
    """A network without numbers, to look at its layers."""
    with torch.device("meta"):
        return build_network(
            name, num_classes=2, channels=3, mean=(0.5,) * 3, std=(0.5,) * 3, task=task, options=options or {}
        )


def _rank(name: str) -> tuple[int, str]:
    return (PREFERRED.index(name) if name in PREFERRED else len(PREFERRED), name)


def _timm_cache() -> dict[str, str]:
    """Full names with their tags, as `timm:resnet18.a1_in1k`, and the architecture of each."""
    from huggingface_hub.constants import HF_HUB_CACHE

    found, known = {}, set(timm_names())
    for folder in sorted(Path(HF_HUB_CACHE).glob("models--timm--*")):
        name = folder.name.removeprefix("models--timm--")
        architecture = name.partition(".")[0]
        files = [*folder.glob("snapshots/*/model.safetensors"), *folder.glob("snapshots/*/pytorch_model.bin")]
        if architecture in known and any(file.exists() for file in files):
            found[f"timm:{name}"] = architecture
    return found


def _torchvision_cache() -> dict[str, str]:
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    if not folder.is_dir():
        return {}
    held = {file.name for file in folder.iterdir()}
    published = {name: torchvision_weights(name) for name in torchvision_names()}
    return {f"torchvision:{name}": name for name, one in published.items() if one and Path(one.url).name in held}


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a file's tensors, from its header.

    Raises:
        CheckpointError: it cannot be read.
    """
    if path.suffix != ".safetensors":
        raise CheckpointError(
            f"--weights is {path}; it may be a .safetensors file. Other formats can run code when opened: convert the "
            "file with safetensors.torch.save_file first."
        )
    try:
        with safe_open(path, framework="pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"--weights: {path} cannot be read as .safetensors ({error}).") from error


def _own_network(path: Path) -> str | None:
    """What a file that this program wrote says of itself."""
    name = told_of(path).get("network")
    return name if isinstance(name, str) else None


def _candidates(path: Path) -> Iterator[tuple[str, str]]:
    """Networks that a file may be of: those that its name holds, the longest first, and then the usual ones."""
    stem = path.stem.lower().replace("-", "_")
    libraries = {"timm": timm_names(), "torchvision": torchvision_names()}
    by_name = [(library, name) for library, names in libraries.items() for name in names if name in stem]
    usual = [(library, name) for name in PREFERRED for library, names in libraries.items() if name in names]
    yield from dict.fromkeys([*sorted(by_name, key=lambda one: -len(one[1])), *usual])


def _share(library: str, name: str, shapes: Mapping[str, tuple[int, ...]]) -> float:
    """The share of a network's tensors that are in a file, in their shapes."""
    own = {key: tuple(tensor.shape) for key, tensor in _on_meta(library, name).state_dict().items()}
    counted = [key for key in own if not key.endswith(_STEP_COUNT)]
    return sum(shapes.get(key) == own[key] for key in counted) / max(1, len(counted))


def _on_meta(library: str, name: str) -> nn.Module:
    with torch.device("meta"):
        if library == "timm":
            import timm

            module: nn.Module = timm.create_model(name, pretrained=False)
        else:
            from torchvision import models

            module = models.get_model(name, weights=None)
    return module


def _options(name: str, path: Path) -> dict[str, Any]:
    """TensorFlow's ways, where a file was converted from it: its normalization has never been through a step."""
    bare = name.rpartition(":")[2]
    options = next((options for start, options in _FROM_TENSORFLOW.items() if bare.startswith(start)), {})
    with safe_open(path, framework="pt") as file:
        counts = [int(file.get_tensor(key)) for key in file.keys() if key.endswith(_STEP_COUNT)]  # noqa: SIM118
    return dict(options) if counts and not any(counts) else {}
