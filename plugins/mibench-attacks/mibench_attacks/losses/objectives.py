"""What an attack minimises: identity losses of logits, and an objective that looks at images through random views.

Every loss returns one value per image in float32, so that a sum over any batch gives each image the same gradient.
Shapes: B images of a batch, K classes, C channels, S = side in pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from mibench.api import TargetView
from mibench_attacks.views.transforms import Draw, RandomView

IdentityLoss = Callable[[Tensor, Tensor], Tensor]
LossName = Literal["poincare", "ce", "logit", "max_margin", "topk_margin"]

_TINY = 1e-12


def ce(logits_BK: Tensor, y_B: Tensor) -> Tensor:
    """Cross-entropy -log p_y (GMI, Zhang et al., CVPR 2020). Its gradient vanishes once p_y is near 1."""
    return cross_entropy(logits_BK.float(), y_B, reduction="none")


def logit(logits_BK: Tensor, y_B: Tensor) -> Tensor:
    """Negative target logit -l_y (LOMMA, Nguyen et al., CVPR 2023, without its feature regulariser). Unbounded."""
    return -_of_class(logits_BK.float(), y_B)


def max_margin(logits_BK: Tensor, y_B: Tensor) -> Tensor:
    """Margin -l_y + max over j != y of l_j (PLG-MI, Yuan et al., AAAI 2023). Unbounded; needs K >= 2."""
    return topk_margin(logits_BK, y_B, k=1)


def topk_margin(logits_BK: Tensor, y_B: Tensor, *, k: int = 20) -> Tensor:
    """Margin -l_y + mean of the k largest l_j with j != y (Diff-MI, Li et al., 2024).

    Args:
        logits_BK: logits.
        y_B: target classes.
        k: how many rivals; at most K - 1 are used, 0 leaves -l_y.
    """
    logits_BK = logits_BK.float()
    k = min(k, logits_BK.shape[1] - 1)
    if k == 0:
        return logit(logits_BK, y_B)
    rivals_BK = logits_BK.scatter(1, y_B[:, None], -math.inf)
    return rivals_BK.topk(k, dim=1).values.mean(1) - _of_class(logits_BK, y_B)


def poincare(logits_BK: Tensor, y_B: Tensor, *, xi: float = 1e-4) -> Tensor:
    """Poincare distance between L1-normalised logits and the shrunken one-hot target (PPA, Struppek et al., section 3).

    ``arccosh(1 + 2 |u - v|^2 / ((1 - |u|^2) (1 - |v|^2)))`` with ``u = l / |l|_1`` and ``v = clip(onehot - xi, 0, 1)``.
    Invariant when logits are scaled, not when they are shifted: it draws the other logits towards 0.

    ``1 - |v|^2`` is computed in closed form and arccosh through log1p, because both lose digits in float32;
    ``|l|_1`` and ``1 - |u|^2`` are kept away from 0.

    Args:
        logits_BK: logits of any float type.
        y_B: target classes.
        xi: how far the target stays inside the ball.
    """
    logits_BK = logits_BK.float()
    u_BK = logits_BK / logits_BK.abs().sum(1, keepdim=True).clamp_min(_TINY)
    v_BK = one_hot(y_B, logits_BK.shape[1]).to(u_BK) * (1 - xi)
    room_u_B = (1 - u_BK.square().sum(1)).clamp_min(_TINY)
    room_v = xi * (2 - xi)
    delta_B = 2 * (u_BK - v_BK).square().sum(1) / (room_u_B * room_v)
    return torch.log1p(delta_B + torch.sqrt(delta_B * (delta_B + 2)))


def identity_loss(name: LossName, *, topk: int = 20) -> IdentityLoss:
    """Return the identity loss of this name; ``topk`` is the k of ``topk_margin``."""
    losses: dict[LossName, IdentityLoss] = {
        "poincare": poincare,
        "ce": ce,
        "logit": logit,
        "max_margin": max_margin,
        "topk_margin": partial(topk_margin, k=topk),
    }
    return losses[name]


@dataclass(frozen=True, kw_only=True)
class Objective:
    """An identity loss averaged over random views.

    Attributes:
        loss: maps logits (B, K) and classes (B,) to a loss per image (B,).
        view: how views are drawn.
        views: how many views are averaged in each step; 1 for PPA.
    """

    loss: IdentityLoss = poincare
    view: RandomView = field(default_factory=RandomView)
    views: int = 1

    def draw(self, n: int, side: int, rng: torch.Generator) -> list[Draw]:
        """Draw the views of one step for ``n`` images of ``side`` pixels."""
        return [self.view.draw(n, side, rng) for _ in range(self.views)]

    def __call__(self, x_BCSS: Tensor, label: int, target: TargetView, draws: Sequence[Draw]) -> Tensor:
        """Return the loss of each image (B,), float32, for the draws of exactly these images."""
        y_B = torch.full((len(x_BCSS),), label, device=x_BCSS.device)
        per_view = [self.loss(target.logits(draw.apply(x_BCSS)), y_B) for draw in draws]
        return torch.stack(per_view).mean(0)


def _of_class(logits_BK: Tensor, y_B: Tensor) -> Tensor:
    return logits_BK.gather(1, y_B[:, None]).squeeze(1)
