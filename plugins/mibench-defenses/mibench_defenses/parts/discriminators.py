"""The discriminators of Trap-MID: their kinds, inputs, training and losses.

Shapes: B images of a batch, C channels, H = W pixels, K classes, D features.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Ge
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as bce
from torch.nn.functional import one_hot

from mibench.api import Classifier, OmitIfDefault, Outputs, TrainContext, UsageError, without_weight_gradients

Kind = Literal["pixel", "feature", "both", "none"]
"""``pixel``: the target's architecture with one logit; ``feature``: a small network on features and decision."""
Reduction = Literal["sum", "mean"]
"""Of a discriminator's two halves, natural and triggered images, whose losses are means of their own."""

Signals = dict[str, Tensor | float]
"""Numbers of a step to log, by name."""


@dataclass(frozen=True, kw_only=True)
class Discriminators:
    """The discriminators of a training; they and their optimisers are among the extras.

    Attributes:
        kind: ``pixel`` (the target's architecture with one logit), ``feature`` (a small network on the target's
            features and one-hot decision), ``both``, each with half the weight for the triggers, or ``none``.
        reduction: of a discriminator's two halves, natural and triggered: ``mean`` is the released one, over all 2B
            images, ``sum`` twice that. The factor is nothing to Adam and doubles the rate of SGD.
        hidden: hidden units of the feature discriminator; 0 is as many as its inputs, as in the released code.
        feature_loss: train the target too so that the feature discriminator (needed) is undecided on both halves;
            weight beta.

    Raises:
        UsageError: for a feature loss without a feature discriminator.
    """

    kind: Kind = "pixel"
    reduction: Annotated[Reduction, OmitIfDefault()] = "sum"
    hidden: Annotated[int, Ge(0), OmitIfDefault()] = 256
    feature_loss: Annotated[bool, OmitIfDefault()] = False

    def __post_init__(self) -> None:
        if self.feature_loss and self.kind not in ("feature", "both"):
            raise UsageError("trap-mid: feature_loss needs discriminator=feature or both.")

    @property
    def kinds(self) -> dict[str, str]:
        """The kind of each discriminator by its name among the extras."""
        if self.kind == "both":
            return {"discriminator": "pixel", "discriminator_feature": "feature"}
        return {} if self.kind == "none" else {"discriminator": self.kind}

    @property
    def cost(self) -> int:
        """Passes for a batch (forward 1, backward 2): their own steps on twice as many images, and the triggers'."""
        return {"none": 0, "pixel": 2 * 3 + 2, "feature": 2 + 2, "both": 2 * 3 + 2 + 2 + 2}[self.kind]

    def add(self, classifier: Classifier, ctx: TrainContext) -> None:
        """Make them: with the target's weights except for the head, or fresh ones."""
        for name, kind in self.kinds.items():
            pixel = kind == "pixel"
            new = pixel_discriminator(classifier) if pixel else feature_discriminator(classifier, self.hidden)
            ctx.extras[name] = new.to(ctx.device)
            ctx.extras[f"{name}_optimizer"] = ctx.new_optimizer(new.parameters())

    def follow_rate(self, ctx: TrainContext) -> None:
        """Give their optimisers the epoch's learning rate."""
        for name in self.kinds:
            for group in ctx.extras[f"{name}_optimizer"].param_groups:
                group["lr"] = ctx.lr

    def train_step(self, model: Classifier, x_both: Tensor, ctx: TrainContext) -> Signals:
        """Take one step of each on natural (1) and triggered (0) images, half each; returns their accuracies."""
        accuracies: Signals = {} if self.kinds else {"discriminator_accuracy": 0.0}
        for name, kind in self.kinds.items():
            with torch.no_grad():
                inputs = inputs_of(model, x_both, kind)
            discriminator, optimizer = ctx.extras[name], ctx.extras[f"{name}_optimizer"]
            accuracies[f"{name}_accuracy"] = train_step(discriminator, optimizer, inputs, self.reduction)
        return accuracies

    def naturalness_loss(self, model: Classifier, x_BCHW: Tensor, ctx: TrainContext) -> Tensor | float:
        """Return how far images are from passing for natural, the mean over discriminators; 0 without any."""
        losses = []
        for name, kind in self.kinds.items():
            discriminator = ctx.extras[name].eval()
            with without_weight_gradients(discriminator):
                logit_B = discriminator(inputs_of(model, x_BCHW, kind))[:, 0]
                losses.append(bce_towards(logit_B, 1) / len(self.kinds))
        return sum(losses[1:], losses[0]) if losses else 0.0

    def undecided_loss(self, outputs: Outputs, ctx: TrainContext) -> Tensor:
        """Return how far the feature discriminator is from being undecided about every image; scalar."""
        name = next(name for name, kind in self.kinds.items() if kind == "feature")
        discriminator = ctx.extras[name].eval()
        with without_weight_gradients(discriminator):
            return bce_towards(discriminator(features_and_decision(outputs))[:, 0], 0.5)


def pixel_discriminator(classifier: Classifier) -> Classifier:
    """Return a discriminator of images: a copy of a classifier with one fresh logit; auxiliary heads stay idle."""
    discriminator = deepcopy(classifier)
    discriminator.replace_head(nn.Linear(classifier.feature_dim, 1))
    return discriminator.requires_grad_(True)


def feature_discriminator(classifier: Classifier, hidden: int = 256) -> nn.Module:
    """Return a discriminator (B, D + K) -> (B, 1) of features and one-hot decisions; ``hidden`` 0 is D + K units."""
    entering = classifier.feature_dim + classifier.num_classes
    hidden = hidden or entering
    return nn.Sequential(nn.Linear(entering, hidden), nn.ReLU(), nn.Linear(hidden, 1))


def inputs_of(model: Classifier, x_BCHW: Tensor, kind: str) -> Tensor:
    """Return the input of a discriminator: images, or the target's features and one-hot decision."""
    return x_BCHW if kind == "pixel" else features_and_decision(model.outputs(x_BCHW))


def features_and_decision(outputs: Outputs) -> Tensor:
    """Return features and one-hot decision (B, D + K), differentiable in the features alone."""
    decision_BK = one_hot(outputs.logits.argmax(1), outputs.logits.shape[1])
    return torch.cat([outputs.features.flatten(1), decision_BK.to(outputs.features)], 1)


def train_step(
    discriminator: nn.Module, optimizer: torch.optim.Optimizer, inputs: Tensor, reduction: Reduction
) -> Tensor:
    """Take one step of a discriminator on natural (1) and triggered (0) inputs, half each; returns its accuracy."""
    logit_natural_B, logit_triggered_B = discriminator.train()(inputs)[:, 0].chunk(2)
    optimizer.zero_grad(set_to_none=True)
    loss = bce_towards(logit_natural_B, 1) + bce_towards(logit_triggered_B, 0)
    (loss / 2 if reduction == "mean" else loss).backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return torch.cat([logit_natural_B > 0, logit_triggered_B <= 0]).float().mean()


def bce_towards(logit_B: Tensor, natural: float) -> Tensor:
    """Return the mean binary cross-entropy of a discriminator's logits against one answer in [0, 1]; scalar."""
    return bce(logit_B, torch.full_like(logit_B, natural))
