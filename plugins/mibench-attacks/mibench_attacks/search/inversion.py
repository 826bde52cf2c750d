"""What PPA, IF-GMI and PPDG-MI share: choose candidates from a pool, descend a loss of random crops, rank robustly.

Shapes: N candidates, B of a batch, M delivered images, L style layers, W size of a style vector, C channels,
S = protocol's side, D = side of what is delivered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from mibench.api import AttackContext, SeedPart, TargetView, UsageError
from mibench_attacks.images.rendering import Renderer
from mibench_attacks.losses.cropped import CroppedIdentity
from mibench_attacks.search.adam_search import AdamSearch
from mibench_attacks.selection.pool import ScoredPool, StylePool
from mibench_attacks.selection.robust import RobustSelection
from mibench_attacks.views.alignment import Alignment, averaged

CandidateLoss = Callable[[Tensor, slice, int], Tensor]
"""``loss(images, rows, step)`` of the images of these candidates, one value each (B,)."""


class Inverted(NamedTuple):
    """What one pass of the attack found for a class, best first.

    Attributes:
        latents_MLW: optimised latents; L is 1 for a single style vector.
        images_MCDD: their images, as delivered.
        scores_M: their robust confidence.
        trace: of the search.
    """

    latents_MLW: Tensor
    images_MCDD: Tensor
    scores_M: Tensor
    trace: dict[str, list[float]]


@dataclass(frozen=True)
class Inversion:
    """The attack of one class, in self.

    Attributes:
        pool: where candidates come from.
        objective: what is descended.
        alignment: of gradients.
        search: how candidates descend.
        selection: what is delivered.
        batch: images processed at once; does not change results.
    """

    pool: StylePool
    objective: CroppedIdentity
    alignment: Alignment
    search: AdamSearch
    selection: RobustSelection
    batch: int

    def check(self, attack: str) -> None:
        """Refuse to deliver more than there is.

        Raises:
            UsageError: unless final <= candidates <= pool.
        """
        final, candidates, pool = self.selection.final, self.pool.candidates, self.pool.size
        if not final <= candidates <= pool:
            counts = f"final {final}, candidates {candidates}, pool {pool}"
            raise UsageError(f"attack {attack!r}: expected final <= candidates <= pool, got {counts}")

    def fill(self, render: Renderer, rng: torch.Generator) -> ScoredPool:
        """Draw and score the pool."""
        return self.pool.fill(render, rng, batch=self.batch)

    def run(self, label: int, pool: ScoredPool, render: Renderer, ctx: AttackContext) -> Inverted:
        """Choose candidates, optimise them under random crops, and keep those that stay robust.

        Raises:
            ClassFailed: if too few candidates have a finite loss or confidence.
        """
        target = render.target
        loss_of = self.loss(label, self.search.steps, target, ctx)

        def loss(variables: Sequence[Tensor], rows: slice, step: int) -> Tensor:
            return loss_of(render(variables[0], clamp=self.objective.clip), rows, step)

        search, start_NLW = self.search.descent(batch=self.batch), self.pool.starts(pool, label)
        found = search.run([start_NLW], loss, where=f"class {label}", report=ctx.progress, ledger=target.ledger)
        latents_NLW = found.variables[0]
        rng = ctx.rng("class", label, "select")
        images_NCDD, (index_M, scores_M) = self.selection.choose(latents_NLW, label, render, rng, batch=self.batch)
        return Inverted(latents_NLW[index_M], images_NCDD[index_M], scores_M, found.trace)

    def loss(self, label: int, steps: int, target: TargetView, ctx: AttackContext, *part: SeedPart) -> CandidateLoss:
        """Draw the views of ``steps`` steps and return the loss under them; ``part`` tells draws apart."""
        objective, n = self.objective.objective(), self.pool.candidates
        rng = ctx.rng("class", label, "crop", *part)
        draws = [objective.draw(n, ctx.size, rng) for _ in range(steps)]

        def loss(x_BCSS: Tensor, rows: slice, step: int) -> Tensor:
            views = [draw.part(rows) for draw in draws[step]]
            align_rng = ctx.rng("class", label, "align", *part, step)
            copies = self.alignment.draw(n, ctx.channels, ctx.size, align_rng)
            perturbed = [copy.part(rows) for copy in copies]
            return averaged(x_BCSS, lambda x: objective(x, label, target, views), perturbed)

        return loss

    def cost(self, runs: int) -> dict[str, int]:
        """Count images: one pool under 2 views, and per run candidates x (steps x views x copies + draws + 1)."""
        candidates = runs * self.pool.candidates
        updates = candidates * self.search.steps
        gradients = updates * self.objective.views * self.alignment.copies
        return {
            "forward": 2 * self.pool.size + gradients + candidates * self.selection.draws,
            "backward": gradients,
            "render": self.pool.size + updates + candidates,
        }
