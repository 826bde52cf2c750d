"""How the attacks of the GMI family search noise: points (GMI), or a Gaussian per class (KED-MI).

Shapes: N points, S samples of a Gaussian, B noises of a batch, Z size of the noise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from mibench.api import AttackContext, Ledger
from mibench_attacks.search.gradient_search import GradientSearch
from mibench_attacks.search.optimisers import adam, nesterov

NoiseLoss = Callable[[Tensor, slice, int], Tensor]
"""``loss(noise, rows, step)`` returns the loss of each noise (B,); these are ``rows`` of all noises of that step."""


class FoundNoise(NamedTuple):
    """Where a search ended.

    Attributes:
        z_NZ: noises to deliver, before any choice.
        trace: series of the search.
    """

    z_NZ: Tensor
    trace: dict[str, list[float]]


class LatentSearch(Protocol):
    """A search for noise of one class."""

    @property
    def per_step(self) -> int:
        """Noises whose loss is computed in each step."""

    @property
    def steps(self) -> int:
        """Number of updates."""

    @property
    def delivered(self) -> int:
        """Noises that are found."""

    def find(
        self, label: int, noise_size: int, loss: NoiseLoss, ctx: AttackContext, ledger: Ledger | None = None
    ) -> FoundNoise:
        """Minimise the loss, which spends what is in ``ledger``; draws depend on seed and class only."""


@dataclass(frozen=True, kw_only=True)
class PointSearch:
    """Several noises descend by Nesterov's momentum within a box (GMI, Zhang et al., CVPR 2020).

    GMI descends the mean loss of a batch of classes, which divides every step by the batch. Here losses are summed and
    the rate is divided by a batch of reference instead, so that the number of images at once changes nothing.

    Attributes:
        restarts: N.
        steps: number of updates.
        lr: learning rate of the mean loss.
        momentum: of Nesterov.
        batch_ref: the batch over which the mean is taken.
        clip: noises stay in [-clip, clip] after each step.
        batch: noises at once.
    """

    restarts: int
    steps: int
    lr: float
    momentum: float
    batch_ref: int
    clip: float
    batch: int

    @property
    def per_step(self) -> int:
        """All points."""
        return self.restarts

    @property
    def delivered(self) -> int:
        """All points."""
        return self.restarts

    def find(
        self, label: int, noise_size: int, loss: NoiseLoss, ctx: AttackContext, ledger: Ledger | None = None
    ) -> FoundNoise:
        """Descend from N(0, 1)."""
        start_NZ = torch.randn(self.restarts, noise_size, generator=ctx.rng("class", label, "start")).to(ctx.device)
        optimizer = nesterov(self.lr / self.batch_ref, self.momentum)
        search = GradientSearch(steps=self.steps, optimizer=optimizer, batch=self.batch)

        def project(variables: Sequence[Tensor]) -> None:
            variables[0].clamp_(-self.clip, self.clip)

        found = search.run(
            [start_NZ], lambda variables, rows, step: loss(variables[0], rows, step),
            where=f"class {label}", project=project, report=ctx.progress, ledger=ledger,
        )  # fmt: skip
        return FoundNoise(found.variables[0], found.trace)


@dataclass(frozen=True, kw_only=True)
class GaussianSearch:
    """Mean and log variance of one Gaussian descend by Adam (KED-MI, Chen et al., ICCV 2021).

    ``z = mu + exp(log_var / 2) eps``, from mu = 0 and log_var = 1; the loss is the mean over the samples of a step.

    Attributes:
        samples: S, drawn in each step.
        steps: number of updates.
        lr: learning rate.
        clip: noises are cut to [-clip, clip] before they are rendered; 0 for no cut.
        draws: noises drawn from the Gaussian that was found.
    """

    samples: int
    steps: int
    lr: float
    clip: float
    draws: int

    @property
    def per_step(self) -> int:
        """The samples."""
        return self.samples

    @property
    def delivered(self) -> int:
        """The draws."""
        return self.draws

    def find(
        self, label: int, noise_size: int, loss: NoiseLoss, ctx: AttackContext, ledger: Ledger | None = None
    ) -> FoundNoise:
        """Descend, and draw."""
        shape = (1, noise_size)
        start = [torch.zeros(shape, device=ctx.device), torch.ones(shape, device=ctx.device)]

        def evaluate(variables: Sequence[Tensor], rows: slice, step: int) -> Tensor:
            eps_SZ = torch.randn(self.samples, noise_size, generator=ctx.rng("class", label, "eps", step))
            loss_S = loss(self._sample(variables, eps_SZ), slice(0, self.samples), step)
            return loss_S.mean(0, keepdim=True)

        search = GradientSearch(steps=self.steps, optimizer=adam(self.lr))
        found = search.run(start, evaluate, where=f"class {label}", report=ctx.progress, ledger=ledger)
        eps_NZ = torch.randn(self.draws, noise_size, generator=ctx.rng("class", label, "draws"))
        return FoundNoise(self._sample(found.variables, eps_NZ), found.trace)

    def _sample(self, variables: Sequence[Tensor], eps_BZ: Tensor) -> Tensor:
        mu_1Z, log_var_1Z = variables
        z_BZ = mu_1Z + (log_var_1Z / 2).exp() * eps_BZ.to(mu_1Z)
        return z_BZ.clamp(-self.clip, self.clip) if self.clip else z_BZ
