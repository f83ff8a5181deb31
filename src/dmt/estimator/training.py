"""One fit: a run in a folder of its own, and the network that it ends with."""

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dmt.config import Config
from dmt.config_files import config_hash
from dmt.data.identity import bytes_of
from dmt.data.image_list import ListedImages
from dmt.data.images import ArrayImages, DataSet, ImageSet
from dmt.data.with_masks import LooseImages, WithMasks
from dmt.models.description import Description
from dmt.models.network import Network
from dmt.predict.run_bundle import bundle_of_run
from dmt.progress import Lines, Silent
from dmt.run import run


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """What a fit ends with.

    Attributes:
        network: the one that the run picked, on the CPU.
        model: its description.
        result: the run's.
        folder: the run folder, where it is kept.
    """

    network: Network
    model: Description
    result: Mapping[str, Any]
    folder: Path | None


def train(config: Config, data: DataSet, *, run_dir: str | Path | None, verbose: int) -> Fitted:
    """Run a config on a data set.

    Args:
        config: of the run.
        data: what to learn from.
        run_dir: where the folders of fits are kept, each named by its config and data, so that a fit that was stopped
            goes on; None = nowhere.
        verbose: above 0, a line for each stage that is done.

    Raises:
        DMTError: as `dmt.run`.
    """
    observer = Lines(sys.stderr) if verbose else Silent()
    with _folder(run_dir, config, data) as folder:
        result = run(config, data, run_dir=folder, observer=observer)
        bundle = bundle_of_run(folder, takes_real_numbers=True)
        picked = bundle.description.picked
        # The others of a last round stay in the run folder, where one is kept.
        alone = {"networks": {picked: bundle.description.networks[picked]}, "ensemble": ()}
        return Fitted(
            network=bundle.network(picked),
            model=bundle.description.model_copy(update=alone),
            result=result,
            folder=folder if run_dir is not None else None,
        )


@contextmanager
def _folder(run_dir: str | Path | None, config: Config, data: DataSet) -> Iterator[Path]:
    if run_dir is not None:
        # Another fit, say a fold of a grid search, is another run; the same one finds its own.
        yield Path(run_dir).expanduser() / f"fit-{_fingerprint(config, data)}"
        return
    with TemporaryDirectory(prefix="dmt-fit-") as folder:
        yield Path(folder)


def _fingerprint(config: Config, data: DataSet) -> str:
    digest = hashlib.sha256(config_hash(config).encode())
    # As JSON, so that no two lists of names are one text.
    digest.update(json.dumps(data.class_names).encode())
    for piece in _contents(data.train):
        digest.update(piece)
    return digest.hexdigest()[:12]


def _contents(images: ImageSet) -> Iterator[bytes]:
    """All that tells a training set from another; of files their names, sizes, times and how they are read."""
    if isinstance(images, WithMasks):
        yield from _contents(images.source)
        yield from (b"none" if mask is None else bytes_of(mask) for mask in images.masks)
    elif isinstance(images, LooseImages):
        yield from map(bytes_of, images.pixels)
    elif isinstance(images, ArrayImages):
        yield from (bytes_of(images.pixels), bytes_of(images.truth))
    else:
        assert isinstance(images, ListedImages)
        yield repr(images.rule).encode()
        for path in images.sources:
            stat = Path(str(path)).stat()
            yield f"{path} {stat.st_size} {stat.st_mtime_ns}".encode()
        yield bytes_of(images.truth)
