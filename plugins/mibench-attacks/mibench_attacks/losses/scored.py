"""Losses of what an interface with scores gives out: functions of log-probabilities, over the image and views of it.

Shapes: B images of a batch, K classes, C channels, S = side in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Le
from torch import Tensor

from mibench.api import TargetView
from mibench_attacks.views.transforms import Draw, RandomView

ScoreLoss = Literal["ce", "max_margin"]


@dataclass(frozen=True, kw_only=True)
class ScoredViews:
    """The mean of a loss of log-probabilities over the image itself and random views of it.

    Raw logits hold more than a service that answers with probabilities gives out, so only their log-softmax is used. It
    is taken in double precision: a search that compares losses has to tell apart images of which the target is sure.

    Attributes:
        loss: ce is -log p of the class; max_margin is the largest log p of another class less that of the class.
        views: random views that are averaged beside the image itself; all images of a step share them.
        crop_scale: smallest and largest area share of the views.
        flip: probability that a view is mirrored.

    Raises:
        UsageError: for impossible crops.
    """

    loss: ScoreLoss = "ce"
    views: Annotated[int, Ge(0)] = 0
    crop_scale: tuple[float, float] = (0.9, 1.0)
    flip: Annotated[float, Ge(0), Le(1)] = 0.5

    def __post_init__(self) -> None:
        _ = self.view  # impossible crops are refused here, not after hours of work

    @property
    def view(self) -> RandomView:
        """The random views."""
        return RandomView(scale=self.crop_scale, flip=self.flip)

    @property
    def queries(self) -> int:
        """Forward passes for each image."""
        return 1 + self.views

    def draw(self, n: int, side: int, rng: torch.Generator) -> list[Draw]:
        """Draw the views of one step for ``n`` images of ``side`` pixels, the same for all."""
        return [self.view.draw(n, side, rng) for _ in range(self.views)]

    def __call__(self, x_BCSS: Tensor, label: int, target: TargetView, draws: Sequence[Draw]) -> Tensor:
        """Return the loss of each image (B,), float64, for the draws of exactly these images."""
        seen = [x_BCSS, *(draw.apply(x_BCSS) for draw in draws)]
        return torch.stack([self._of(target.logits(view_BCSS), label) for view_BCSS in seen]).mean(0)

    def _of(self, logits_BK: Tensor, label: int) -> Tensor:
        log_p_BK = logits_BK.double().log_softmax(1)
        if self.loss == "ce":
            return -log_p_BK[:, label]
        rivals_BK = log_p_BK.clone()
        rivals_BK[:, label] = -torch.inf
        return rivals_BK.amax(1) - log_p_BK[:, label]
