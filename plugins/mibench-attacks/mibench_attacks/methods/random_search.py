"""The control of searches from scores: the same pool, queries and selection, and no search.

Shapes: N points, R of them from the pool, L style layers, W size of a style vector.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor

from mibench.api import AttackContext, ClassResult, Prior, TargetView
from mibench_attacks.images.batching import in_batches
from mibench_attacks.images.rendering import Renderer
from mibench_attacks.search.best_points import BestPoints
from mibench_attacks.search.score_attack import ScoreAttack
from mibench_attacks.selection.pool import ScoredPool

_SMALL: dict[str, Any] = {"pool": 1000, "restarts": 1, "queries": 640, "keep": 10, "final": 6, "draws": 10}


@dataclass(frozen=True, kw_only=True)
class RandomSearch(ScoreAttack):
    """Draw as many samples of the prior for each class as ``cma`` asks for, and deliver the most robust of the best.

    What ``cma`` leaks beyond this, its search has found; what this leaks beyond ``prior-topconf``, more samples have.

    Attributes:
        queries: samples drawn and scored for each class, beside the ``restarts`` best of the pool.
        keep: best points that the final selection chooses among.

    Raises:
        UsageError: unless restarts <= pool and final <= keep.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "small": _SMALL,
        "head": {**_SMALL, "prior": "head-model"},
        "stylegan2": {**_SMALL, "prior": "stylegan2"},
        "restarts": {**_SMALL, "restarts": 6, "queries": 3000, "keep": 12},
    }

    queries: Annotated[int, Ge(1)] = 8000
    keep: Annotated[int, Ge(1)] = 20

    def __post_init__(self) -> None:
        self.check(self._finalists, attack="random-search")

    @property
    def _points(self) -> int:
        return self.pool.candidates + self.queries

    @property
    def _finalists(self) -> int:
        return min(self.keep, self._points)

    def prepare(self, target: TargetView, prior: Prior, ctx: AttackContext) -> ScoredPool:
        """Draw and score the pool."""
        return self.fill(target, prior, ctx)

    def reconstruct(
        self, label: int, shared: ScoredPool, target: TargetView, prior: Prior, ctx: AttackContext
    ) -> ClassResult:
        """Draw, score, and deliver the most robust of the best."""
        with target.spending() as spent:
            render = Renderer(prior, target, ctx.size, ctx.deliver)
            latents_NLW = torch.cat([self.pool.starts(shared, label), self._draw(label, prior, ctx)])
            points = self._points
            loss_N = self.losses(lambda rows: latents_NLW[rows], points, label, render, ctx, step=0)
            index_N1 = torch.arange(points)[:, None]
            found = BestPoints(self.keep, index_N1[None], loss_N[None])
            index_N = found.finalists(self.selection.final, where=f"class {label}")[:, 0]
            chosen = self.choose(latents_NLW[index_N.to(latents_NLW.device)], label, render, ctx)
        return ClassResult(label, *chosen, spent)

    def _draw(self, label: int, prior: Prior, ctx: AttackContext) -> Tensor:
        noise_NZ = prior.sample(self.queries, ctx.rng("class", label, "draws"))

        def latents(rows: slice) -> Tensor:
            return prior.to_latent(noise_NZ[rows], truncation=self.pool.truncation, cutoff=self.pool.cutoff)

        with torch.no_grad():
            return in_batches(self.queries, self.batch, latents)

    def cost(self, num_classes: int) -> Mapping[str, int]:
        """Count images: the pool under 2 views; per class, restarts + queries points.

        Each point passes the target 1 + views times, and each of the ``keep`` finalists ``draws`` times more.
        """
        return self.count(num_classes, points=self._points, finalists=self._finalists)
