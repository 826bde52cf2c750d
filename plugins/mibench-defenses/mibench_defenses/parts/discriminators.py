"""The discriminators of Trap-MID: what they are, what they look at, their training and what they tell.

Shapes: B images of a batch, C channels, H = W pixels, K classes, D features.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as bce
from torch.nn.functional import one_hot

from mibench.api import Classifier, Outputs, TrainContext, without_weight_gradients

Judges = Literal["pixel", "feature", "both", "none"]
"""``pixel``: the target's architecture with one logit; ``feature``: a small network on features and decision."""
Reduction = Literal["sum", "mean"]
"""Of a discriminator's two halves, natural and triggered images, whose losses are means of their own."""

Signals = dict[str, Tensor | float]
"""Numbers of a step to log, by name."""


@dataclass(frozen=True)
class Panel:
    """The discriminators of a training; they and their optimisers are among the extras.

    Attributes:
        judges: which there are.
        hidden: hidden units of the feature discriminator; 0 is as many as its inputs.
        reduction: of their losses.
    """

    judges: Judges
    hidden: int
    reduction: Reduction

    @property
    def kinds(self) -> dict[str, str]:
        """The kind of each discriminator by its name among the extras."""
        if self.judges == "both":
            return {"discriminator": "pixel", "discriminator_feature": "feature"}
        return {} if self.judges == "none" else {"discriminator": self.judges}

    def add(self, classifier: Classifier, ctx: TrainContext) -> None:
        """Make them: with the target's weights but for the head, or fresh ones."""
        for name, kind in self.kinds.items():
            judge = pixel_judge(classifier) if kind == "pixel" else feature_judge(classifier, self.hidden)
            ctx.extras[name] = judge.to(ctx.device)
            ctx.extras[f"{name}_optimizer"] = ctx.new_optimizer(judge.parameters())

    def follow_rate(self, ctx: TrainContext) -> None:
        """Give their optimisers the epoch's learning rate."""
        for name in self.kinds:
            for group in ctx.extras[f"{name}_optimizer"].param_groups:
                group["lr"] = ctx.lr

    def teach(self, model: Classifier, x_both: Tensor, ctx: TrainContext) -> Signals:
        """Take one step of each on natural (1) and triggered (0) images, half each; returns their accuracies."""
        accuracies: Signals = {} if self.kinds else {"discriminator_accuracy": 0.0}
        for name, kind in self.kinds.items():
            with torch.no_grad():
                seen = evidence(model, x_both, kind)
            judge, optimizer = ctx.extras[name], ctx.extras[f"{name}_optimizer"]
            accuracies[f"{name}_accuracy"] = teach(judge, optimizer, seen, self.reduction)
        return accuracies

    def unmasking(self, model: Classifier, x_BCHW: Tensor, ctx: TrainContext) -> Tensor | float:
        """Return how far images are from passing for natural, the mean over discriminators; 0 without any."""
        losses = []
        for name, kind in self.kinds.items():
            judge = ctx.extras[name].eval()
            with without_weight_gradients(judge):
                losses.append(towards(judge(evidence(model, x_BCHW, kind))[:, 0], 1) / len(self.kinds))
        return sum(losses[1:], losses[0]) if losses else 0.0

    def doubt(self, outputs: Outputs, ctx: TrainContext) -> Tensor:
        """Return how far the feature discriminator is from being undecided about every image; scalar."""
        judge = ctx.extras[next(name for name, kind in self.kinds.items() if kind == "feature")].eval()
        with without_weight_gradients(judge):
            return towards(judge(seen_features(outputs))[:, 0], 0.5)


def pixel_judge(classifier: Classifier) -> Classifier:
    """Return a discriminator of images: a copy of a classifier with one fresh logit; auxiliary heads stay idle."""
    judge = deepcopy(classifier)
    judge.replace_head(nn.Linear(classifier.feature_dim, 1))
    return judge.requires_grad_(True)


def feature_judge(classifier: Classifier, hidden: int = 256) -> nn.Module:
    """Return a discriminator (B, D + K) -> (B, 1) of features and one-hot decisions; ``hidden`` 0 is D + K units."""
    entering = classifier.feature_dim + classifier.num_classes
    hidden = hidden or entering
    return nn.Sequential(nn.Linear(entering, hidden), nn.ReLU(), nn.Linear(hidden, 1))


def evidence(model: Classifier, x_BCHW: Tensor, kind: str) -> Tensor:
    """Return what a discriminator looks at: images, or the target's features and one-hot decision."""
    return x_BCHW if kind == "pixel" else seen_features(model.outputs(x_BCHW))


def seen_features(outputs: Outputs) -> Tensor:
    """Return features and one-hot decision (B, D + K), differentiable in the features alone."""
    decision_BK = one_hot(outputs.logits.argmax(1), outputs.logits.shape[1])
    return torch.cat([outputs.features.flatten(1), decision_BK.to(outputs.features)], 1)


def teach(judge: nn.Module, optimizer: torch.optim.Optimizer, seen: Tensor, reduction: Reduction) -> Tensor:
    """Take one step of a discriminator on natural (1) and triggered (0) evidence, half each; returns its accuracy."""
    logit_natural_B, logit_triggered_B = judge.train()(seen)[:, 0].chunk(2)
    optimizer.zero_grad(set_to_none=True)
    loss = towards(logit_natural_B, 1) + towards(logit_triggered_B, 0)
    (loss / 2 if reduction == "mean" else loss).backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return torch.cat([logit_natural_B > 0, logit_triggered_B <= 0]).float().mean()


def towards(logit_B: Tensor, natural: float) -> Tensor:
    """Return the mean binary cross-entropy of a discriminator's logits against one answer in [0, 1]; scalar."""
    return bce(logit_B, torch.full_like(logit_B, natural))
