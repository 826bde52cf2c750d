"""MIRROR, the white-box attack of An et al., NDSS 2022: search a StyleGAN's w inside a box of P-space.

Shapes: N candidates, M delivered images, L style layers, W size of a style vector, S = protocol's side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NamedTuple

from annotated_types import Ge, Gt, Le
from torch import Tensor

from mibench.api import Access, AttackContext, ClassResult, Prior, TargetView, UsageError
from mibench_attacks.images.rendering import Renderer
from mibench_attacks.latents.p_space import Box, Space
from mibench_attacks.losses.objectives import Objective, ce
from mibench_attacks.search.gradient_attack import GradientAttack
from mibench_attacks.search.gradient_search import GradientSearch
from mibench_attacks.search.optimisers import adam, ramped
from mibench_attacks.selection.pool import CandidatePool, ScoredPool
from mibench_attacks.selection.robust_rank import by_confidence
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
        pool: latents drawn once for all classes, to choose starts and to measure the box.
        candidates: latents optimised per class, those of the pool with the highest target confidence.
        final: images delivered per class, those of the candidates with the highest target confidence.
        steps: updates of each candidate.
        lr: highest learning rate of Adam; it rises over the first 5 % of the steps and falls over the last 25 %.
        weight: weight of the cross-entropy; Adam hardly sees it.
        space: where the box is: 'p' for priors whose latents are style vectors w of a StyleGAN, 'latent' for others
            (PCA, DCGAN), in which P-space means nothing and the latents themselves are clipped.
        k: half the width of the box in standard deviations.
        flip: probability of mirroring all images in a step.
        truncation: pull of the pool towards the mean latent; 1 is none, 0 is the mean.
        cutoff: number of first layers that are truncated; None truncates all.
        batch: images processed at once; does not change results.

    Raises:
        UsageError: unless final <= candidates <= pool.
    """

    access: ClassVar[Access] = Access.WHITE_BOX
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {},
        # the defaults of the released code, where the scripts of the experiments set lr and weight as in "paper"
        "released": {"lr": 0.2, "weight": 1.0},
        # ours, for two CPU cores
        "small": _SMALL,
    }

    pool: Annotated[int, Ge(2)] = 100_000
    candidates: Annotated[int, Ge(1)] = 8
    final: Annotated[int, Ge(1)] = 8
    steps: Annotated[int, Ge(0)] = 20_000
    lr: Annotated[float, Gt(0)] = 0.25
    weight: Annotated[float, Gt(0)] = 10.0
    space: Space = "p"
    k: Annotated[float, Gt(0)] = 1.0
    flip: Annotated[float, Ge(0), Le(1)] = 0.5
    truncation: Annotated[float, Ge(0), Le(1)] = 0.7
    cutoff: Annotated[int | None, Ge(0)] = 8
    batch: Annotated[int, Ge(1)] = 8

    def __post_init__(self) -> None:
        if not self.final <= self.candidates <= self.pool:
            counts = f"final {self.final}, candidates {self.candidates}, pool {self.pool}"
            raise UsageError(f"attack 'mirror': expected final <= candidates <= pool, got {counts}")

    def check_prior(self, prior: Prior, num_classes: int) -> None:
        """Refuse a prior without style vectors, unless the box is around the latents themselves."""
        if self.space == "p" and prior.latent_layers == 1:
            raise UsageError(
                "attack 'mirror': this prior has no style layers, so P-space means nothing. "
                "Set mirror.prior=stylegan2, or mirror.space=latent for a box around the latents themselves."
            )

    def prepare(self, target: TargetView, prior: Prior, ctx: AttackContext) -> Shared:
        """Draw and score the pool, and measure the box on it."""
        self.check_prior(prior, target.num_classes)
        pool = CandidatePool(
            size=self.pool, truncation=self.truncation, cutoff=self.cutoff, views=(identity,), batch=self.batch
        )
        filled = pool.fill(Renderer(prior, target, ctx.size, ctx.deliver), ctx.rng("pool"))
        return Shared(filled, Box.around(filled.latents_NLW, space=self.space, k=self.k).to(prior.device))

    def reconstruct(
        self, label: int, shared: Shared, target: TargetView, prior: Prior, ctx: AttackContext
    ) -> ClassResult:
        """Select, optimise inside the box, and deliver the best iterates."""
        with target.spending() as spent:
            render, box = Renderer(prior, target, ctx.size, ctx.deliver), shared.box
            objective = Objective(loss=ce, view=RandomView(scale=(1.0, 1.0), flip=self.flip))
            shape = (self.candidates, ctx.channels, ctx.size)

            def loss(variables: Sequence[Tensor], rows: slice, step: int) -> Tensor:
                flips = objective.draw(self.candidates, ctx.size, ctx.rng("class", label, "flip", step))
                copies = self.alignment.draw(*shape, ctx.rng("class", label, "align", step))
                x_BCSS, flips = render(variables[0], clamp=False), [flip.part(rows) for flip in flips]
                perturbed = [copy.part(rows) for copy in copies]
                return self.weight * averaged(x_BCSS, lambda x: objective(x, label, target, flips), perturbed)

            def project(variables: Sequence[Tensor]) -> None:
                variables[0].copy_(box.clip(variables[0]))

            start_NLW = box.clip(shared.pool.select(label, self.candidates).latents_MLW)
            where = f"class {label}"
            found = self._search().run(
                [start_NLW], loss, where=where, project=project, report=ctx.progress, ledger=target.ledger
            )
            images_NCSS = render.deliver(found.variables[0], batch=self.batch)
            ranking = by_confidence(
                render.seen(images_NCSS), label, target, keep=self.final, batch=self.batch, where=where
            )
        return ClassResult(label, images_NCSS[ranking.index_M], ranking.scores_M, spent, found.trace)

    def cost(self, num_classes: int) -> Mapping[str, int]:
        """Count images: the pool, then per class candidates x (steps x copies + 1)."""
        updates, last = num_classes * self.candidates * self.steps, num_classes * self.candidates
        gradients = updates * self.alignment.copies
        return {
            "forward": self.pool + gradients + last,
            "backward": gradients,
            "render": self.pool + updates + last,
        }

    def _search(self) -> GradientSearch:
        return GradientSearch(
            steps=self.steps, optimizer=adam(self.lr), schedule=ramped(), keep="best", batch=self.batch
        )
