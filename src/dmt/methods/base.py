"""What a method is, and what methods share: the two plans of the paper and the offline training step.

Methods differ on four axes: who teaches, what is kept, how a site is weighted, how the student starts. The first,
second and last are the plan; the third is a site rule. A method's file imports this one and no other method.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from dmt.config import Config
from dmt.config_sections import RoundsConfig
from dmt.engine import mean_over_processes
from dmt.losses import class_scales, class_sums, dynamic_loss, dynamic_weights, gamma_ramp, mixup
from dmt.selection import confidence_code, decode_confidence
from dmt.types import Batch, LabeledSubset, PseudoSpec, SiteRule, Stage, Start, StepOutput

WEIGHTS_OF_PSEUDO_LABELS = (
    "loss.gamma_agree", "loss.gamma_disagree", "loss.ramp", "loss.naive_exponent", "loss.flip_exponent",
    "loss.confidence_threshold", "loss.weight_batchnorm", "loss.weights_per_class",
)  # fmt: skip
"""Config keys that have no effect on a method that gives every pseudo label the weight 1."""

LABELING = tuple(f"rounds.{key}" for key in RoundsConfig.model_fields if key != "window")
"""Config keys that have no effect on a method whose networks label nothing between rounds; scores have windows, too."""

UNUSED_WITHOUT_ROUNDS = (
    *WEIGHTS_OF_PSEUDO_LABELS, "scheme", "start", *LABELING, "duration", "networks.b", "batch.labeled", "crop.cutmix",
    "crop.pseudo", "mixup.keep_max",
)  # fmt: skip
"""Config keys that have no effect on a method of one supervised stage."""


class Method:
    """A plan and a training step; subclasses state what differs.

    Class attributes:
        summary: one line for listings.
        source: the paper's section or the paper that the method comes from.
        unused: dotted config keys that have no effect on this method.
        needs_all_labels: whether the method trains on the labels of every image (the oracle).
    """

    summary: ClassVar[str]
    source: ClassVar[str]
    unused: ClassVar[tuple[str, ...]] = ()
    needs_all_labels: ClassVar[bool] = False

    def __init__(self, config: Config) -> None:
        self.config = config

    def plan(self) -> tuple[Stage, ...]:
        """The stages, in the order in which they run."""
        raise NotImplementedError

    def site_rule(self, progress: float) -> SiteRule | None:
        """How sites are weighted at `progress` in [0, 1) of a round; None = every weight 1, at no cost."""
        return None

    def supervised_step(
        self, networks: Mapping[str, nn.Module], batch: Batch, progress: float, generator: np.random.Generator
    ) -> StepOutput:
        """The loss of one step of a stage that sees labeled images only; the same for every method."""
        (network,) = networks.values()
        weights = torch.ones_like(batch.targets, dtype=torch.float32)
        # Ordinary mixup, lambda as it is drawn.
        return StepOutput(loss=weighted_loss(network, batch, batch.targets, weights, self.config, generator, False))

    def training_step(
        self, networks: Mapping[str, nn.Module], batch: Batch, progress: float, generator: np.random.Generator
    ) -> StepOutput:
        """The loss of one step of a stage with unlabeled images; offline methods share this one.

        Args:
            networks: those that the stage trains, by label.
            batch: augmented images and their targets.
            progress: share of the stage's steps that are done.
            generator: this step's stream, for mixup.
        """
        (network,) = networks.values()
        return offline_step(network, batch, self.site_rule(progress), config=self.config, generator=generator)


def supervised_stage(network: str = "a", labeled_subset: LabeledSubset = "all") -> Stage:
    """Round 0: a network trained on the labels alone."""
    return Stage(round=0, trains=(network,), start="scratch", labeled_subset=labeled_subset)


def chain_plan(config: Config, *, start: Start) -> tuple[Stage, ...]:
    """One network; each round's model labels for the next (paper, Algorithm 1)."""
    rounds = enumerate(config.rounds.top_fractions, start=1)
    return (
        supervised_stage(),
        *(_pseudo_stage(config, i, alpha, student="a", teacher="a", start=start) for i, alpha in rounds),
    )


def mutual_plan(config: Config, *, start: Start) -> tuple[Stage, ...]:
    """Two networks; in round i, b of round i-1 labels for a, and a of round i-1 labels for b (paper, Algorithm 2).

    The paper's listing has each network label for itself; its text and figures, and the authors' scripts, cross them.
    With difference-maximized sampling the baseline on all labels is a stage of its own, that no other stands on.
    """
    stages = [supervised_stage("a")]
    if config.rounds.dms_share is None:
        stages.append(supervised_stage("b"))
    else:
        stages += [supervised_stage("a", "dms_a"), supervised_stage("b", "dms_b")]
    for i, alpha in enumerate(config.rounds.top_fractions, start=1):
        for student, teacher in (("a", "b"), ("b", "a")):
            stages.append(_pseudo_stage(config, i, alpha, student=student, teacher=teacher, start=start))
    return tuple(stages)


def plan_of_scheme(config: Config) -> tuple[Stage, ...]:
    """The chain or the mutual plan, with the start, that the config asks for."""
    return {"chain": chain_plan, "mutual": mutual_plan}[config.scheme](config, start=config.start)


def _pseudo_stage(config: Config, number: int, alpha: float, *, student: str, teacher: str, start: Start) -> Stage:
    pseudo = PseudoSpec(
        teacher=teacher,
        teacher_round=number - 1,
        top_fraction=alpha,
        selection=config.rounds.selection,
        threshold=config.loss.confidence_threshold if config.rounds.selection == "threshold" else None,
    )
    return Stage(round=number, trains=(student,), start=start, pseudo=pseudo)


def offline_step(
    network: nn.Module, batch: Batch, rule: SiteRule | None, *, config: Config, generator: np.random.Generator
) -> StepOutput:
    """Weigh, mix, and take the weighted cross-entropy (paper, Eq. 3-6 and section 5.2.2).

    Without mixup the weights come from the very logits that are trained, in one forward pass. With mixup they need
    clean predictions, in an extra pass without gradient that is skipped when every weight is 1.
    """
    if config.mixup.alpha is None:
        logits = network(batch.images)
        targets, weights = _apply_rule(rule, logits.detach(), batch, config)
        loss = batch_loss(logits, targets, weights, ignore_index=config.ignore_label, class_weights=batch.class_weights)
    else:
        clean = None if rule is None else _clean_logits(network, batch.images, config.loss.weight_batchnorm)
        targets, weights = _apply_rule(rule, clean, batch, config)
        loss = weighted_loss(network, batch, targets, weights, config, generator, config.mixup.keep_max)
    return StepOutput(loss=loss, logs=_weight_logs(weights, batch, ignore_index=config.ignore_label))


def weighted_loss(
    network: nn.Module,
    batch: Batch,
    targets: Tensor,
    weights: Tensor,
    config: Config,
    generator: np.random.Generator,
    keep_max: bool,
) -> Tensor:
    """The loss of a batch's images whose weights are known, mixed up where the config says so."""

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        return batch_loss(logits, target, weights, ignore_index=config.ignore_label, class_weights=batch.class_weights)

    if config.mixup.alpha is None:
        return loss(network(batch.images), targets)
    images, weights, targets, partners, lam = mixup(
        batch.images, weights, targets, alpha=config.mixup.alpha, generator=generator, keep_max=keep_max
    )
    logits = network(images)
    return lam * loss(logits, targets) + (1.0 - lam) * loss(logits, partners)


def batch_loss(
    logits: Tensor, targets: Tensor, weights: Tensor, *, ignore_index: int, class_weights: Tensor | None = None
) -> Tensor:
    """`dynamic_loss` of this process's share of the batch, over the number of valid sites in the whole of it.

    Processes average their gradients, so each divides by the mean number: together that is the sum over the total.
    """
    normalizer = mean_over_processes((targets != ignore_index).sum())
    return dynamic_loss(
        logits, targets, weights, ignore_index=ignore_index, normalizer=normalizer, class_weights=class_weights
    )


def dynamic_rule(config: Config, progress: float) -> SiteRule:
    """Eq. 3, with gamma ramped over the round where the config says so."""
    loss = config.loss
    gammas = (loss.gamma_agree, loss.gamma_disagree)
    agree, disagree = (gamma_ramp(gamma, progress) if loss.ramp else gamma for gamma in gammas)

    def rule(logits: Tensor, label: Tensor, confidence: Tensor) -> tuple[Tensor, Tensor]:
        weights = dynamic_weights(
            logits,
            label,
            confidence,
            gamma_agree=agree,
            gamma_disagree=disagree,
            ignore_index=config.ignore_label,
            student_confidence=coded_confidence(logits),
        )
        return label, weights

    return rule


def coded_confidence(logits: Tensor) -> Tensor:
    """The student's confidence, rounded as the teacher's stored confidence was, so that the two can be compared."""
    return decode_confidence(confidence_code(logits))


def _apply_rule(rule: SiteRule | None, logits: Tensor | None, batch: Batch, config: Config) -> tuple[Tensor, Tensor]:
    """Targets and weights of the whole batch; labeled images keep their target at weight 1."""
    ones = torch.ones_like(batch.targets, dtype=torch.float32)
    if rule is None or logits is None:
        return batch.targets, ones
    target, weight = rule(logits, batch.targets, batch.confidence)
    if config.loss.weights_per_class == "mean_one":
        weight = weight * _scales_of_sites(weight, target, batch, config.ignore_label, num_classes=logits.shape[1])
    labeled = batch.is_labeled.reshape(-1, *[1] * (batch.targets.dim() - 1))
    return torch.where(labeled, batch.targets, target), torch.where(labeled, ones, weight)


def _scales_of_sites(weight: Tensor, target: Tensor, batch: Batch, ignore_index: int, *, num_classes: int) -> Tensor:
    """What each pseudo-labeled site's weight is multiplied with for a mean of 1 in its class, over all processes."""
    unlabeled = ~batch.is_labeled.reshape(-1, *[1] * (target.dim() - 1))
    valid = unlabeled & (target != ignore_index)
    sums = mean_over_processes(class_sums(weight, target, valid, num_classes=num_classes))
    return class_scales(sums)[torch.where(valid, target, 0)]


@torch.no_grad()
def _clean_logits(network: nn.Module, images: Tensor, batchnorm: str) -> Tensor:
    """Logits of unmixed images, in train mode; `frozen` keeps BatchNorm's running statistics."""
    if batchnorm == "update":
        logits: Tensor = network(images)
    else:
        with _kept_statistics(network):
            logits = network(images)
    # Autocast may keep this pass's casts of the weights, which have no gradient, for the pass that needs one.
    torch.clear_autocast_cache()
    return logits


@contextmanager
def _kept_statistics(network: nn.Module) -> Iterator[None]:
    layers = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    tracking = [layer.track_running_stats for layer in layers]
    for layer in layers:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer, tracked in zip(layers, tracking, strict=True):
            layer.track_running_stats = tracked


def _weight_logs(weights: Tensor, batch: Batch, *, ignore_index: int) -> dict[str, Tensor]:
    """Mean weight of the pseudo-labeled sites, and the share of them that count nothing; ignored ones are left out."""
    pseudo = ~batch.is_labeled.reshape(-1, *[1] * (weights.dim() - 1)) & (batch.targets != ignore_index)
    count = pseudo.sum().clamp(min=1)
    return {"mean_weight": (weights * pseudo).sum() / count, "share_vetoed": ((weights == 0) & pseudo).sum() / count}
