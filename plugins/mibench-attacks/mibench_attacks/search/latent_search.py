"""How the attacks of the GMI family search noise: points (GMI), or a Gaussian per class (KED-MI).

Shapes: N points, S samples of a Gaussian, B noises of a batch, Z size of the noise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, NamedTuple, Protocol

import torch
from annotated_types import Ge, Gt, Lt
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
        self, label: int, noise_size: int, loss: NoiseLoss, ctx: AttackContext, *, batch: int, ledger: Ledger
    ) -> FoundNoise:
        """Minimise the loss; draws depend on seed and class only.

        Args:
            label: the class.
            noise_size: Z.
            loss: to minimise.
            ctx: of the attack.
            batch: independent noises differentiated at once; does not change results.
            ledger: in which the loss enters what it spends.
        """


@dataclass(frozen=True, kw_only=True)
class PointSearch:
    """Several noises descend by Nesterov's momentum within a box (GMI, Zhang et al., CVPR 2020).

    GMI descends the mean loss of a batch of classes, which divides every step by the batch. Here losses are summed and
    the rate is divided by a batch of reference instead, so that the number of images at once changes nothing.

    Attributes:
        restarts: starting points per class.
        steps: updates of each.
        lr: learning rate of the mean loss of a batch.
        momentum: Nesterov's momentum, in [0, 1).
        batch_ref: classes in the batch of the released code; the effective rate is lr / batch_ref.
        clip: bound of each coordinate of the noise.
    """

    restarts: Annotated[int, Ge(1)] = 5
    steps: Annotated[int, Ge(0)] = 1500
    lr: Annotated[float, Gt(0)] = 0.02
    momentum: Annotated[float, Gt(0), Lt(1)] = 0.9
    batch_ref: Annotated[int, Ge(1)] = 100
    clip: Annotated[float, Gt(0)] = 1.0

    @property
    def per_step(self) -> int:
        """All points."""
        return self.restarts

    @property
    def delivered(self) -> int:
        """All points."""
        return self.restarts

    def find(
        self, label: int, noise_size: int, loss: NoiseLoss, ctx: AttackContext, *, batch: int, ledger: Ledger
    ) -> FoundNoise:
        """Descend from N(0, 1)."""
        start_NZ = torch.randn(self.restarts, noise_size, generator=ctx.rng("class", label, "start")).to(ctx.device)
        optimizer = nesterov(self.lr / self.batch_ref, self.momentum)
        search = GradientSearch(steps=self.steps, optimizer=optimizer, batch=batch)

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
        samples: noises drawn per step and class.
        draws: noises drawn from the Gaussian that was found.
        steps: updates of mean and variance.
        lr: learning rate of Adam.
        clip: noises are cut to [-clip, clip] before rendering, as LOMMA's code can; 0 for no cut.
    """

    samples: Annotated[int, Ge(1)] = 1
    draws: Annotated[int, Ge(1)] = 5
    steps: Annotated[int, Ge(0)] = 1500
    lr: Annotated[float, Gt(0)] = 0.02
    clip: Annotated[float, Ge(0)] = 0.0

    @property
    def per_step(self) -> int:
        """The samples."""
        return self.samples

    @property
    def delivered(self) -> int:
        """The draws."""
        return self.draws

    def find(
        self, label: int, noise_size: int, loss: NoiseLoss, ctx: AttackContext, *, batch: int, ledger: Ledger
    ) -> FoundNoise:
        """Descend, and draw; the Gaussian is one variable, so ``batch`` means nothing."""
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
