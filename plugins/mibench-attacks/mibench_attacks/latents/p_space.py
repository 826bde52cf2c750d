"""P-space: style vectors before the last leaky ReLU of a mapping network, where they are nearly Gaussian (MIRROR).

Shapes: N latents, L style layers, W size of a style vector.
Source: An et al., "MIRROR", NDSS 2022.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, Self

import torch
from annotated_types import Gt
from torch import Tensor
from torch.nn.functional import leaky_relu

Space = Literal["p", "latent"]

_SLOPE = 0.2  # of the mapping network's leaky ReLUs; its gain only scales, and scaling commutes with both maps


def to_p(w_NLW: Tensor) -> Tensor:
    """Undo the leaky ReLU: a leaky ReLU of slope 5."""
    return leaky_relu(w_NLW, 1 / _SLOPE)


def to_w(p_NLW: Tensor) -> Tensor:
    """Apply the leaky ReLU of slope 0.2."""
    return leaky_relu(p_NLW, _SLOPE)


@dataclass(frozen=True)
class Box:
    """The box mean +- k * std of each coordinate over a sample, in P-space or in the space of the latents themselves.

    Attributes:
        space: ``"p"`` or ``"latent"``.
        low_LW: lower bounds in that space.
        high_LW: upper bounds in that space.
    """

    space: Space
    low_LW: Tensor
    high_LW: Tensor

    @classmethod
    def around(cls, latents_NLW: Tensor, *, space: Space, k: float) -> Self:
        """Measure the box on a sample of latents."""
        points_NLW = to_p(latents_NLW) if space == "p" else latents_NLW
        mean_LW, reach_LW = points_NLW.mean(0), k * points_NLW.std(0, correction=0)
        return cls(space, mean_LW - reach_LW, mean_LW + reach_LW)

    def to(self, device: torch.device) -> Self:
        """Return the box on a device; a sample that is too large for one is measured elsewhere."""
        return type(self)(self.space, self.low_LW.to(device), self.high_LW.to(device))

    def clip(self, latents_NLW: Tensor) -> Tensor:
        """Return the nearest latents whose coordinates are within the box."""
        if self.space == "latent":
            return latents_NLW.clamp(self.low_LW, self.high_LW)
        return to_w(to_p(latents_NLW).clamp(self.low_LW, self.high_LW))


@dataclass(frozen=True, kw_only=True)
class BoxShape:
    """The box that latents are kept in.

    Attributes:
        space: where the box is: 'p' for priors whose latents are style vectors w of a StyleGAN, 'latent' for others
            (PCA, DCGAN), in which P-space means nothing and the latents themselves are clipped.
        k: half the width of the box in standard deviations.
    """

    space: Space = "p"
    k: Annotated[float, Gt(0)] = 1.0

    def around(self, latents_NLW: Tensor) -> Box:
        """Measure the box on a sample of latents."""
        return Box.around(latents_NLW, space=self.space, k=self.k)
