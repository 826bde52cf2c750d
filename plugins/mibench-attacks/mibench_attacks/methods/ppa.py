"""Plug & Play Attack (PPA), Struppek et al., "Plug & Play Attacks", ICML 2022, section 3.

Shapes: N candidates, M delivered images, L style layers, W size of a style vector, C channels, S = protocol's side.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NamedTuple

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor

from mibench.api import Access, AttackContext, ClassResult, OmitIfDefault, Prior, SeedPart, TargetView, UsageError
from mibench_attacks.images.rendering import Renderer
from mibench_attacks.losses.objectives import LossName, Objective, identity_loss
from mibench_attacks.search.gradient_attack import GradientAttack
from mibench_attacks.search.gradient_search import GradientSearch
from mibench_attacks.search.optimisers import adam, at_milestones
from mibench_attacks.selection.pool import CandidatePool, ScoredPool, ScoreWith
from mibench_attacks.selection.robust_rank import RobustRank
from mibench_attacks.views.alignment import averaged
from mibench_attacks.views.transforms import RandomView

_RELEASED: dict[str, Any] = {"clamp_selection": False}
_SEED: dict[str, Any] = {**_RELEASED, "milestones": (30, 40), "gamma": 0.1}
_SMALL: dict[str, Any] = {"pool": 500, "candidates": 16, "final": 6, "draws": 25}
_ALIGNMI: dict[str, Any] = {"candidates": 100, "final": 100, "steps": 70, "draws": 1}
_ADAPTIVE: dict[str, Any] = {**_SMALL, "lr": 0.2, "truncation": 1.0}

ImageLoss = Callable[[Tensor, slice, int], Tensor]
"""``loss(images, rows, step)`` of the images of these candidates, one value each (B,)."""


class Inverted(NamedTuple):
    """What one pass of the attack found for a class, best first.

    Attributes:
        latents_MLW: optimised latents; L is 1 for a single style vector.
        images_MCSS: their images, as delivered.
        scores_M: their robust confidence.
        trace: of the search.
    """

    latents_MLW: Tensor
    images_MCSS: Tensor
    scores_M: Tensor
    trace: dict[str, list[float]]


@dataclass(frozen=True, kw_only=True)
class PlugAndPlay(GradientAttack):
    """Choose latents of a generator that the target likes, optimise them under random crops, keep the robust ones.

    Defaults are the paper's for FaceScrub with an FFHQ prior. Deliberate differences from the released code: target and
    generator are frozen (same numbers, less work), and the crop of a step is drawn once per class and not once per
    batch. By default the final selection sees the images as delivered, that is clamped; presets that stand for released
    code set ``clamp_selection`` to false.

    Attributes:
        pool: latents drawn and scored once for all classes.
        candidates: latents optimised per class, the best of the pool.
        final: images delivered per class, the most robust candidates.
        steps: updates of each candidate.
        lr: learning rate of Adam.
        betas: Adam's averages of gradient and squared gradient, each in [0, 1).
        milestones: steps after which the learning rate is multiplied by gamma; empty in the paper.
        gamma: factor at each milestone.
        truncation: pull of the pool towards the mean latent; 1 is none, 0 is the mean.
        cutoff: number of first layers that are truncated; None truncates all.
        single_w: optimise one style vector for all layers, begun at the first layer's; otherwise one per layer.
        score_with: 'pool' scores latents as drawn (released code), 'single_w' the first layer repeated.
        loss: identity loss; poincare is the paper's, the others are adaptive variants.
        topk: rivals of the loss topk_margin.
        crop_scale: smallest and largest area share of the crops while optimising.
        crop_ratio: smallest and largest width / height of these crops.
        per_sample: draw another crop for each candidate; otherwise all share one per step, as torchvision does.
        views: crops averaged per step.
        clip: clamp images to [0, 1] while optimising too; they are always clamped when delivered.
        draws: random views over which the final selection averages the target's confidence.
        select_scale: smallest and largest area share of the crops of the final selection.
        select_ratio: smallest and largest width / height of these crops.
        select_flip: probability of mirroring in the final selection.
        batch: images processed at once; does not change results.
        clamp_selection: let the final selection see the images as delivered; false shows it pixels outside of [0, 1]
            too, as the released code does. Orders are equal where no pixel is outside.

    Raises:
        UsageError: unless final <= candidates <= pool and all ranges are possible.
    """

    name: ClassVar[str] = "ppa"
    access: ClassVar[Access] = Access.WHITE_BOX
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": _RELEASED,
        "celeba": {**_RELEASED, "pool": 5000, "steps": 70},
        "metfaces": {**_RELEASED, "pool": 5000, "steps": 70},  # CelebA or FaceScrub with a MetFaces prior
        "dogs": {**_RELEASED, "steps": 100, "lr": 0.01, "crop_scale": (0.75, 1.0)},
        # the configuration of the AT-AT paper's code: a schedule that the PPA paper's configurations do not have
        "seed": _SEED,
        "seed-celeba": {**_SEED, "pool": 5000},
        "seed-dogs": {**_SEED, "steps": 100, "lr": 0.01, "crop_scale": (0.75, 1.0)},
        # the baseline of AlignMI, which has no final selection: one draw of views only orders what is delivered
        "alignmi-baseline": _ALIGNMI,
        "alignmi-paa": {**_ALIGNMI, "align": "paa"},
        "alignmi-taa": {**_ALIGNMI, "align": "taa"},
        # what PPDG-MI is compared with
        "ppdg-baseline": {"pool": 500, "candidates": 100, "final": 100, "steps": 70},
        # for 64-pixel priors on two CPU cores: every phase at its published length except for the numbers of images
        "small": _SMALL,
        # adaptive variants: the settings that orl64 and rendered64 freeze for PPA on their PCA prior (lr, truncation),
        # repeated here because a preset that is asked for by name replaces a protocol's settings, and one change
        "ce": {**_ADAPTIVE, "loss": "ce"},
        "logit": {**_ADAPTIVE, "loss": "logit"},
        "max-margin": {**_ADAPTIVE, "loss": "max_margin"},
        "paa": {**_ADAPTIVE, "align": "paa", "n_aug": 20},
        "taa": {**_ADAPTIVE, "align": "taa", "n_aug": 20},
        # the same budget on the generator that IF-GMI, PPDG-MI and MIRROR attack with, at IF-GMI's rate
        "stylegan2": {**_SMALL, "prior": "stylegan2", "lr": 0.02},
        "smoke": {"pool": 64, "candidates": 8, "final": 4, "steps": 5, "draws": 5},
    }

    pool: Annotated[int, Ge(1)] = 2000
    candidates: Annotated[int, Ge(1)] = 200
    final: Annotated[int, Ge(1)] = 50
    steps: Annotated[int, Ge(0)] = 50
    lr: Annotated[float, Gt(0)] = 0.005
    betas: tuple[float, float] = (0.1, 0.1)
    milestones: tuple[int, ...] = ()
    gamma: Annotated[float, Gt(0)] = 0.1
    truncation: Annotated[float, Ge(0), Le(1)] = 0.5
    cutoff: Annotated[int | None, Ge(0)] = 8
    single_w: bool = True
    score_with: ScoreWith = "pool"
    loss: LossName = "poincare"
    topk: Annotated[int, Ge(0)] = 20
    crop_scale: tuple[float, float] = (0.9, 1.0)
    crop_ratio: tuple[float, float] = (1.0, 1.0)
    per_sample: bool = False
    views: Annotated[int, Ge(1)] = 1
    clip: bool = False
    draws: Annotated[int, Ge(1)] = 100
    select_scale: tuple[float, float] = (0.5, 0.9)
    select_ratio: tuple[float, float] = (0.8, 1.2)
    select_flip: Annotated[float, Ge(0), Le(1)] = 0.5
    batch: Annotated[int, Ge(1)] = 25
    clamp_selection: Annotated[bool, OmitIfDefault()] = True

    def __post_init__(self) -> None:
        if not self.final <= self.candidates <= self.pool:
            counts = f"final {self.final}, candidates {self.candidates}, pool {self.pool}"
            raise UsageError(f"attack {self.name!r}: expected final <= candidates <= pool, got {counts}")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise UsageError(f"attack {self.name!r}: expected betas in [0, 1), got {self.betas}")
        self.objective()  # impossible crops are refused here, not after hours of work
        self._ranking()

    def prepare(self, target: TargetView, prior: Prior, ctx: AttackContext) -> ScoredPool:
        """Draw and score the pool that all classes choose from."""
        return self._fill(Renderer(prior, target, ctx.size, ctx.deliver), ctx.rng("pool"))

    def reconstruct(
        self, label: int, shared: ScoredPool, target: TargetView, prior: Prior, ctx: AttackContext
    ) -> ClassResult:
        """Select, optimise and choose: the whole attack on one class."""
        with target.spending() as spent:
            found = self._invert(label, shared, Renderer(prior, target, ctx.size, ctx.deliver), ctx)
        return ClassResult(label, found.images_MCSS, found.scores_M, spent, found.trace)

    def cost(self, num_classes: int) -> Mapping[str, int]:
        """Count images: the pool under 2 views, then per class candidates x (steps x views x copies + draws + 1)."""
        updates = num_classes * self.candidates * self.steps
        gradients = updates * self.views * self.alignment.copies
        return {
            "forward": 2 * self.pool + gradients + num_classes * self.candidates * self.draws,
            "backward": gradients,
            "render": self.pool + updates + num_classes * self.candidates,
        }

    def _fill(self, render: Renderer, rng: torch.Generator) -> ScoredPool:
        pool = CandidatePool(
            size=self.pool,
            truncation=self.truncation,
            cutoff=self.cutoff,
            score_with=self.score_with,
            batch=self.batch,
        )
        return pool.fill(render, rng)

    def _start(self, label: int, pool: ScoredPool) -> Tensor:
        latents_NLW = pool.select(label, self.candidates).latents_MLW
        return latents_NLW[:, :1] if self.single_w else latents_NLW

    def _invert(self, label: int, pool: ScoredPool, render: Renderer, ctx: AttackContext) -> Inverted:
        loss_of = self._loss(label, self.steps, render.target, ctx)

        def loss(variables: Sequence[Tensor], rows: slice, step: int) -> Tensor:
            return loss_of(render(variables[0], clamp=self.clip), rows, step)

        start_NLW = self._start(label, pool)
        found = self._search(self.steps).run(
            [start_NLW], loss, where=f"class {label}", report=ctx.progress, ledger=render.target.ledger
        )
        if self.clamp_selection:
            images_NCDD = render.deliver(found.variables[0], batch=self.batch)
            seen_NCSS = render.seen(images_NCDD)
        else:
            images_NCDD, seen_NCSS = render.deliver_both(found.variables[0], batch=self.batch)
        index_M, scores_M = self._ranking().rank(seen_NCSS, label, render.target, ctx.rng("class", label, "select"))
        return Inverted(found.variables[0][index_M], images_NCDD[index_M], scores_M, found.trace)

    def _loss(self, label: int, steps: int, target: TargetView, ctx: AttackContext, *part: SeedPart) -> ImageLoss:
        """Draw the views of ``steps`` steps and return the loss under them; ``part`` tells draws apart."""
        objective = self.objective()
        rng, shape = ctx.rng("class", label, "crop", *part), (self.candidates, ctx.channels, ctx.size)
        draws = [objective.draw(self.candidates, ctx.size, rng) for _ in range(steps)]

        def loss(x_BCSS: Tensor, rows: slice, step: int) -> Tensor:
            views = [draw.part(rows) for draw in draws[step]]
            copies = self.alignment.draw(*shape, ctx.rng("class", label, "align", *part, step))
            perturbed = [copy.part(rows) for copy in copies]
            return averaged(x_BCSS, lambda x: objective(x, label, target, views), perturbed)

        return loss

    def objective(self) -> Objective:
        """Return the loss that is descended and the views it is averaged over; override it for another."""
        view = RandomView(scale=self.crop_scale, ratio=self.crop_ratio, per_sample=self.per_sample)
        return Objective(loss=identity_loss(self.loss, topk=self.topk), view=view, views=self.views)

    def _search(self, steps: int) -> GradientSearch:
        return GradientSearch(
            steps=steps,
            optimizer=adam(self.lr, self.betas),
            schedule=at_milestones(self.milestones, self.gamma),
            batch=self.batch,
        )

    def _ranking(self) -> RobustRank:
        view = RandomView(scale=self.select_scale, ratio=self.select_ratio, flip=self.select_flip)
        return RobustRank(keep=self.final, draws=self.draws, view=view, batch=self.batch)
