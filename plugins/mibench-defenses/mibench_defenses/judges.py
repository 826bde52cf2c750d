"""The discriminators of Trap-MID: what they are, what they look at, their training and what they tell.

Shapes: B images of a batch, C channels, H = W pixels, K classes, D features.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as bce
from torch.nn.functional import one_hot

from mibench.api import Classifier, Outputs, TrainContext

Judges = Literal["pixel", "feature", "both", "none"]
"""``pixel``: the target's architecture with one logit; ``feature``: a small network on features and decision."""
Reduction = Literal["sum", "mean"]
"""Of a discriminator's two halves, natural and triggered images, whose losses are means of their own."""


def kinds(judges: Judges) -> dict[str, str]:
    """Return the kind of each discriminator by its name among the extras."""
    if judges == "both":
        return {"discriminator": "pixel", "discriminator_feature": "feature"}
    return {} if judges == "none" else {"discriminator": judges}


def add_judges(judges: Judges, classifier: Classifier, hidden: int, ctx: TrainContext) -> None:
    """Put discriminators and their optimisers into the extras, with fresh weights or those of the target."""
    for name, kind in kinds(judges).items():
        judge = pixel_judge(classifier) if kind == "pixel" else feature_judge(classifier, hidden)
        ctx.extras[name] = judge.to(ctx.device)
        ctx.extras[f"{name}_optimizer"] = ctx.new_optimizer(judge.parameters())


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
