"""The typed config: every key, its default, its range and its meaning.

Names that live in registries (methods, data sets, networks) are checked where the parts are composed, in `run.py`.
How YAML files, presets and overrides become a `Config` is in `config_files.py`.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Fraction = Annotated[float, Field(gt=0.0, le=1.0)]
Count = Annotated[int, Field(ge=1)]
NonNegative = Annotated[float, Field(ge=0.0)]
Scalar = bool | int | float | str


class Section(BaseModel):
    """A part of the config: unknown keys are errors, values are never converted, nothing changes after loading."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        allow_inf_nan=False,
        validate_default=True,
        use_attribute_docstrings=True,
    )


class DataConfig(Section):
    """Which images, and which of them carry labels."""

    name: str
    """A name from `dmt list datasets`."""
    root: str | None = None
    """Folder of the data; null where it is embedded or found in the usual place."""
    num_labeled: Count | None = None
    """How many labels are used for training (images, drawn class-balanced by split_seed); null = all there are."""
    labeled: str | None = None
    """A text file that names the labeled images, one key a line, instead of num_labeled."""
    num_unlabeled: Count | None = None
    """How many unlabeled images; null = all the rest."""
    split_seed: Annotated[int, Field(ge=0)] | None = None
    """Seed of the split; null = seed. The test part never depends on any seed."""
    image_size: Annotated[list[Count], Field(min_length=2, max_length=2)] | None = None
    """Height and width after the data set's fixed resize; null = the data set's own size."""
    ignore_index: int = -1
    """The label that counts nothing: -1 in classification, 255 in segmentation."""


class ValidationConfig(Section):
    """The labels that choices are made by; never the ones that are reported."""

    source: Literal["extra", "cut", "cross_validation", "none"] | None = None
    """extra: labels on top of num_labeled (the paper's valtiny); cut: taken out of num_labeled; cross_validation: the
    whole run again without each fold of the labeled set; none: the last round is final. null: the validation part that
    the data bring; else cross_validation under 10 labels a class, else cut."""
    size: Count | None = None
    """Images of `extra` and `cut`; null = a tenth of num_labeled, at least one a class."""
    num_folds: Annotated[int, Field(ge=2)] = 2
    """Folds of the cross-validation; it costs about as many further runs."""


class NetworkConfig(Section):
    """One network and where its weights start."""

    name: str = "small_cnn"
    """A name from `dmt list models`, for instance small_cnn, wrn_28_2, timm:resnet18, torchvision:squeezenet1_0."""
    weights: str | None = None
    """null = random, `pretrained` = the library's own download, or a .safetensors file."""
    allow_missing: bool = False
    """Whether tensors that the weights file lacks, or whose shape differs, may keep their initial values."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Further arguments of the timm or torchvision constructor: numbers, text, true or false."""
    head_branches: Count | None = None
    """Branches of a DeepLab-v2 head (segmentation)."""


class NetworksConfig(Section):
    """The networks; `b` is used by mutual schemes only."""

    a: NetworkConfig = NetworkConfig()
    """The network of a chain; the first of a pair."""
    b: NetworkConfig = NetworkConfig()
    """The second of a pair; it may be another architecture."""


class RoundsConfig(Section):
    """How much is pseudo-labeled, round by round."""

    top_fractions: Annotated[list[Fraction], Field(min_length=1)] = [0.2, 0.4, 0.6, 0.8, 1.0]
    """The paper's alpha of each round; one round at 1.0 is one-shot DMT."""
    selection: Literal["overall", "per_class", "class_prior"] = "per_class"
    """overall: rank over all images (the paper, in classification); per_class: within each predicted class (the paper,
    in segmentation); class_prior: likewise, but no class gets more than its share of the labeled set, so that a class
    which swallows another one keeps only its surest images (not in the paper)."""


class LossConfig(Section):
    """What a pseudo label counts."""

    gamma_agree: NonNegative = 4.0
    """The paper's gamma_1: exponent where student and teacher agree."""
    gamma_disagree: NonNegative = 4.0
    """The paper's gamma_2: exponent where they disagree and the teacher is surer."""
    ramp: bool = True
    """Whether gamma rises over a round as exp(-5 (1 - progress) ** 2) (the paper, in classification)."""
    naive_exponent: NonNegative = 5.0
    """dmt_naive only: the weight is p_B to this power."""
    flip_exponent: NonNegative = 2.0
    """dmt_flip only: a flipped label weighs 1 - c_A to this power."""
    confidence_threshold: Fraction = 0.9
    """online_self_training only: predictions at most this sure are ignored."""
    weight_batchnorm: Literal["update", "frozen"] = "update"
    """Whether the extra pass that mixup's weights need updates BatchNorm's running statistics, as the authors' does."""


class MixupConfig(Section):
    """Interpolation of images, targets and weights."""

    alpha: Annotated[float, Field(gt=0.0)] | None = 0.75
    """lambda ~ Beta(alpha, alpha); null = no mixup, and then no extra pass for the weights."""
    keep_max: bool = True
    """Use max(lambda, 1 - lambda) in rounds >= 1; supervised training uses lambda as it is (spec 1.5)."""


class EmaConfig(Section):
    """The moving average of the weights, which labels the next round and is reported."""

    decay: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.999
    """Share of itself that the average keeps in a step."""
    warmup: bool = True
    """Use min(decay, (1 + t) / (10 + t)) at step t, so that short runs forget their random start."""


class Duration(Section):
    """How long a stage trains; exactly one of the keys."""

    steps: Count | None = None
    """Optimizer steps."""
    epochs: Annotated[float, Field(gt=0.0)] | None = None
    """Passes over the pseudo-labeled set; over the labeled set in supervised training."""
    oracle_epochs: Annotated[float, Field(gt=0.0)] | None = None
    """Supervised training only: the paper's rule, sqrt(all images / labeled images) x this many epochs."""

    @model_validator(mode="before")
    @classmethod
    def _exactly_one(cls, value: Any) -> Any:
        given = [key for key, setting in value.items() if setting is not None] if isinstance(value, dict) else ["steps"]
        if len(given) != 1:
            raise ValueError(
                f"found {' and '.join(given) or 'nothing'}; give exactly one of steps, epochs, oracle_epochs"
            )
        return value


class OptimizerConfig(Section):
    """Stochastic gradient descent."""

    lr: Annotated[float, Field(gt=0.0)] = 0.1
    """Base learning rate of rounds >= 1."""
    supervised_lr: Annotated[float, Field(gt=0.0)] | None = None
    """Base learning rate of supervised training; null = lr."""
    momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.9
    """Momentum of SGD."""
    nesterov: bool = False
    """Nesterov's momentum."""
    weight_decay: NonNegative = 5.0e-4
    """On all parameters, BatchNorm and biases included (the authors' code)."""
    schedule: Literal["cosine", "poly", "constant"] = "cosine"
    """Of the learning rate over a stage, per step."""


class BatchConfig(Section):
    """Images in one optimizer step."""

    size: Annotated[int, Field(ge=2)] = 128
    """All images of a step in rounds >= 1."""
    labeled: Count = 16
    """How many of them are labeled."""
    supervised: Annotated[int, Field(ge=2)] | None = None
    """Images of a step in supervised training, all labeled; null = size."""

    @model_validator(mode="after")
    def _leaves_room(self) -> "BatchConfig":
        if self.labeled >= self.size:
            raise ValueError(f"labeled is {self.labeled} and size {self.size}; labeled must be below size")
        return self


class CheckpointConfig(Section):
    """How often a running stage is written down; whichever comes first."""

    every_steps: Count | None = None
    """Optimizer steps between checkpoints; null = by time alone."""
    every_minutes: Annotated[float, Field(gt=0.0)] = 5.0
    """Minutes between checkpoints."""


class Config(Section):
    """A whole run."""

    format: Literal[1] = 1
    """Version of this layout."""
    task: Literal["classification"]
    """What is predicted: one class an image."""
    method: str = "dmt"
    """A name from `dmt list methods`."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Drives everything that no other seed overrides."""
    data: DataConfig
    """Images and labels."""
    validation: ValidationConfig = ValidationConfig()
    """Labels for choices."""
    networks: NetworksConfig = NetworksConfig()
    """Networks a and b."""
    scheme: Literal["chain", "mutual"] = "chain"
    """chain: each round's model labels for the next (Algorithm 1); mutual: two networks label for each other (2)."""
    start: Literal["scratch", "finetune"]
    """What a student of round >= 1 starts from: fresh weights, or its own of the last round. Default: scratch in a
    chain, finetune in a mutual scheme."""
    rounds: RoundsConfig = RoundsConfig()
    """Pseudo labels."""
    loss: LossConfig = LossConfig()
    """Weights of pseudo labels."""
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
    """Augmentation: default (by data set), none, reference (the authors' ranges), or a data set's own by name."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Arithmetic of the networks; auto = bf16 where the machine has it in hardware. Losses are fp32 always."""
    workers: Annotated[int, Field(ge=0)] = 0
    """Processes that load batches; 0 = the training process itself."""
    checkpoint: CheckpointConfig = CheckpointConfig()
    """Checkpoints."""

    @model_validator(mode="before")
    @classmethod
    def _default_start(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("start") is None:
            return {**values, "start": "finetune" if values.get("scheme") == "mutual" else "scratch"}
        return values

    @model_validator(mode="after")
    def _consistent(self) -> "Config":
        problems = []
        if self.data.num_labeled is not None and self.data.labeled is not None:
            problems.append("data: give one of num_labeled and labeled, not both")
        if self.duration.oracle_epochs is not None:
            problems.append("duration.oracle_epochs: only `supervised` knows it; give steps or epochs")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def split_seed(self) -> int:
        """The seed that draws the labeled images."""
        return self.seed if self.data.split_seed is None else self.data.split_seed
