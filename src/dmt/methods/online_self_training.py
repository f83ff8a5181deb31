"""Online self-training: pseudo labels made anew in every step, by the network in training."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from dmt.methods.base import LABELING, Method, batch_loss, supervised_stage
from dmt.types import Batch, Stage, StepOutput


class OnlineSelfTraining(Method):
    """The network's own answers above a threshold, from the same forward pass (paper, sections 2.1 and 5.4).

    One phase after round 0, without mixup: it would need the labels before the images are mixed.
    """

    summary = "pseudo labels from the same forward pass, kept above confidence 0.9"
    source = "paper, section 5.4 and Table 9 (Online ST)"
    unused = (
        "scheme",
        "start",
        "networks.b",
        *LABELING,
        "loss.gamma_agree",
        "loss.gamma_disagree",
        "loss.ramp",
        "loss.naive_exponent",
        "loss.flip_exponent",
        "loss.weight_batchnorm",
        "loss.weights_per_class",
        "mixup.keep_max",
    )

    def plan(self) -> tuple[Stage, ...]:
        """Round 0, then one phase of fine-tuning."""
        return (supervised_stage(), Stage(round=1, trains=("a",), start="finetune", unlabeled=True))

    def training_step(
        self, networks: Mapping[str, nn.Module], batch: Batch, progress: float, generator: np.random.Generator
    ) -> StepOutput:
        """Mean cross-entropy over labels and confident predictions; the ignored ones do not count in the mean."""
        (network,) = networks.values()
        ignore_index = self.config.ignore_label
        logits = network(batch.images)
        confidence, own = logits.detach().float().softmax(dim=1).max(dim=1)
        # The padding of a view is the one place of confidence 0 (see WithoutLabels).
        confident = (confidence > self.config.loss.confidence_threshold) & (batch.confidence > 0)
        labeled = batch.is_labeled.reshape(-1, *[1] * (batch.targets.dim() - 1))
        target = torch.where(labeled, batch.targets, torch.where(confident, own, ignore_index))
        ones = torch.ones_like(confidence)
        loss = batch_loss(logits, target, ones, ignore_index=ignore_index, class_weights=batch.class_weights)
        unlabeled = (~labeled).expand_as(confident)
        share = (confident & unlabeled).sum() / unlabeled.sum().clamp(min=1)
        return StepOutput(loss=loss, logs={"share_confident": share})
