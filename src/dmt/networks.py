"""The networks of a run: built by the config's names, or from the user's own modules, and tried once."""

from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from dmt.config import Config
from dmt.data.images import DataSet, to_unit
from dmt.data.unreadable import first_readable
from dmt.errors import ConfigError
from dmt.models.label_views import LABEL_SCALES, view_size
from dmt.models.network import Network, Preprocessing, check_output
from dmt.models.own import OWN_NETWORK, Models, own_module
from dmt.models.pairs import warn_equal_starts
from dmt.models.registry import build_network
from dmt.models.windowed import seen_size
from dmt.randomness import generator, seeded_torch
from dmt.tasks import TASKS
from dmt.types import Stage, networks_of


def network_builder(
    config: Config, data: DataSet, models: Models | None, *, plan: Sequence[Stage]
) -> Callable[[str, np.random.Generator], Network]:
    """A function from a network's label and a stream to a new network with its initial weights.

    Each network of the plan is built and tried once here, at every size that the config asks for, so that a name, a
    size or an output that does not fit is an error before any training.
    """

    def build(label: str, stream: np.random.Generator) -> Network:
        with seeded_torch(stream):
            return _configured_network(config, label, data) if models is None else _own_network(models, label, data)

    labels = networks_of(plan)
    if models is None and len(labels) > 1:
        warn_equal_starts(config)
    for label in labels:
        _try(build(label, generator(config.seed, "unused")), label, config, data, plan=plan)
    return build


def _try(network: Network, label: str, config: Config, data: DataSet, *, plan: Sequence[Stage]) -> None:
    images = to_unit(first_readable(data.train).repeat(2, 1, 1, 1))
    teaches = any(stage.pseudo is not None and stage.pseudo.teacher == label for stage in plan)
    for size, asked_by in _sizes_seen(config, images, teaches=teaches).items():
        resized = F.interpolate(images, size=size, mode="bilinear", align_corners=False)
        check_output(network, resized, dense=TASKS[config.task].is_dense, asked_by=asked_by)


def _sizes_seen(config: Config, images: Tensor, *, teaches: bool) -> dict[tuple[int, int], str]:
    """Heights and widths at which a network meets images like these, and the setting that asks for each."""
    whole = (images.shape[2], images.shape[3])
    window, crop, views = config.rounds.window, config.crop.size, config.rounds.label_views
    is_dense = TASKS[config.task].is_dense
    seen = seen_size(whole, window) if is_dense else whole
    told = f"rounds.window={window}" if window else f"rounds.window=null, for so many pixels ({list(whole)} sees all),"
    sizes = {seen: "" if seen == whole else told}
    if is_dense:
        sizes.setdefault(whole if crop is None else (crop[0], crop[1]), "" if crop is None else f"crop.size={crop}")
    for scale in LABEL_SCALES.get(views, ()) if teaches else ():
        sizes.setdefault(view_size(seen, scale), f"rounds.label_views={views}")
    return sizes


def projector(config: Config, label: str, data: DataSet, *, dimensions: int) -> Network:
    """A network of the config with so many outputs in place of the classes; its weights come from torch's generator.

    Raises:
        DMTError: as building the network does.
    """
    return _configured_network(config, label, data, num_outputs=dimensions)


def _configured_network(config: Config, label: str, data: DataSet, *, num_outputs: int | None = None) -> Network:
    network = config.networks.a if label == "a" else config.networks.b
    return build_network(
        network.name,
        num_classes=data.num_classes if num_outputs is None else num_outputs,
        channels=data.channels,
        mean=data.mean,
        std=data.std,
        weights=network.weights,
        allow_missing=network.allow_missing or num_outputs is not None,
        options=network.options,
        head_branches=network.head_branches,
        task=config.task,
        key=f"networks.{label}",
    )


def _own_network(models: Models, label: str, data: DataSet) -> Network:
    if label not in models:
        raise ConfigError(f"models has no network {label!r}; it holds {', '.join(models) or 'nothing'}.")
    module = own_module(models[label], label)
    plain = Preprocessing(mean=(0.0,) * data.channels, std=(1.0,) * data.channels)
    return Network(module, plain, num_classes=data.num_classes, name=f"{OWN_NETWORK} {label}")
