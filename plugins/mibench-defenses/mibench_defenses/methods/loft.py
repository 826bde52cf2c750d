"""Low-rank feature filtering: a head of two thin linear layers with tanh.

Shapes: B images of a batch, K classes, D features, R rank.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from annotated_types import Ge
from torch import Tensor, nn

from mibench.api import Classifier, Defense, SelfCheck, TrainContext, UsageError

Where = Literal["between", "after", "both", "none"]
SLOPE_BELOW = 0.9
"""Mean slope of tanh below which it counts as active; above it, its units are all but linear."""
SATURATED_BELOW = 0.1
"""Slope of a saturated unit: it passes less than a tenth of the gradient."""


@dataclass(frozen=True, kw_only=True)
class LowRankFilter(Defense):
    """Replace the head by logits = W2 tanh(W1 f + b1) + b2, with R rows in W1: few directions, vanishing gradients.

    Without tanh the head is linear with a matrix W2 W1 of rank at most R. Only features are filtered; earlier layers
    keep theirs. The confidence-adaptation loss of the method's first version (CALoR) is not part of this: its formula
    was not available.

    Source: Yu et al., arXiv 2410.05814 (LoFt, first versions CALoR). Rank, place of tanh and initialisation of the
    publication were not available either: all defaults are our own.

    Attributes:
        rank: R, below both D and K; ``None`` is half of the smaller of D and K.
        where: place of tanh: ``between`` the layers, ``after`` them on the logits (then no class can get more than
            e^2 / (e^2 + K - 1) of the probability), ``both``, or ``none`` for the rank alone.
        init: initial weights: torch's ``default`` for linear layers, or ``orthogonal`` rows with zero biases.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "rank-only": {"where": "none"},  # an ablation
    }

    rank: Annotated[int | None, Ge(1)] = None
    where: Where = "between"
    init: Literal["default", "orthogonal"] = "default"

    def build(self, classifier: Classifier, ctx: TrainContext) -> Classifier:
        """Put the two layers in the place of the linear head.

        Raises:
            UsageError: if the head is not a linear layer any more, or the rank filters nothing.
        """
        if not isinstance(classifier.head, nn.Linear):
            raise UsageError("loft replaces a linear head, and this one is not: combine it with no other head defense.")
        features, num_classes = classifier.feature_dim, classifier.num_classes
        full = min(features, num_classes)
        rank = self.rank or full // 2
        if not 1 <= rank < full:
            raise UsageError(
                f"loft with rank {rank} filters nothing from {features} features to {num_classes} classes;"
                f" use a rank from 1 to {full - 1}."
            )
        classifier.replace_head(LowRankHead(features, rank, num_classes, where=self.where, init=self.init))
        ctx.extras["tanh"] = torch.zeros(3, device=ctx.device)
        return classifier

    def on_epoch_start(self, model: Classifier, ctx: TrainContext) -> None:
        """Begin the means of the epoch anew."""
        ctx.extras["tanh"] = torch.zeros(3, device=ctx.device)

    def on_step_end(self, model: Classifier, ctx: TrainContext) -> None:
        """Add up how far the step's last forward pass saturated tanh; a loss is left to other defenses."""
        extra = _head(model).extra
        ctx.extras["tanh"] += torch.stack([extra["slope"], extra["saturated"], torch.ones_like(extra["slope"])])

    def self_check(self, model: Classifier, ctx: TrainContext) -> SelfCheck:
        """Active iff the rank of W2 W1 is low and, where there is tanh, its mean slope in the last epoch is too."""
        head = _head(model)
        slope, saturated, steps = ctx.extras["tanh"].tolist()
        slope, saturated = (slope / steps, saturated / steps) if steps else (math.nan, math.nan)
        product_KD = (head.expand.weight.double() @ head.filter.weight.double()).detach()
        rank, full = int(torch.linalg.matrix_rank(product_KD)), min(product_KD.shape)
        reason = f"rank {rank} of at most {head.rank}, {full} without the filter; last epoch: mean slope of tanh"
        reason += f" {slope:.3g} (active below {SLOPE_BELOW}), {saturated:.1%} of its units saturated"
        bent = slope < SLOPE_BELOW or self.where == "none"
        return SelfCheck(
            active=rank <= head.rank < full and bent,
            signals={"rank": rank, "full_rank": full, "slope": slope, "saturated": saturated},
            reason=reason if self.where != "none" else reason.split(";")[0],
        )


class LowRankHead(nn.Module):
    """Features (B, D) to logits (B, K) through R dimensions.

    After a pass, ``extra`` holds the mean ``slope`` of all units of tanh in the batch, and the share that is
    ``saturated``; 1 and 0 without tanh.

    Args:
        features: D.
        rank: R.
        num_classes: K.
        where: place of tanh.
        init: initial weights.
    """

    def __init__(
        self, features: int, rank: int, num_classes: int, *, where: Where, init: Literal["default", "orthogonal"]
    ) -> None:
        super().__init__()
        self.filter = nn.Linear(features, rank)
        self.expand = nn.Linear(rank, num_classes)
        self.rank, self.where = rank, where
        self.extra: dict[str, Tensor] = {}
        for layer in (self.filter, self.expand) if init == "orthogonal" else ():
            nn.init.orthogonal_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, features_BD: Tensor) -> Tensor:
        """Return logits (B, K)."""
        bent: list[Tensor] = []
        h_BR: Tensor = self.filter(features_BD)
        if self.where in ("between", "both"):
            bent.append(h_BR := h_BR.tanh())
        logits_BK: Tensor = self.expand(h_BR)
        if self.where in ("after", "both"):
            bent.append(logits_BK := logits_BK.tanh())
        values = torch.cat([value.detach().flatten() for value in bent]) if bent else features_BD.new_zeros(1)
        slopes = 1 - values.square()
        self.extra = {"slope": slopes.mean(), "saturated": (slopes < SATURATED_BELOW).to(slopes).mean()}
        return logits_BK


def _head(model: Classifier) -> LowRankHead:
    return next(module for module in model.modules() if isinstance(module, LowRankHead))
