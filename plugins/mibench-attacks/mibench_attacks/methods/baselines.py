"""Floor controls: what a prior leaks without any optimisation. Every leakage number is read beside them.

Shapes: M delivered images, L style layers, W size of a style vector, C channels, S = protocol's side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge, Le

from mibench.api import (
    Access,
    Attack,
    AttackContext,
    ClassResult,
    FlatNames,
    OmitIfDefault,
    Prior,
    TargetView,
    UsageError,
)
from mibench_attacks.images.rendering import Renderer
from mibench_attacks.selection.pool import CandidatePool, ScoredPool


@dataclass(frozen=True, kw_only=True)
class _OfPrior(Attack):
    """Base of the floors of a prior.

    Attributes:
        prior: prior whose floor it is, as 'name' or 'name/preset'; empty takes the protocol's.
    """

    prior: Annotated[str, OmitIfDefault()] = ""

    def prior_choice(self) -> str | None:
        """Return the chosen prior."""
        return self.prior or None


@dataclass(frozen=True, kw_only=True)
class PriorRandom(_OfPrior):
    """Random samples of the prior for each class. The target is never asked, so these images leak nothing.

    Attributes:
        final: images delivered per class.
        truncation: pull towards the mean latent; 1 is none, 0 is the mean.
        cutoff: number of first layers that are truncated; None truncates all.
        batch: images rendered at once; does not change results.
    """

    access: ClassVar[Access] = Access.LABELS
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {},
        "celeba": {},
        "dogs": {},
        "small": {"final": 6},
        "stylegan2": {"final": 6, "prior": "stylegan2"},
        "portraits": {"final": 6, "prior": "stylegan2-portraits"},
        "dcgan": {"final": 6, "truncation": 1.0, "prior": "dcgan"},
        "head": {"final": 6, "truncation": 1.0, "prior": "head-model"},
    }

    final: Annotated[int, Ge(1)] = 50
    truncation: Annotated[float, Ge(0), Le(1)] = 0.5
    cutoff: Annotated[int | None, Ge(0)] = 8
    batch: Annotated[int, Ge(1)] = 50

    def prepare(self, target: TargetView, prior: Prior, ctx: AttackContext) -> None:
        """Do nothing: classes share nothing."""

    def reconstruct(
        self, label: int, shared: None, target: TargetView, prior: Prior, ctx: AttackContext
    ) -> ClassResult:
        """Render samples of this class's own generator; all scores are 0, for nothing ranks them."""
        with target.spending() as spent:
            render = Renderer(prior, target, ctx.size, ctx.deliver)
            noise_MZ = prior.sample(self.final, ctx.rng("class", label, "prior"))
            with torch.no_grad():
                latent_MLW = prior.to_latent(noise_MZ, truncation=self.truncation, cutoff=self.cutoff)
            images_MCSS = render.deliver(latent_MLW, batch=self.batch)
        return ClassResult(label, images_MCSS, torch.zeros(self.final, device=images_MCSS.device), spent)

    def cost(self, num_classes: int) -> Mapping[str, int]:
        """Count images: one render for each delivered one."""
        return {"forward": 0, "backward": 0, "render": num_classes * self.final}


@dataclass(frozen=True, kw_only=True)
class PriorTopConfidence(_OfPrior):
    """The samples of a pool that the target likes best as each class: PPA's pool without its optimisation.

    Attributes:
        pool: samples that are drawn and scored, the best of which are delivered.
        batch: images processed at once; does not change results.

    Raises:
        UsageError: unless final <= pool.
    """

    access: ClassVar[Access] = Access.SCORES
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {},
        "celeba": {"pool": 5000},
        "dogs": {},
        "small": {"pool": 500, "final": 6},
        "stylegan2": {"pool": 500, "final": 6, "prior": "stylegan2"},
        "portraits": {"pool": 500, "final": 6, "prior": "stylegan2-portraits"},
        "dcgan": {"pool": 500, "final": 6, "truncation": 1.0, "prior": "dcgan"},
        "head": {"pool": 1000, "final": 6, "truncation": 1.0, "prior": "head-model"},
    }

    pool: Annotated[CandidatePool, FlatNames(size="pool", candidates="final")] = CandidatePool(
        size=2000, candidates=50, truncation=0.5, cutoff=8
    )
    batch: Annotated[int, Ge(1)] = 50

    def __post_init__(self) -> None:
        final, pool = self.pool.candidates, self.pool.size
        if final > pool:
            raise UsageError(f"attack 'prior-topconf': expected final <= pool, got {final} > {pool}")

    def prepare(self, target: TargetView, prior: Prior, ctx: AttackContext) -> ScoredPool:
        """Draw and score the pool; with equal settings and seed it is the pool of PPA."""
        return self.pool.fill(Renderer(prior, target, ctx.size, ctx.deliver), ctx.rng("pool"), batch=self.batch)

    def reconstruct(
        self, label: int, shared: ScoredPool, target: TargetView, prior: Prior, ctx: AttackContext
    ) -> ClassResult:
        """Render the best of the pool; scores are the target's mean confidence over image and mirror image."""
        with target.spending() as spent:
            chosen = shared.select(label, self.pool.candidates)
            images_MCSS = Renderer(prior, target, ctx.size, ctx.deliver).deliver(chosen.latents_MLW, batch=self.batch)
        return ClassResult(label, images_MCSS, chosen.scores_M, spent)

    def cost(self, num_classes: int) -> Mapping[str, int]:
        """Count images: the pool under two views, and a second render of what is delivered."""
        return {
            "forward": 2 * self.pool.size,
            "backward": 0,
            "render": self.pool.size + num_classes * self.pool.candidates,
        }
