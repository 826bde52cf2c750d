"""The loss of DeepInversion: cross-entropy, BatchNorm statistics, total variation and norm of pixels.

Shapes: M images of a batch, C channels, S = side in pixels.
Source: Yin et al., "Dreaming to Distill", CVPR 2020.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor
from torch.nn.functional import avg_pool2d

from mibench.api import TargetView
from mibench_attacks.losses.objectives import ce
from mibench_attacks.losses.pixel_priors import batchnorm_distance, mean_norm, total_variation
from mibench_attacks.views.transforms import hflip


@dataclass(frozen=True, kw_only=True)
class DeepInversionObjective:
    """``CE(T(x), y) + r_feat sum_l c_l (|mu_l(x) - mu_l| + |var_l(x) - var_l|) + a_tv TV(u) + a_l2 |u|``.

    ``x = 0.5 + unit u``; u is what is optimised.

    Attributes:
        r_feat: weight of the BatchNorm statistics.
        first_bn: factor c_l of the first BatchNorm layer; the others have 1.
        a_tv: weight of the total variation.
        a_l2: weight of the norm of an image.
        jitter: images are rolled by up to so many pixels in both directions.
        flip: probability of mirroring in a step.
        unit: pixels are optimised in units of this part of [0, 1], around 0.5. Published rates and weights count in
            the standard deviations by which networks normalise: 0.225 on ImageNet.
    """

    r_feat: Annotated[float, Ge(0)] = 0.01
    first_bn: Annotated[float, Ge(0)] = 10.0
    a_tv: Annotated[float, Ge(0)] = 1e-4
    a_l2: Annotated[float, Ge(0)] = 1e-5
    jitter: Annotated[int, Ge(0)] = 30
    flip: Annotated[float, Ge(0), Le(1)] = 0.5
    unit: Annotated[float, Gt(0)] = 0.225

    def pixels(self, u_MCSS: Tensor) -> Tensor:
        """Return images, in [0, 1] where u is within its bounds."""
        return 0.5 + self.unit * u_MCSS

    def clamped(self, u_MCSS: Tensor) -> Tensor:
        """Return u within the bounds of possible images, for any number of leading dimensions."""
        return u_MCSS.clamp(-0.5 / self.unit, 0.5 / self.unit)

    def moved(self, u_MCSS: Tensor, rng: torch.Generator) -> Tensor:
        """Return all images rolled and perhaps mirrored, together."""
        shifts = torch.randint(-self.jitter, self.jitter + 1, (2,), generator=rng).tolist()
        u_MCSS = u_MCSS.roll(shifts, dims=(-2, -1))
        return hflip(u_MCSS) if torch.rand((), generator=rng).item() < self.flip else u_MCSS

    def loss(self, u_MCSS: Tensor, label: int, target: TargetView, *, shrink: int = 1) -> Tensor:
        """Return the loss of a batch (scalar), which the target sees smaller by ``shrink``."""
        u_MCSS = avg_pool2d(u_MCSS, shrink) if shrink > 1 else u_MCSS
        y_M = torch.full((len(u_MCSS),), label, device=u_MCSS.device)
        with batchnorm_distance(target.module()) as distances:
            total = ce(target.logits(self.pixels(u_MCSS)), y_M).mean()
        for position, distance in enumerate(distances):
            total = total + self.r_feat * (self.first_bn if position == 0 else 1.0) * distance
        return total + self.a_tv * total_variation(u_MCSS) + self.a_l2 * mean_norm(u_MCSS)
