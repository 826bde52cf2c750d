"""Alternating descent on two losses, the gradient of the second limited by that of the first.

Shapes: N starting points, B of a batch; variables are (N, ...).
Source: Li et al., "Model Inversion Attacks Through Target-Specific Conditional Diffusion Models" (arXiv 2407.11424) and
its code, which compares norms of whole batches; here each image is on its own, so that a batch changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Gt
from torch import Tensor

from mibench.api import Ledger
from mibench_attacks.search.gradient_search import GradientSearch, Report
from mibench_attacks.search.optimisers import adamax

Hook = Callable[[Tensor], Tensor]
StepLoss = Callable[[Tensor, slice, int], Tensor]
"""``loss(x, rows, step)`` of these rows (B,), each independent of the others."""


@dataclass
class Alternated:
    """Where the search ended.

    Attributes:
        x_N: optimised points, detached.
        first: first loss before each of its updates, averaged over the points.
        second: the same of the second loss.
    """

    x_N: Tensor
    first: list[float]
    second: list[float]


@dataclass(frozen=True, kw_only=True)
class AlternatingSearch:
    """Updates of one Adamax, by turns on two losses.

    Attributes:
        restarts: starting points per class.
        steps: updates on each of the two losses.
        lr: learning rate of Adamax; pixels are in [-1, 1].
        clip_ratio: largest gradient norm of the second loss, in units of a moving average of that of the first.
    """

    restarts: Annotated[int, Ge(1)] = 5
    steps: Annotated[int, Ge(0)] = 30
    lr: Annotated[float, Gt(0)] = 1.0
    clip_ratio: Annotated[float, Gt(0)] = 1.25

    def run(
        self,
        start_N: Tensor,
        first: StepLoss,
        second: StepLoss,
        *,
        where: str,
        batch: int,
        report: Report | None = None,
        ledger: Ledger | None = None,
    ) -> Alternated:
        """Descend from ``start_N`` (which is not changed); arguments as of :meth:`GradientSearch.run`."""
        norm_clip = GradientNormClip(start_N, self.clip_ratio)

        def loss(variables: Sequence[Tensor], rows: slice, update: int) -> Tensor:
            step, is_second = divmod(update, 2)
            x_B = variables[0]
            x_B.register_hook(norm_clip.clipping(rows) if is_second else norm_clip.recording(rows))
            return second(x_B, rows, step) if is_second else first(x_B, rows, step)

        search = GradientSearch(steps=2 * self.steps, optimizer=adamax(self.lr), batch=batch)
        found = search.run([start_N], loss, where=where, report=report, ledger=ledger)
        return Alternated(found.variables[0], found.trace["loss"][::2], found.trace["loss"][1::2])


class GradientNormClip:
    """Limits the gradient norms of one loss, point by point, by those of another.

    Args:
        points_N: as many points; they are not kept.
        ratio: largest norm, in units of the average.

    Attributes:
        norm_N: moving average (decay 1/2) of the norms that were recorded; NaN before the first.
    """

    def __init__(self, points_N: Tensor, ratio: float) -> None:
        self.norm_N, self.ratio = points_N.new_full((len(points_N),), torch.nan), ratio

    def recording(self, rows: slice) -> Hook:
        """Return a hook that records the norms of gradients and does not change them."""

        def record(gradient_B: Tensor) -> Tensor:
            norm_B, before_B = gradient_B.flatten(1).norm(dim=1), self.norm_N[rows]
            self.norm_N[rows] = torch.where(before_B.isfinite(), before_B.lerp(norm_B, 0.5), norm_B)
            return gradient_B

        return record

    def clipping(self, rows: slice) -> Hook:
        """Return a hook that scales gradients down to at most ``ratio`` times the norm recorded."""

        def clip(gradient_B: Tensor) -> Tensor:
            norm_B = gradient_B.flatten(1).norm(dim=1)
            factor_B: Tensor = (self.ratio * self.norm_N[rows] / norm_B.clamp_min(1e-20)).clamp(max=1)
            return gradient_B * factor_B.view(-1, *[1] * (gradient_B.ndim - 1))

        return clip
