"""The sections of the config: every key but the top ones, its default, its range and its meaning."""

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
    """Folder of the data; null if embedded (digits, scenes), or found or downloaded (fashion-mnist, cifar-10)."""
    num_labeled: Count | None = None
    """How many labels to train with (images drawn by split_seed; in classification class-balanced); null = all."""
    labeled: str | None = None
    """A text file that names the labeled images, one key a line, instead of num_labeled; like those below, relative to
    the working folder or else to root."""
    unlabeled: str | None = None
    """A text file that names the unlabeled images; null = all the rest."""
    validation: str | None = None
    """A text file that names the validation images (own files; masks in a table or of Hugging Face have a split)."""
    test: str | None = None
    """A text file that names images for reported figures; likewise."""
    class_names: list[str] | str | None = None
    """The classes of one's own data, or a file with a name a line."""
    num_unlabeled: Count | None = None
    """How many unlabeled images, drawn by split_seed; null = all the rest, or all that are named."""
    split_seed: Annotated[int, Field(ge=0)] | None = None
    """Seed of the split; null = seed. The test part never depends on any seed."""
    image_size: Annotated[list[Count], Field(min_length=2, max_length=2)] | None = None
    """Height and width after the data set's fixed resize; null = the data set's own size."""
    channels: Count | None = None
    """Channels of one's own images: 1 gray, 3 RGB, others are bands as a TIFF or .npy file stores them; null = 3."""
    value_range: Annotated[list[float], Field(min_length=2, max_length=2)] | None = None
    """The values in one's own image files that become black and white, for instance [0, 65535] of 16 bits; a value
    outside is an error. null = 8 bits, as they are."""
    exif_orientation: bool = False
    """Whether one's own pictures are turned as their EXIF asks, as viewers show them; masks stay as they are stored."""
    annotations: str | None = None
    """The JSON file of `coco`, relative to root; null = annotations.json."""
    shards: str | None = None
    """Further unlabeled images in tar files (WebDataset): shards/*.tar; relative to the working folder or the data."""
    allow_outside: bool = False
    """Whether a manifest may name files outside the folder that it stands in."""
    max_unreadable: Annotated[int, Field(ge=0)] = 0
    """How many unlabeled images may be left out since their files cannot be read; they are listed in the run folder, in
    splits/unreadable.txt. Above 0, every unlabeled image is decoded once before training."""
    ignore_index: int = -1
    """The label that counts nothing: -1 in classification, 255 in segmentation, where it is the value in mask files."""


class ValidationConfig(Section):
    """The labels that choices are made by; never the ones that are reported."""

    source: Literal["extra", "cut", "cross_validation", "given", "none"] | None = None
    """extra: labels on top of num_labeled (the paper's valtiny); cut: taken out of num_labeled; cross_validation: the
    whole run again without each fold of the labeled set; given: the validation part that the data bring; none: the last
    round is final. null: given where the data bring a part, else cross_validation under 10 labels a class (under 20
    masks in segmentation; none with fewer labels than folds), else cut."""
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
    selection: Literal["overall", "per_class", "class_prior", "class_share", "renormalized", "threshold"] = "per_class"
    """overall: rank over all images or pixels (the paper, in classification); per_class: within each predicted class
    (the paper, in segmentation); class_prior: likewise, but no class gets more than its share of the labeled set, so
    that a class which swallows another one keeps only its surest sites (not in the paper); class_share: each class
    keeps the top fraction of its share of the labeled set, which for a class that is predicted too seldom is more of
    its sites, up to all of them (not in the paper); renormalized: CBST's own
    ranking, probabilities divided by the classes' thresholds before the class is decided (paper, section 4.2.2);
    threshold: whatever is surer than loss.confidence_threshold (Eq. 2), whatever the top fraction."""
    label_views: Literal["plain", "mirrored", "multiscale"] = "plain"
    """What a teacher looks at: plain is the image (the paper); mirrored: the image and its mirror image, whose mean
    probabilities then label it (twice the labeling time; not where left and right matter); multiscale: both at 0.75, 1
    and 1.5 times their size (eight times, for networks that take images of any size)."""
    calibration: Literal["none", "temperature"] = "none"
    """How sure a teacher counts as being: none is what it says (the paper); temperature: its logits are divided by the
    temperature at which they suit the validation labels best, so that its confidence and its student's compare (not in
    the paper, whose section 5.3.4 names that mismatch; classification, with validation.source extra, cut or given)."""
    alignment: Literal["none", "labeled_shares"] = "none"
    """How often a teacher gives each class: none is as it does (the paper); labeled_shares: its logits are moved, class
    by class, until its mean probabilities over the unlabeled images are the classes' shares of the labeled set, so that
    no class swallows another one (not in the paper; classification). For labeled and unlabeled images of the same
    shares: labels drawn class by class, or hundreds of them drawn at random, and many unlabeled images of each class;
    shares that are wrong make labels wrong."""
    strangers: Literal["keep", "leave_out"] = "keep"
    """What becomes of unlabeled images that seem to belong to no class, since two teachers (the other network's, or the
    round before's) label them differently and both are unsure: they are counted, or counted and left out
    (classification)."""
    stranger_confidence: Fraction = 0.5
    """A label of lower confidence than this counts as unsure."""
    window: Annotated[list[Count], Field(min_length=2, max_length=2)] | None = None
    """Height and width of the windows through which images larger than that are labeled and scored, by the mean
    probabilities of windows that overlap by a quarter (segmentation; not in the paper). null = the whole
    image at once, and 1024 x 1024 where it has more than 4 million pixels."""
    dms_share: Fraction | None = None
    """Difference-maximized sampling (paper, section 4.1.2): in a mutual scheme, a and b start from this share of the
    labels each, overlapping as little as possible; the paper has 0.8. null = both start from all labels."""


class LossConfig(Section):
    """What a label counts."""

    class_balance: Fraction | None = None
    """Weigh each site's loss by its class's share of the labeled sites to minus this power, so that rare classes count
    more: 0.5 mildly, 1 until all count alike; in supervised training and of pseudo labels, too, so that masks of rare
    classes may grow with each round: take one (not in the paper). null = off."""
    gamma_agree: NonNegative = 4.0
    """The paper's gamma_1: exponent where student and teacher agree."""
    gamma_disagree: NonNegative = 4.0
    """The paper's gamma_2: exponent where they disagree and the teacher is surer."""
    ramp: bool = True
    """Whether gamma rises over a round as exp(-5 (1 - progress) ** 2) (the paper, in classification)."""
    weights_per_class: Literal["free", "mean_one"] = "free"
    """mean_one: bring the weights of each class's pseudo labels in a batch to a mean of 1, so that doubt orders the
    sites of a class and takes nothing from the classes that students doubt most (not in the paper)."""
    naive_exponent: NonNegative = 5.0
    """dmt_naive only: the weight is p_B to this power."""
    flip_exponent: NonNegative = 2.0
    """dmt_flip only: a flipped label weighs 1 - c_A to this power."""
    confidence_threshold: Fraction = 0.9
    """online_self_training, and rounds.selection=threshold: predictions at most this sure are ignored."""
    weight_batchnorm: Literal["update", "frozen"] = "update"
    """Whether the extra pass that mixup's weights need updates BatchNorm's running statistics, as the authors' does."""


class CropConfig(Section):
    """The training view of an image in segmentation."""

    size: Annotated[list[Count], Field(min_length=2, max_length=2)] | None = None
    """Height and width of what is cut out of each image; null = the size of the images, where they all have one."""
    scale: Annotated[list[Annotated[float, Field(gt=0.0)]], Field(min_length=2, max_length=2)] = [0.5, 1.5]
    """Smallest and largest factor by which an image is resized before."""
    cutmix: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    """Share of the pseudo-labeled images half of which is covered with a part of another, labels and all (not in the
    paper)."""
    pseudo: Literal["same", "plain"] = "same"
    """The view of pseudo-labeled and unlabeled images: the same as of labeled ones, or plain, resized to the crop and
    nothing else (the paper's side note on Online ST)."""


class MixupConfig(Section):
    """Interpolation of images, targets and weights."""

    alpha: Annotated[float, Field(gt=0.0)] | None = 0.75
    """lambda ~ Beta(alpha, alpha); null = no mixup, and then no extra pass for the weights."""
    keep_max: bool = True
    """Use max(lambda, 1 - lambda) in rounds >= 1; supervised training uses lambda as it is."""


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
    """How a gradient becomes a step."""

    name: Literal["sgd", "adamw"] = "sgd"
    """sgd (the paper); adamw gets further in few steps from pretrained weights, at learning rates around 0.001."""
    lr: Annotated[float, Field(gt=0.0)] = 0.1
    """Base learning rate of rounds >= 1."""
    supervised_lr: Annotated[float, Field(gt=0.0)] | None = None
    """Base learning rate of supervised training; null = lr."""
    momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.9
    """Momentum of SGD; the first beta of AdamW."""
    nesterov: bool = False
    """Nesterov's momentum (sgd only)."""
    weight_decay: NonNegative = 5.0e-4
    """On all parameters, BatchNorm and biases included (the authors' code). AdamW's is decoupled from the
    gradient, and 0.01 is usual."""
    schedule: Literal["cosine", "poly", "constant"] = "cosine"
    """Of the learning rate over a stage, per step."""

    @model_validator(mode="after")
    def _nesterov_has_momentum(self) -> "OptimizerConfig":
        if self.name == "sgd" and self.nesterov and self.momentum == 0.0:
            raise ValueError("nesterov is true and momentum 0; give a momentum above 0, or nesterov=false")
        return self


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


class SelfSupervisedConfig(Section):
    """A start from the images alone, as in SimCLR (classification; the paper's section 5.3.4 looks out to it)."""

    steps: Count
    """Optimizer steps; ten to a hundred passes over the images are a range to try."""
    lr: Annotated[float, Field(gt=0.0)] = 0.1
    """Base learning rate; the optimizer is the run's, its schedule a cosine. Default with adamw: optimizer.lr."""
    batch: Annotated[int, Field(ge=2)] = 128
    """Images in a step, each of which is seen in two views."""
    temperature: Annotated[float, Field(gt=0.0)] = 0.2
    """What similarities are divided by."""
    hidden: Count = 128
    """Units of the projection's first layer, which takes the classifier's place; the projection is thrown away."""
    dimensions: Count = 64
    """Of the space in which views are compared: outputs of its second layer."""
    augment: str | None = None
    """Of the two views; null = the run's own. Stronger ones may learn more."""


class CheckpointConfig(Section):
    """How often a running stage is written down; whichever comes first."""

    every_steps: Count | None = None
    """Optimizer steps between checkpoints, looked at every 20 steps; null = by time alone."""
    every_minutes: Annotated[float, Field(gt=0.0)] = 5.0
    """Minutes between checkpoints."""
