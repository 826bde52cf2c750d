"""MIRROR, the white-box attack of An et al., NDSS 2022: search a StyleGAN's w inside a box of P-space.

Shapes: N candidates, M delivered images, L style layers, W size of a style vector, S = protocol's side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NamedTuple

from annotated_types import Ge, Gt, Le
from torch import Tensor

from mibench.api import Access, AttackContext, ClassResult, FlatNames, Prior, TargetView, UsageError
from mibench_attacks.images.rendering import Renderer
from mibench_attacks.latents.p_space import Box, BoxShape
from mibench_attacks.losses.objectives import Objective, ce
from mibench_attacks.search.adam_search import RampedSearch
from mibench_attacks.search.gradient_attack import GradientAttack
from mibench_attacks.selection.confidence import MostConfident
from mibench_attacks.selection.pool import CandidatePool, ScoredPool
from mibench_attacks.views.alignment import averaged
from mibench_attacks.views.transforms import RandomView, identity

_SMALL: dict[str, Any] = {"prior": "stylegan2", "pool": 2000, "steps": 150, "final": 6}


class Shared(NamedTuple):
    """What all classes share: the scored pool, and the box that its latents span."""

    pool: ScoredPool
    box: Box


@dataclass(frozen=True, kw_only=True)
class Mirror(GradientAttack):
    """Minimise ``weight * CE(T(flip?(G(w))), y)`` by Adam; after each step clip p = LeakyReLU_5(w) to mean +- k std.

    The box keeps w where the mapping network puts it. Latents are one style vector per layer, as drawn. Deliberate
    differences from the released code: the best iterate is kept per candidate, not per batch; starting points are
    clipped too, so that a best iterate always lies in the box; no dropout in the target, whose view is frozen.

    Attributes:
        pool: latents that are drawn and scored, and those that a class starts from; the box is measured on them too.
        box: where latents may go.
        weight: weight of the cross-entropy; Adam hardly sees it.
        flip: probability of mirroring all images in a step.
        search: descent of each candidate; the point with the lowest loss is kept.
        selection: what is delivered.
        batch: images processed at once; does not change results.

    Raises:
        UsageError: unless final <= candidates <= pool and 2 <= pool.
    """

    access: ClassVar[Access] = Access.WHITE_BOX
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {},
        # the defaults of the released code, where the scripts of the experiments set lr and weight as in "paper"
        "released": {"lr": 0.2, "weight": 1.0},
        # ours, for two CPU cores
        "small": _SMALL,
        "head": {**_SMALL, "prior": "head-model", "pool": 1000, "truncation": 1.0, "space": "latent", "k": 2.0},
    }

    pool: Annotated[CandidatePool, FlatNames(size="pool")] = CandidatePool(
        size=100_000, candidates=8, truncation=0.7, cutoff=8
    )
    box: Annotated[BoxShape, FlatNames()] = BoxShape(space="p", k=1.0)
    weight: Annotated[float, Gt(0)] = 10.0
    flip: Annotated[float, Ge(0), Le(1)] = 0.5
    search: Annotated[RampedSearch, FlatNames()] = RampedSearch(steps=20_000, lr=0.25)
    selection: Annotated[MostConfident, FlatNames()] = MostConfident(final=8)
    batch: Annotated[int, Ge(1)] = 8

    def __post_init__(self) -> None:
        final, candidates, pool = self.selection.final, self.pool.candidates, self.pool.size
        if not final <= candidates <= pool or pool < 2:
            counts = f"final {final}, candidates {candidates}, pool {pool}"
            raise UsageError(f"attack 'mirror': expected final <= candidates <= pool and 2 <= pool, got {counts}")

    def check_prior(self, prior: Prior, num_classes: int) -> None:
        """Refuse a prior without style vectors, unless the box is around the latents themselves."""
        if self.box.space == "p" and prior.latent_layers == 1:
            raise UsageError(
                "attack 'mirror': this prior has no style layers, so P-space means nothing. "
                "Set mirror.prior=stylegan2, or mirror.space=latent for a box around the latents themselves."
            )

    def prepare(self, target: TargetView, prior: Prior, ctx: AttackContext) -> Shared:
        """Draw and score the pool, and measure the box on it."""
        self.check_prior(prior, target.num_classes)
        render = Renderer(prior, target, ctx.size, ctx.deliver)
        pool = self.pool.fill(render, ctx.rng("pool"), batch=self.batch, views=(identity,))
        return Shared(pool, self.box.around(pool.latents_NLW).to(prior.device))

    def reconstruct(
        self, label: int, shared: Shared, target: TargetView, prior: Prior, ctx: AttackContext
    ) -> ClassResult:
        """Select, optimise inside the box, and deliver the best iterates."""
        with target.spending() as spent:
            render, box = Renderer(prior, target, ctx.size, ctx.deliver), shared.box
            objective = Objective(loss=ce, view=RandomView(scale=(1.0, 1.0), flip=self.flip))
            n = self.pool.candidates

            def loss(variables: Sequence[Tensor], rows: slice, step: int) -> Tensor:
                flips = objective.draw(n, ctx.size, ctx.rng("class", label, "flip", step))
                copies = self.alignment.draw(n, ctx.channels, ctx.size, ctx.rng("class", label, "align", step))
                x_BCSS, flips = render(variables[0], clamp=False), [flip.part(rows) for flip in flips]
                perturbed = [copy.part(rows) for copy in copies]
                return self.weight * averaged(x_BCSS, lambda x: objective(x, label, target, flips), perturbed)

            def project(variables: Sequence[Tensor]) -> None:
                variables[0].copy_(box.clip(variables[0]))

            start_NLW = box.clip(self.pool.starts(shared.pool, label))
            found = self.search.descent(batch=self.batch, keep="best").run(
                [start_NLW], loss, where=f"class {label}", project=project, report=ctx.progress, ledger=target.ledger
            )
            images_NCDD = render.deliver(found.variables[0], batch=self.batch)
            chosen = self.selection.choose(images_NCDD, render.seen(images_NCDD), label, target, batch=self.batch)
        return ClassResult(label, *chosen, spent, found.trace)

    def cost(self, num_classes: int) -> Mapping[str, int]:
        """Count images: the pool, then per class candidates x (steps x copies + 1)."""
        last = num_classes * self.pool.candidates
        updates = last * self.search.steps
        gradients = updates * self.alignment.copies
        return {
            "forward": self.pool.size + gradients + last,
            "backward": gradients,
            "render": self.pool.size + updates + last,
        }
