"""What searches from scores share: a pool, a loss of log-probabilities, and a robust selection of what is delivered.

Shapes: N points, B of a batch, M delivered images, L style layers, W size of a style vector, C channels, S = protocol's
side, D = side of what is delivered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor

from mibench.api import Access, Attack, AttackContext, FlatNames, OmitIfDefault, Prior, TargetView, UsageError
from mibench_attacks.images.batching import in_batches
from mibench_attacks.images.rendering import Renderer
from mibench_attacks.losses.scored import ScoredViews
from mibench_attacks.selection.confidence import Chosen
from mibench_attacks.selection.pool import CandidatePool, ScoredPool
from mibench_attacks.selection.robust import FLAT, RobustSelection

Latents = Callable[[slice], Tensor]
"""Maps rows of the points to their latents (B, L, W)."""


@dataclass(frozen=True, kw_only=True)
class ScoreAttack(Attack):
    """Base of attacks that see scores only and render from a prior.

    Attributes:
        prior: prior to attack with, as 'name' or 'name/preset'; empty takes the protocol's.
        pool: latents that are drawn and scored once for all classes, and those that a class begins with.
        objective: what is minimised.
        selection: which of the best points are delivered.
        batch: images processed at once; small batches are slow, and the size changes results by rounding alone.
    """

    access: ClassVar[Access] = Access.SCORES

    prior: Annotated[str, OmitIfDefault()] = ""
    pool: Annotated[CandidatePool, FlatNames(size="pool", candidates="restarts")] = CandidatePool(
        size=2000, candidates=4, truncation=1.0, cutoff=None
    )
    objective: Annotated[ScoredViews, FlatNames()] = ScoredViews()
    selection: Annotated[RobustSelection, FLAT] = RobustSelection(final=10, draws=25)
    batch: Annotated[int, Ge(1)] = 500

    def prior_choice(self) -> str | None:
        """Return the chosen prior."""
        return self.prior or None

    def check(self, finalists: int, *, attack: str) -> None:
        """Refuse to start from, or to deliver, more than there is.

        Raises:
            UsageError: unless restarts <= pool and final <= finalists.
        """
        if self.pool.candidates > self.pool.size:
            counts = f"{self.pool.candidates} > {self.pool.size}"
            raise UsageError(f"attack {attack!r}: expected restarts <= pool, got {counts}")
        if self.selection.final > finalists:
            counts = f"{self.selection.final} > {finalists}; raise keep"
            raise UsageError(f"attack {attack!r}: expected final <= points that are kept, got {counts}")

    def fill(self, target: TargetView, prior: Prior, ctx: AttackContext) -> ScoredPool:
        """Draw and score the pool; with equal settings and seed it is that of PPA."""
        return self.pool.fill(Renderer(prior, target, ctx.size, ctx.deliver), ctx.rng("pool"), batch=self.batch)

    def losses(
        self, latents: Latents, n: int, label: int, render: Renderer, ctx: AttackContext, *, step: int
    ) -> Tensor:
        """Return the losses (n,) of points, float64 on the CPU; all see the same views, those of this step."""
        draws = self.objective.draw(n, ctx.size, ctx.rng("class", label, "views", step))

        def score(rows: slice) -> Tensor:
            x_BCSS = render(latents(rows), clamp=True)
            return self.objective(x_BCSS, label, render.target, [draw.part(rows) for draw in draws]).cpu()

        with torch.no_grad():
            return in_batches(n, self.batch, score, render.target.ledger)

    def choose(self, latents_NLW: Tensor, label: int, render: Renderer, ctx: AttackContext) -> Chosen:
        """Return the most robust of the finalists.

        Raises:
            ClassFailed: if too few have a finite confidence.
        """
        rng = ctx.rng("class", label, "select")
        images_NCDD, ranking = self.selection.choose(latents_NLW, label, render, rng, batch=self.batch)
        return Chosen(images_NCDD[ranking.index_M], ranking.scores_M)

    def count(self, num_classes: int, *, points: int, finalists: int) -> Mapping[str, int]:
        """Count images: the pool under 2 views, then per class points x (1 + views) and finalists x draws."""
        per_class = points * self.objective.queries + finalists * self.selection.draws
        return {
            "forward": 2 * self.pool.size + num_classes * per_class,
            "backward": 0,
            "render": self.pool.size + num_classes * (points + finalists),
        }
