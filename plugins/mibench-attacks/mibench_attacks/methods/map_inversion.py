"""The most probable input of a class under the prior: maximum a posteriori (MAP), over views of the prior.

Shapes: N candidates, B of a batch, L style layers, W size of a style vector, Z size of the noise, V size of a view,
C channels, S = side in pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NamedTuple

import torch
from annotated_types import Ge
from torch import Tensor

from mibench.api import Access, AttackContext, ClassResult, FlatNames, Prior, TargetView
from mibench_attacks.images.rendering import Renderer
from mibench_attacks.losses.cropped import CroppedIdentity
from mibench_attacks.search.adam_search import AdamSearch
from mibench_attacks.search.gradient_attack import GradientAttack
from mibench_attacks.search.inversion import Inversion
from mibench_attacks.selection.pool import ScoredPool, StylePool
from mibench_attacks.selection.robust import FLAT, RobustSelection


class Shared(NamedTuple):
    """What all classes share: the scored pool and its noise (P, Z)."""

    pool: ScoredPool
    noise_PZ: Tensor


@dataclass(frozen=True, kw_only=True)
class MapInversion(GradientAttack):
    """Descend -log p(class | picture of z in a random view) - weight log p(z) in the noise z of a prior.

    Every step sees each candidate in another view that the prior draws (pose, light, background), and in another crop,
    so that what is found is a person whose photographs the target would all recognise, not one picture that it likes.
    What is delivered is the prior's plain view. Under a prior that is the true process, this is the attacker to whom
    only what the target itself knows is missing. A prior that does not tell views apart is searched by crops alone.

    Source: the posterior of Wang et al., "Variational Model Inversion Attacks", NeurIPS 2021, with a point in the place
    of their distribution. That views are averaged over is our composition.

    Attributes:
        pool: noise that is drawn and scored in the plain view, and what a class starts from.
        objective: the loss.
        search: descent of each candidate.
        selection: which candidates are delivered.
        weight: of -log p(z) = |z|^2 / 2; 1 with the loss ce is the posterior of one photograph.
        batch: images processed at once; does not change results.

    Raises:
        UsageError: unless final <= candidates <= pool and all ranges are possible.
    """

    access: ClassVar[Access] = Access.WHITE_BOX
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "small": {"pool": 1000, "candidates": 6, "steps": 50, "final": 6, "draws": 25},
    }

    pool: Annotated[StylePool, FlatNames(size="pool")] = StylePool(
        size=2000, candidates=16, truncation=1.0, cutoff=None, single_w=False
    )
    objective: Annotated[CroppedIdentity, FlatNames()] = CroppedIdentity(loss="ce", crop_scale=(0.8, 1.0))
    search: Annotated[AdamSearch, FlatNames()] = AdamSearch(
        steps=100, lr=0.1, betas=(0.9, 0.99), milestones=(40,), gamma=0.3
    )
    selection: Annotated[RobustSelection, FLAT] = RobustSelection(final=6, draws=25)
    weight: Annotated[float, Ge(0)] = 0.01
    batch: Annotated[int, Ge(1)] = 25

    def __post_init__(self) -> None:
        self.inversion.check("map")

    @property
    def inversion(self) -> Inversion:
        """Pool, losses of crops and selection, as other attacks have them."""
        return Inversion(self.pool, self.objective, self.alignment, self.search, self.selection, self.batch)

    def prepare(self, target: TargetView, prior: Prior, ctx: AttackContext) -> Shared:
        """Draw and score the pool that all classes choose from."""
        pool = self.inversion.fill(Renderer(prior, target, ctx.size, ctx.deliver), ctx.rng("pool"))
        return Shared(pool, prior.sample(self.pool.size, ctx.rng("pool")))

    def reconstruct(
        self, label: int, shared: Shared, target: TargetView, prior: Prior, ctx: AttackContext
    ) -> ClassResult:
        """Choose starts, descend the posterior, and keep what stays robust."""
        render = Renderer(prior, target, ctx.size, ctx.deliver)
        with target.spending() as spent:
            loss_of = self.inversion.loss(label, self.search.steps, target, ctx)

            def latents(z_BZ: Tensor) -> Tensor:
                return prior.to_latent(z_BZ, truncation=self.pool.truncation, cutoff=self.pool.cutoff)

            def loss(variables: Sequence[Tensor], rows: slice, step: int) -> Tensor:
                z_BZ, rng = variables[0], ctx.rng("class", label, "view", step)
                view_NV = torch.randn(self.pool.candidates, prior.view_size, generator=rng)
                x_BCSS = render.in_views(latents(z_BZ), view_NV[rows].to(z_BZ.device))
                return loss_of(x_BCSS, rows, step) + self.weight / 2 * z_BZ.square().sum(1)

            start_NZ = shared.noise_PZ[
                shared.pool.select(label, self.pool.candidates).index_M.to(shared.noise_PZ.device)
            ]
            search = self.search.descent(batch=self.batch)
            found = search.run([start_NZ], loss, where=f"class {label}", report=ctx.progress, ledger=target.ledger)
            latents_NLW, rng = latents(found.variables[0]), ctx.rng("class", label, "select")
            images_NCDD, (index_M, scores_M) = self.selection.choose(latents_NLW, label, render, rng, batch=self.batch)
        return ClassResult(label, images_NCDD[index_M], scores_M, spent, found.trace)

    def cost(self, num_classes: int) -> Mapping[str, int]:
        """Count images: the pool under 2 views, then per class candidates x (steps x views x copies + draws + 1)."""
        return self.inversion.cost(num_classes)
