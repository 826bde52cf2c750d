"""A distribution of latents whose first style layers have a normalising flow each, as VMI fits it.

Shapes: B samples, I layers with a flow, L style layers, W size of a style vector, Z size of the noise, F flow steps.
Source: Wang et al., "Variational Model Inversion Attacks", NeurIPS 2021.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import torch
from annotated_types import Ge
from torch import Tensor

from mibench.api import Prior
from mibench_attacks.latents.flows import forward, initial_parameters, kl_to_normal, permutations


class Sampled(NamedTuple):
    """Latents (B, L, W) drawn from q, and the divergence of each of its flows from N(0, I), (I,)."""

    latents_BLW: Tensor
    kl_I: Tensor


@dataclass(frozen=True)
class PriorFlows:
    """Flows on a prior.

    Attributes:
        prior: maps the noise that flows make to styles.
        order_FZ: permutation of each step.
        start: initial parameters, (1, I, F, ...) each.
    """

    prior: Prior
    order_FZ: Tensor
    start: list[Tensor]

    def sample(self, flows: Sequence[Tensor], n: int, rng: torch.Generator) -> Sampled:
        """Draw n latents: the first I layers from flows with these parameters, the others from the prior."""
        layers, prior = flows[0].shape[1], self.prior
        base_BIZ = torch.randn(n, layers, prior.noise_size, generator=rng).to(self.order_FZ.device)
        z_BIZ, log_determinant_I = forward(base_BIZ, flows, self.order_FZ)
        own_BILW = prior.to_latent(z_BIZ.flatten(0, 1)).unflatten(0, (n, layers))
        identity = [own_BILW[:, layer, layer : layer + 1] for layer in range(layers)]
        rest_BLW = prior.to_latent(prior.sample(n, rng))[:, layers:]
        return Sampled(torch.cat([*identity, rest_BLW], dim=1), kl_to_normal(base_BIZ, z_BIZ, log_determinant_I))


@dataclass(frozen=True, kw_only=True)
class LayerFlows:
    """How the flows are built.

    Attributes:
        layers: number of first layers that have a flow.
        steps: flow steps of each flow.
        hidden: hidden units of the additive couplings.
    """

    layers: Annotated[int, Ge(1)] = 10
    steps: Annotated[int, Ge(1)] = 10
    hidden: Annotated[int, Ge(1)] = 512

    def begin(self, prior: Prior, rng: torch.Generator, device: torch.device) -> PriorFlows:
        """Draw permutations and initial parameters, for at most as many layers as the prior has."""
        layers, width = min(self.layers, prior.latent_layers), prior.noise_size
        order_FZ = permutations(self.steps, width, rng).to(device)
        start = initial_parameters(layers, self.steps, width, self.hidden, rng)
        return PriorFlows(prior, order_FZ, [parameter.to(device) for parameter in start])
