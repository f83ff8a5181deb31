"""The typed config: every key, its default, its range and its meaning.

Names that live in registries (methods, data sets, networks) are checked where the parts are composed, in `run.py`. The
sections are in `config_sections.py`; how YAML files, presets and overrides become a `Config` is in `config_files.py`.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from dmt.config_sections import (
    BatchConfig,
    CheckpointConfig,
    CropConfig,
    DataConfig,
    Duration,
    EmaConfig,
    LossConfig,
    MixupConfig,
    NetworksConfig,
    OptimizerConfig,
    RoundsConfig,
    Section,
    SelfSupervisedConfig,
    ValidationConfig,
)
from dmt.types import IGNORE_INDEX

SEGMENTATION_DEFAULTS: dict[str, Any] = {
    "data": {"ignore_index": IGNORE_INDEX},
    "scheme": "mutual",
    "start": "finetune",
    "loss": {"gamma_agree": 5.0, "gamma_disagree": 5.0, "ramp": False},
    "mixup": {"alpha": None},
    "ema": None,
    "optimizer": {"lr": 1.0e-3, "supervised_lr": 2.0e-3, "schedule": "poly"},
    "batch": {"size": 8, "labeled": 1},
    "networks": {
        "a": {"name": "deeplab:torchvision:resnet50", "weights": "pretrained"},
        "b": {"name": "deeplab:torchvision:resnet50", "weights": "pretrained"},
    },
}
"""Where the defaults of segmentation are others than those of classification: the paper's for PASCAL VOC."""


class Config(Section):
    """A whole run."""

    format: Literal[1] = 1
    """Version of this layout."""
    task: Literal["classification", "segmentation"]
    """What is predicted: one class an image, or one a pixel."""
    method: str = "dmt"
    """A name from `dmt list methods`."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Drives everything that no other seed overrides."""
    data: DataConfig
    """Images and labels."""
    validation: ValidationConfig = ValidationConfig()
    """The labels that choices are made by."""
    networks: NetworksConfig = NetworksConfig()
    """Networks a and b."""
    scheme: Literal["chain", "mutual"] = "chain"
    """chain: each round's model labels for the next (Algorithm 1); mutual: two networks label for each other (2)."""
    start: Literal["scratch", "finetune"]
    """What a student of round >= 1 starts from: fresh weights, or its own of the last round. Default: scratch in a
    chain of classifiers, else finetune."""
    rounds: RoundsConfig = RoundsConfig()
    """Pseudo labels."""
    loss: LossConfig = LossConfig()
    """What labels count."""
    crop: CropConfig = CropConfig()
    """Training view (segmentation)."""
    mixup: MixupConfig = MixupConfig()
    """Mixup."""
    ema: EmaConfig | None = EmaConfig()
    """Moving average of the weights; null = off, and the last weights label and are reported."""
    duration: Duration = Duration(steps=200)
    """Length of each round >= 1."""
    supervised: Duration = Duration(steps=400)
    """Length of supervised training."""
    optimizer: OptimizerConfig = OptimizerConfig()
    """Optimizer."""
    batch: BatchConfig = BatchConfig()
    """Batch composition."""
    augment: str = "default"
    """Augmentation in classification: default (that of digits, fashion-mnist or cifar-10 for these data sets, else
    photo), none, digits (turns, shifts, stretches, brightness, no mirroring), fashion-mnist (mirrors, turns a little,
    covers a square), cifar (mirrors, padded crop, one random operation), reference (likewise, in the authors' ranges),
    photo (mirrors, turns, colors). In segmentation: default (random scale, crop, mirroring: the paper's), color (the
    same with brightness, contrast and saturation), no-flip (without mirroring), none (resized to the crop)."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Arithmetic of the networks; auto = bf16 where the machine has it in hardware. Losses are fp32 always."""
    workers: Annotated[int, Field(ge=0)] = 0
    """Processes that load batches; 0 = the training process itself."""
    self_supervised: SelfSupervisedConfig | None = None
    """How networks learn from the images alone before they see a label; null = not at all (the paper)."""
    checkpoint: CheckpointConfig = CheckpointConfig()
    """Checkpoints."""

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_task(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        values = {key: value for key, value in values.items() if (key, value) != ("start", None)}
        values = _with_own_rate(values)
        if values.get("task") == "segmentation":
            values = _beneath(values, _segmentation_defaults(values.get("optimizer")))
        if "start" not in values:
            return {**values, "start": "finetune" if values.get("scheme") == "mutual" else "scratch"}
        return values

    @model_validator(mode="after")
    def _consistent(self) -> "Config":
        problems = self._of_the_other_task()
        if self.data.num_labeled is not None and self.data.labeled is not None:
            problems.append("data: give one of num_labeled and labeled, not both")
        if self.duration.oracle_epochs is not None:
            problems.append("duration.oracle_epochs: only `supervised` knows it; give steps or epochs")
        if self.rounds.dms_share is not None and self.scheme != "mutual":
            problems.append("rounds.dms_share: samples for two networks need scheme=mutual")
        if self.crop.pseudo == "plain" and self.augment == "color":
            problems.append("crop.pseudo: plain views keep their colors, and augment=color changes those of all images")
        if self.rounds.strangers == "leave_out" and self.rounds.selection == "renormalized":
            problems.append("rounds.strangers: nothing is left out with rounds.selection=renormalized; use keep")
        if self.crop.scale[0] > self.crop.scale[1]:
            problems.append(f"crop.scale: found {self.crop.scale}; the smallest factor comes first")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _of_the_other_task(self) -> list[str]:
        """What the config asks for and its task does not have."""
        problems = []
        if self.rounds.window is not None and self.task != "segmentation":
            problems.append("rounds.window: images are looked at through windows in segmentation alone")
        if self.rounds.strangers == "leave_out" and self.task == "segmentation":
            problems.append("rounds.strangers: images are left out in classification only; use keep")
        if self.rounds.calibration != "none" and self.task == "segmentation":
            problems.append("rounds.calibration: teachers are calibrated in classification only; use none")
        if self.rounds.alignment != "none" and self.task == "segmentation":
            problems.append("rounds.alignment: teachers are aligned in classification only; use none")
        if self.self_supervised is not None and self.task == "segmentation":
            problems.append("self_supervised: a start from images alone is for classification; leave it out")
        return problems

    @property
    def ignore_label(self) -> int:
        """The target that counts nothing in memory: mask files are mapped to 255 when they are read."""
        return IGNORE_INDEX if self.task == "segmentation" else self.data.ignore_index

    @property
    def split_seed(self) -> int:
        """The seed that draws the labeled images."""
        return self.seed if self.data.split_seed is None else self.data.split_seed


def _with_own_rate(values: dict[str, Any]) -> dict[str, Any]:
    """A start from images alone has its optimizer's rate where it names none, unless that is SGD."""
    optimizer, begins = values.get("optimizer"), values.get("self_supervised")
    if not isinstance(optimizer, dict) or not isinstance(begins, dict) or "lr" in begins or "lr" not in optimizer:
        return values
    if optimizer.get("name", "sgd") == "sgd":
        return values
    return {**values, "self_supervised": {**begins, "lr": optimizer["lr"]}}


def _segmentation_defaults(optimizer: Any) -> dict[str, Any]:
    """The defaults of segmentation; the rate of supervised training is SGD's, and no other optimizer's."""
    is_sgd = not isinstance(optimizer, dict) or optimizer.get("name", "sgd") == "sgd"
    rates = {key: value for key, value in SEGMENTATION_DEFAULTS["optimizer"].items() if key != "supervised_lr"}
    return SEGMENTATION_DEFAULTS if is_sgd else {**SEGMENTATION_DEFAULTS, "optimizer": rates}


def _beneath(values: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """`values`, with `defaults` where they say nothing; a section that is given as null stays null.

    A network that is named gets nothing of the default one's: weights belong to a name.
    """
    if "name" in values and "name" in defaults:
        return values
    merged = {**defaults, **values}
    for key, default in defaults.items():
        if isinstance(default, dict) and isinstance(values.get(key), dict):
            merged[key] = _beneath(values[key], default)
    return merged
