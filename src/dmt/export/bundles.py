"""Writing a model's folder: as a bundle, or as an ONNX file that was held against PyTorch."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from dmt.config_files import load_config
from dmt.data.images import ImageSet
from dmt.data.input_files import find_inputs
from dmt.errors import ConfigError, DataError
from dmt.export.card import model_card
from dmt.export.onnx_file import INPUT, OUTPUT, Agreement, onnx_of, require_extra
from dmt.files import write_atomic, write_text
from dmt.loading import load_data
from dmt.models.bundle import CARD, ONNX_FILE, Bundle, claim_folder, is_bundle, model_id, write_bundle
from dmt.models.description import Description
from dmt.models.ensemble import Ensemble
from dmt.models.own import ModelFactory
from dmt.predict.given import ImageReader
from dmt.predict.predictor import open_bundle

NUM_IMAGES = 8
"""Real images that an exported file is tried on."""


def export_bundle(source: Path, target: Path, *, license_text: str | None = None) -> Bundle:
    """Write a bundle of a run, or of another bundle.

    Args:
        source: the folder of a finished run, or a bundle.
        target: a new or empty folder, or one with an earlier export of the same weights.
        license_text: for the weights; None = what the source says, which of a run is nothing.

    Raises:
        DMTError: as `dmt.load`; or the target holds other files.
    """
    bundle = _licensed(open_bundle(source), license_text)
    write_bundle(target, bundle, card=model_card(bundle.description))
    return bundle


def export_onnx(
    source: Path,
    target: Path,
    *,
    images: Sequence[str | Path] = (),
    ensemble: bool = False,
    license_text: str | None = None,
    models: Mapping[str, nn.Module | ModelFactory] | None = None,
) -> Agreement:
    """Write `model.onnx` and a card, unless the file says something else than PyTorch on real images.

    Args:
        source: the folder of a finished run, or a bundle.
        target: a new or empty folder, or one with an earlier export of the same weights.
        images: files, folders and patterns of real images; none = some that the run was trained with.
        ensemble: the networks of the last round together.
        license_text: see `export_bundle`.
        models: own networks by label.

    Raises:
        DMTError: as `dmt.load`; there are no images to try it on; it cannot be exported or differs.
    """
    require_extra()
    bundle = _licensed(open_bundle(source), license_text)
    description = bundle.description
    claim_folder(target, description)
    names = description.ensemble if ensemble else (description.picked,)
    if not names:
        raise ConfigError(f"{source} has one network alone, so that there is no ensemble; leave --ensemble out.")
    networks = [bundle.network(name, models) for name in names]
    content, agreement = onnx_of(
        Ensemble(networks).eval() if ensemble else networks[0],
        _real_images(bundle, images),
        _metadata(description, " and ".join(description.networks[name].what for name in names)),
    )
    write_atomic(target / ONNX_FILE, lambda temporary: temporary.write_bytes(content))
    if not is_bundle(target):
        write_text(target / CARD, model_card(description, onnx=_onnx_section(agreement)))
    return agreement


def _licensed(bundle: Bundle, license_text: str | None) -> Bundle:
    if license_text is None:
        return bundle
    description = bundle.description.model_copy(update={"license": license_text})
    return Bundle(source=bundle.source, description=description, weights=bundle.weights)


def _real_images(bundle: Bundle, given: Sequence[str | Path]) -> list[Tensor]:
    """Some images, `(channels, H, W)` uint8, as networks see them."""
    reader = ImageReader(bundle.description.input)
    if given:
        files = find_inputs(given, reader.suffixes)[:NUM_IMAGES]
        return [reader.sized(reader.read(file.path, where=file.shown)) for file in files]
    if is_bundle(bundle.source):
        raise ConfigError("Give some real images to try the exported file on: --images FILE or FOLDER.")
    try:
        data = load_data(load_config(bundle.source / "config.yaml"), None)
        images = data.test if data.test is not None and len(data.test) else data.train
        found = list(islice(_evenly_readable(images), NUM_IMAGES))
    except (DataError, ConfigError) as error:
        raise ConfigError(
            f"The run's own images cannot be loaded ({error}). Give some real ones to try the exported file on: "
            "--images FILE or FOLDER."
        ) from error
    if not found:
        raise ConfigError("None of the run's own images can be read. Give some: --images FILE or FOLDER.")
    return found


def _evenly_readable(images: ImageSet) -> Iterator[Tensor]:
    """Images from all over the set, but for those that cannot be read, which a run may have left out."""
    step = max(1, -(-len(images) // NUM_IMAGES))
    for position in (index for start in range(step) for index in range(start, len(images), step)):
        with suppress(DataError):
            yield images.images([position])[0]


def _metadata(description: Description, what: str) -> dict[str, str]:
    """What an ONNX file must not travel without, as its `metadata_props`; lists and the like as JSON."""
    values: dict[str, Any] = {
        "task": description.task,
        "network": what,
        "class_names": description.class_names,
        "palette": description.palette,
        "input": description.input.model_dump(mode="json"),
        "license": description.license,
        "model": model_id(description),
        "written_by": description.written_by,
    }
    told = {key: value for key, value in values.items() if value is not None}
    return {
        key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for key, value in told.items()
    }


def _onnx_section(agreement: Agreement) -> str:
    sizes = (
        "of any height and width" if agreement.any_size else "of the size " + " x ".join(map(str, agreement.sizes[0]))
    )
    return (
        f"## Use\n\n`{ONNX_FILE}` takes `{INPUT}`, float32 `(batch, channels, height, width)` in [0, 1], {sizes}, and "
        f"gives `{OUTPUT}`; the normalization is inside, the names of the classes are in its metadata. On "
        f"{agreement.num_images} real images its probabilities differ from PyTorch's by at most "
        f"{agreement.largest:.1g}, and no label does.\n"
    )
