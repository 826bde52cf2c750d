"""BREP-MI: walk away from the boundary of the class, by labels alone.

Shapes: N pool points, M chains, P points on a sphere, Z size of the noise, C channels, S = side of the images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NamedTuple

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor

from mibench.api import Access, Attack, AttackContext, ClassFailed, ClassResult, Prior, TargetView
from mibench_attacks.images.batching import in_batches
from mibench_attacks.images.rendering import Renderer

Inside = Callable[[Tensor], Tensor]
"""Tells of noise (N, Z) whether the target sees the class in it: bool (N,)."""


class LabelledPool(NamedTuple):
    """Samples of the prior and what the target calls them."""

    noise_NZ: Tensor
    labels_N: Tensor


class Walk(NamedTuple):
    """Where chains end: the points at which their radius last grew (or where they began), and that radius."""

    noise_MZ: Tensor
    radius_M: Tensor


@dataclass(frozen=True, kw_only=True)
class BoundaryRepulsion(Attack):
    """Estimate on a sphere which way the class ends, step away from there, and look further around when none is near.

    Each chain begins at a sample of the prior that the target gives the class. Of ``points`` points on a sphere of
    radius R around it, those outside of the class repel it; if more than ``inside`` of all are in it, R grows. A step
    that would leave the class is not made. Delivered is where R last grew, the largest R first; the score is that R.

    Source: Kahla, Chen, Just and Jia, CVPR 2022, with the step of the released code. That tries again without an end
    where a step is refused, and stops after 1 000 steps without growth; here the number of steps is fixed, so that what
    it asks is known before. It makes one image of each class; here chains from other samples make more.

    Attributes:
        pool: samples that are labelled for all classes together, among which chains begin.
        final: chains, and images delivered per class.
        steps: steps of each chain.
        points: points on the sphere.
        radius: R in the beginning.
        growth: factor by which R grows.
        inside: share of the points from which R grows.
        clamp: bound of the noise.
        truncation: pull towards the mean latent; 1 is none.
        batch: images processed at once; does not change results.
        prior: another prior than the protocol's, as 'name' or 'name/preset'.
    """

    access: ClassVar[Access] = Access.LABELS
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        # 6 x 30 x 17 = 3 060 queries per class
        "small": {"pool": 2000, "final": 6, "steps": 30, "points": 16},
        "ppdg": {"radius": 1.0, "growth": 1.275, "clamp": 1.2},
    }

    pool: Annotated[int, Ge(1)] = 20000
    final: Annotated[int, Ge(1)] = 1
    steps: Annotated[int, Ge(1)] = 1000
    points: Annotated[int, Ge(1)] = 32
    radius: Annotated[float, Gt(0)] = 2.0
    growth: Annotated[float, Gt(1)] = 1.3
    inside: Annotated[float, Gt(0), Le(1)] = 0.75
    clamp: Annotated[float, Gt(0)] = 1.5
    truncation: Annotated[float, Gt(0), Le(1)] = 1.0
    batch: Annotated[int, Ge(1)] = 250
    prior: str = ""

    def prior_choice(self) -> str | None:
        """Return the chosen prior."""
        return self.prior or None

    def prepare(self, target: TargetView, prior: Prior, ctx: AttackContext) -> LabelledPool:
        """Draw the pool and let the target label it."""
        render = Renderer(prior, target, ctx.size, ctx.deliver)
        noise_NZ = prior.sample(self.pool, ctx.rng("pool")).clamp(-self.clamp, self.clamp)
        return LabelledPool(noise_NZ, self._labels(noise_NZ, target, render))

    def reconstruct(
        self, label: int, shared: LabelledPool, target: TargetView, prior: Prior, ctx: AttackContext
    ) -> ClassResult:
        """Walk, and deliver where the chains end.

        Raises:
            ClassFailed: if the target gives no sample of the pool this class.
        """
        own = (shared.labels_N == label).nonzero().flatten()[: self.final]
        if not len(own):
            raise ClassFailed(f"class {label}: the target calls none of {self.pool} samples so; raise pool")
        with target.spending() as spent:
            render = Renderer(prior, target, ctx.size, ctx.deliver)
            start_MZ = shared.noise_NZ[own.repeat(-(-self.final // len(own)))[: self.final]]

            def inside(noise_NZ: Tensor) -> Tensor:
                return self._labels(noise_NZ, target, render) == label

            found = self.walk(start_MZ, inside, ctx.rng("class", label, "sphere"))
            order_M = found.radius_M.argsort(descending=True, stable=True)
            with torch.no_grad():
                latent_MLW = prior.to_latent(found.noise_MZ[order_M], truncation=self.truncation)
            images_MCSS = render.deliver(latent_MLW, batch=self.batch)
        return ClassResult(label, images_MCSS, found.radius_M[order_M].to(images_MCSS.device), spent)

    def walk(self, start_MZ: Tensor, inside: Inside, rng: torch.Generator) -> Walk:
        """Move chains away from the boundary.

        Args:
            start_MZ: where they begin, inside of the class.
            inside: tells which noise is.
            rng: of the points on the spheres.
        """
        here_MZ, best_MZ = start_MZ, start_MZ
        radius_M = torch.full((len(start_MZ),), self.radius, device=start_MZ.device)
        reached_M = torch.zeros_like(radius_M)
        for _ in range(self.steps):
            shape = (len(start_MZ), self.points, start_MZ.shape[1])
            unit_MPZ = torch.nn.functional.normalize(torch.randn(shape, generator=rng), dim=2).to(start_MZ)
            around_MPZ = here_MZ[:, None] + radius_M[:, None, None] * unit_MPZ
            inside_MP = inside(around_MPZ.flatten(0, 1)).view(shape[:2])
            grows_M = inside_MP.float().mean(1) > self.inside
            best_MZ = torch.where(grows_M[:, None], here_MZ, best_MZ)
            reached_M = torch.where(grows_M, radius_M, reached_M)
            away_MZ = -((~inside_MP)[:, :, None] * unit_MPZ).mean(1)
            stride_M = (radius_M / 3).clamp(max=3.0)
            radius_M = torch.where(grows_M, radius_M * self.growth, radius_M)
            next_MZ = (here_MZ + stride_M[:, None] * away_MZ).clamp(-self.clamp, self.clamp)
            here_MZ = torch.where(inside(next_MZ)[:, None], next_MZ, here_MZ)
        return Walk(torch.where(reached_M[:, None] > 0, best_MZ, here_MZ), reached_M)

    def _labels(self, noise_NZ: Tensor, target: TargetView, render: Renderer) -> Tensor:
        def label(rows: slice) -> Tensor:
            latent_BLW = render.prior.to_latent(noise_NZ[rows], truncation=self.truncation)
            return target.labels(render(latent_BLW, clamp=True)).to(noise_NZ.device)

        with torch.no_grad():
            return in_batches(len(noise_NZ), self.batch, label, target.ledger)

    def cost(self, num_classes: int) -> Mapping[str, int]:
        """Count images: the pool; per class, final x steps x (points + 1) queries, and the delivered ones."""
        asked = self.pool + num_classes * self.final * self.steps * (self.points + 1)
        return {"forward": asked, "backward": 0, "render": asked + num_classes * self.final}
