"""A search without gradients: an evolution strategy (CMA-ES) over a prior, from the target's scores alone.

Shapes: N points, R restarts, D coordinates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NamedTuple

import torch
from annotated_types import Ge
from torch import Tensor

from mibench.api import AttackContext, ClassResult, FlatNames, Prior, TargetView, UsageError
from mibench_attacks.images.rendering import Renderer
from mibench_attacks.latents.standardised import SearchSpace, Standardised
from mibench_attacks.search.evolution import EvolutionSearch
from mibench_attacks.search.score_attack import ScoreAttack
from mibench_attacks.selection.pool import ScoredPool

SMALL: dict[str, Any] = {
    "pool": 1000, "restarts": 1, "parents": 8, "generations": 40, "population": 16, "keep": 10, "penalty": 0.02,
    "final": 6, "draws": 10,
}  # fmt: skip


class Shared(NamedTuple):
    """What all classes share: the scored pool, and the coordinates that are measured on it."""

    pool: ScoredPool
    coordinates: Standardised


@dataclass(frozen=True, kw_only=True)
class EvolutionStrategy(ScoreAttack):
    """Minimise -log p of the class by CMA-ES, from those of a pool of the prior's samples that the target likes best.

    Coordinates are standard deviations of the pool around its mean, and stay within ``k`` of them. No gradient is
    taken, so masked gradients do not stop it, and only log-probabilities are read. Over a prior that can render nothing
    but faces, it searches among faces and not among pixels.

    Source: Hansen, "The CMA Evolution Strategy: A Tutorial", 2016. As an attack it is our composition; CMA-ES over a
    StyleGAN's latents is in the attacks of Li et al. (CG-MI, 2024).

    Attributes:
        space: what is searched, and its bounds.
        search: the strategy; one for each of the ``restarts`` best of the pool.
        parents: members of the pool in whose mean a strategy begins; with several restarts the best are dealt out in
            turn. What many of the target's favourites have in common is nearer to the class than each of them.

    Raises:
        UsageError: unless restarts x parents <= pool and final <= restarts x keep.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        # 640 queries in the search of a class and 100 in the selection, on the protocol's prior, or on another
        "small": SMALL,
        "head": {**SMALL, "prior": "head-model"},
        "stylegan2": {**SMALL, "prior": "stylegan2"},
        # 3 000 queries from six starting points, all populations at once
        "restarts": {**SMALL, "restarts": 6, "generations": 20, "population": 25, "keep": 2},
    }

    space: Annotated[SearchSpace, FlatNames()] = SearchSpace()
    search: Annotated[EvolutionSearch, FlatNames()] = EvolutionSearch()
    parents: Annotated[int, Ge(1)] = 1

    def __post_init__(self) -> None:
        if self.pool.candidates * self.parents > self.pool.size:
            counts = f"{self.pool.candidates} x {self.parents} > {self.pool.size}"
            raise UsageError(f"attack 'cma': expected restarts x parents <= pool, got {counts}")
        self.check(self._finalists, attack="cma")

    @property
    def _finalists(self) -> int:
        points = 1 + self.search.generations * self.search.population
        return self.pool.candidates * min(self.search.keep, points)

    def check_prior(self, prior: Prior, num_classes: int) -> None:
        """Refuse a prior that does not have the space."""
        self.space.check(prior, attack="cma")

    def prepare(self, target: TargetView, prior: Prior, ctx: AttackContext) -> Shared:
        """Draw and score the pool, and measure the coordinates on it."""
        self.check_prior(prior, target.num_classes)
        pool = self.fill(target, prior, ctx)
        return Shared(pool, self.space.measure(prior, self.pool, pool.latents_NLW, ctx.rng("pool")))

    def reconstruct(
        self, label: int, shared: Shared, target: TargetView, prior: Prior, ctx: AttackContext
    ) -> ClassResult:
        """Begin at the best of the pool, search, and deliver the most robust of the best points."""
        with target.spending() as spent:
            render, coordinates = Renderer(prior, target, ctx.size, ctx.deliver), shared.coordinates

            def evaluate(u_ND: Tensor, generation: int) -> Tensor:
                def latents(rows: slice) -> Tensor:
                    return coordinates.latents(u_ND[rows])

                loss_N = self.losses(latents, len(u_ND), label, render, ctx, step=generation)
                return self.space.penalise(loss_N, u_ND)

            favourites = shared.pool.select(label, self.pool.candidates * self.parents).index_M.cpu()
            start_RD = coordinates.of_pool(favourites).view(self.parents, self.pool.candidates, -1).mean(0)
            best, trace = self.search.run(
                start_RD, evaluate, seeds=_seeds(len(start_RD), label, ctx), bound=self.space.k, report=ctx.progress
            )
            finalists_ND = best.finalists(self.selection.final, where=f"class {label}")
            chosen = self.choose(coordinates.latents(finalists_ND), label, render, ctx)
        return ClassResult(label, *chosen, spent, trace)

    def cost(self, num_classes: int) -> Mapping[str, int]:
        """Count images: the pool under 2 views; per class, restarts x (1 + generations x population) points.

        Each point passes the target 1 + views times, and each of the restarts x keep finalists ``draws`` times more.
        """
        points = self.search.queries(self.pool.candidates)
        return self.count(num_classes, points=points, finalists=self._finalists)


def _seeds(restarts: int, label: int, ctx: AttackContext) -> list[int]:
    rngs = [ctx.rng("class", label, "strategy", restart) for restart in range(restarts)]
    return [int(torch.randint(2**32, (), generator=rng)) for rng in rngs]
