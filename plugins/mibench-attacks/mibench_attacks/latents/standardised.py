"""Latents in standardised coordinates: 0 is the mean of a pool, 1 its standard deviation, whatever the prior.

Shapes: N points, D coordinates, L style layers, W size of a style vector, Z size of the noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt
from torch import Tensor

from mibench.api import Prior, UsageError
from mibench_attacks.latents.p_space import to_p, to_w
from mibench_attacks.selection.pool import CandidatePool

Where = Literal["noise", "latent", "p"]


@dataclass(frozen=True)
class Standardised:
    """Coordinates (N, D), measured on a pool.

    Attributes:
        where: what they are coordinates of: noise (D = Z), or one style vector for all layers (D = W), in P-space or as
            it is.
        prior: maps noise to latents.
        pool: how noise is truncated.
        points_ND: the pool, not standardised.
        mean_D: its mean.
        std_D: its standard deviation; where that is 0, the coordinate is fixed.
    """

    where: Where
    prior: Prior
    pool: CandidatePool
    points_ND: Tensor
    mean_D: Tensor
    std_D: Tensor

    def of_pool(self, index_N: Tensor) -> Tensor:
        """Return the coordinates (N, D) of members of the pool, float64."""
        offset_ND = (self.points_ND[index_N] - self.mean_D).double()
        return torch.where(self.std_D > 0, offset_ND / self.std_D.double(), 0.0)

    def latents(self, u_ND: Tensor) -> Tensor:
        """Return the latents (N, L, W) of coordinates, on the prior's device; L is 1 for a single style vector."""
        points_ND = (self.mean_D + self.std_D * u_ND.to(self.mean_D)).to(self.prior.device)
        if self.where == "noise":
            return self.prior.to_latent(points_ND, truncation=self.pool.truncation, cutoff=self.pool.cutoff)
        return (to_w(points_ND) if self.where == "p" else points_ND)[:, None]


@dataclass(frozen=True, kw_only=True)
class SearchSpace:
    """Where a search without gradients moves, and how it is kept near the prior's distribution.

    Attributes:
        space: what is searched: the prior's 'noise', which every prior has; one 'latent' for all style layers; or 'p',
            the same before the last leaky ReLU of a StyleGAN's mapping network.
        k: bound of each coordinate, in standard deviations of the pool around its mean.
        penalty: weight of half the squared distance from the mean, in standard deviations, that is added to the loss. 0
            is none; 1, with the loss ce on Gaussian noise, asks for the most probable image given its class.
    """

    space: Where = "noise"
    k: Annotated[float, Gt(0)] = 3.0
    penalty: Annotated[float, Ge(0)] = 0.0

    def check(self, prior: Prior, *, attack: str) -> None:
        """Refuse a space that this prior does not have.

        Raises:
            UsageError: for P-space without style layers, or if there are fewer than two coordinates.
        """
        if self.space == "p" and prior.latent_layers == 1:
            raise UsageError(
                f"attack {attack!r}: this prior has no style layers, so P-space means nothing. Set"
                f" {attack}.prior=stylegan2, or {attack}.space=noise."
            )
        size = prior.noise_size if self.space == "noise" else prior.latent_size
        if size < 2:
            raise UsageError(f"attack {attack!r}: expected a prior with at least 2 coordinates to search, got {size}")

    def measure(self, prior: Prior, pool: CandidatePool, latents_NLW: Tensor, rng: torch.Generator) -> Standardised:
        """Measure the coordinates on a pool that was filled.

        Args:
            prior: of the pool.
            pool: how it was filled.
            latents_NLW: its latents.
            rng: a fresh generator like that which filled it, from which its noise is drawn again.
        """
        if self.space == "noise":
            points_ND = prior.sample(pool.size, rng).cpu()
        else:
            points_ND = to_p(latents_NLW[:, 0]) if self.space == "p" else latents_NLW[:, 0]
        mean_D, std_D = points_ND.mean(0), points_ND.std(0, correction=0)
        return Standardised(self.space, prior, pool, points_ND, mean_D, std_D)

    def penalise(self, loss_N: Tensor, u_ND: Tensor) -> Tensor:
        """Return the losses (N,) with the penalty of these points."""
        return loss_N + self.penalty * u_ND.to(loss_N).square().sum(1) / 2
