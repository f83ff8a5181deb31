"""What `model.json` holds: all that trained networks must not travel without, strictly checked."""

import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, ValidationError, field_validator, model_validator

from dmt.config_sections import Count, Scalar, Section
from dmt.errors import CheckpointError, first_line
from dmt.models.network import ChannelOrder, Preprocessing
from dmt.models.weights import SUFFIX

DESCRIPTION = "model.json"
FORMAT = 1
"""The newest layout of it that this version knows."""

_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_Level = Annotated[int, Field(ge=0, le=255)]
_Pair = tuple[Count, Count]


class PreprocessingDescription(Section):
    """What a backbone expects of its input; see `Preprocessing`."""

    mean: Annotated[tuple[float, ...], Field(min_length=1)]
    std: Annotated[tuple[float, ...], Field(min_length=1)]
    channel_order: ChannelOrder = "rgb"
    scale: float = 1.0

    @model_validator(mode="after")
    def _consistent(self) -> "PreprocessingDescription":
        self.as_preprocessing()
        return self

    def as_preprocessing(self) -> Preprocessing:
        """The same as networks take it."""
        return Preprocessing(self.mean, self.std, channel_order=self.channel_order, scale=self.scale)


class NetworkDescription(Section):
    """One trained network: how to build it anew, and the file of its weights."""

    what: str
    """Which one of the run it is, in words."""
    label: str
    """`a` or `b`."""
    name: str
    """As in `networks.<label>.name`."""
    options: dict[str, Scalar] = Field(default_factory=dict)
    """Further arguments of the library's constructor."""
    head_branches: Count | None = None
    """Of a DeepLab-v2 head."""
    preprocessing: PreprocessingDescription
    """What it does to images in [0, 1] first."""
    weights: str
    """The name of a file beside `model.json`."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Of that file."""

    @field_validator("weights")
    @classmethod
    def _stays_in_the_folder(cls, name: str) -> str:
        if not _FILE_NAME.fullmatch(name) or not name.endswith(SUFFIX):
            raise ValueError(f"found {name!r}; allowed is the plain name of a {SUFFIX} file in the bundle's own folder")
        return name


class InputDescription(Section):
    """What becomes of an image file before a network sees it."""

    channels: Count
    """1 gray, 3 RGB, others are bands."""
    value_range: tuple[float, float] | None = None
    """The values that become 0 and 255; null = 8 bits, as they are."""
    exif_orientation: bool = False
    """Whether pictures are turned as their EXIF asks."""
    image_size: _Pair | None = None
    """Height and width that images are resized to; null = each its own size."""
    window: _Pair | None = None
    """Height and width of the windows that larger images are seen through."""


class Description(Section):
    """All that `model.json` holds."""

    format: Literal[1] = 1
    """Version of this layout."""
    written_by: str
    """The program and its version."""
    license: str | None = None
    """Of the weights, as their owner has it; null = nothing is said."""
    task: Literal["classification", "segmentation"]
    class_names: Annotated[tuple[str, ...], Field(min_length=2)]
    palette: tuple[tuple[_Level, _Level, _Level], ...] | None = None
    """A color for each class, in segmentation."""
    input: InputDescription
    networks: Annotated[dict[str, NetworkDescription], Field(min_length=1)]
    """By a short name."""
    picked: str
    """The network that the run ended with, by its short name."""
    ensemble: tuple[str, ...] = ()
    """Those of the last round that answer together, where there are several."""
    metrics: dict[str, JsonValue] = Field(default_factory=dict)
    """Figures from the run's result.json, percent."""
    data: dict[str, JsonValue] = Field(default_factory=dict)
    """What it was trained on, in short."""
    training: dict[str, JsonValue] = Field(default_factory=dict)
    """How, in short."""

    @model_validator(mode="after")
    def _consistent(self) -> "Description":
        if len(set(self.class_names)) < len(self.class_names):
            raise ValueError("class_names: a name is there twice")
        if self.task == "segmentation" and len(self.palette or ()) != len(self.class_names):
            raise ValueError(f"palette: {len(self.class_names)} colors are needed, one a class")
        unknown = sorted({self.picked, *self.ensemble} - set(self.networks))
        if unknown:
            raise ValueError(f"networks: there is no {unknown[0]!r}, which picked or ensemble names")
        files = [network.weights for network in self.networks.values()]
        if len(set(files)) < len(files):
            raise ValueError("networks: two have one file of weights")
        return self


def parse_description(content: bytes, *, source: Path) -> Description:
    """What is in a `model.json`, every key checked; `source` is named when it is broken.

    Raises:
        CheckpointError: it is broken or from a newer version.
    """
    try:
        values = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{source} is no valid JSON ({first_line(error)}). Get the bundle again.") from error
    found = values.get("format") if isinstance(values, dict) else None
    if isinstance(found, int) and found > FORMAT:
        raise CheckpointError(
            f"{source} was written by a newer version of dmt (format {found}; this one reads up to {FORMAT}). Update "
            "dmt."
        )
    try:
        return Description.model_validate_json(content)
    except ValidationError as error:
        raise CheckpointError(f"{source} is no description of a model: {_first_problem(error)}.") from None


def as_json(description: Description) -> str:
    """The text of `model.json`."""
    return json.dumps(description.model_dump(mode="json"), indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def _first_problem(error: ValidationError) -> str:
    details = error.errors()
    place = ".".join(str(part) for part in details[0]["loc"])
    context: dict[str, Any] = details[0].get("ctx", {})
    text = str(context["error"]) if "error" in context else details[0]["msg"]
    more = f" (and {len(details) - 1} more)" if len(details) > 1 else ""
    return f"{place}: {text}{more}" if place else f"{text}{more}"
