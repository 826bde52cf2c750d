"""Diff-MI, Li et al., arXiv 2407.11424: optimise pixels between a diffusion model's opinion and the target's.

Shapes: N starts, B of a batch, K classes, T public images of a class, D features, C channels, S = protocol's side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor

from mibench.api import Access, AttackContext, ClassResult, Prior, TargetView, UsageError
from mibench_attacks.diffusion.denoising import Denoiser, GradientNormClip, denoiser_of, refine_time
from mibench_attacks.diffusion.losses import PGD_STEPS, DiffMiLosses
from mibench_attacks.images.rendering import Renderer
from mibench_attacks.losses.objectives import LossName
from mibench_attacks.search.gradient_attack import GradientAttack
from mibench_attacks.search.gradient_search import GradientSearch
from mibench_attacks.search.optimisers import adamax
from mibench_attacks.selection.robust_rank import by_confidence


@dataclass(frozen=True, kw_only=True)
class DiffusionInversion(GradientAttack):
    """From x ~ N(0, I), take turns by Adamax between ``|e - e(x_t, t, y)|^2`` and the target's losses; then denoise.

    The target's turn descends ``topk_margin(T(A x), y) + feature_weight |F(A x) - p_y|^2`` over random views A; its
    gradient is at most ``clip_ratio`` times as long as the denoising gradient. p_y are the target's mean features of
    the public images that the prior took for class y. Times t fall from 1000 to 200. At the end x is noised to the time
    ``refine_from`` and denoised.

    Deliberate differences from the released code: gradients are shortened for each image on its own; the denoising at
    the end is deterministic; views change contrast beside brightness; the target's confidence orders what is delivered.

    ``post_pgd`` is off by default although the paper's headline has it: it adds an adversarial perturbation for the
    target to finished images, which is made to change what classifiers say of them.

    Attributes:
        prior: prior to attack with, as 'name' or 'name/preset'; it must be a denoiser, as 'diffusion' is.
        restarts: starting points per class.
        final: images delivered per class, the best of the restarts.
        steps: turns of the denoiser, and as many of the target.
        lr: learning rate of Adamax on pixels in [-1, 1].
        guidance: weight of classifier-free guidance; 1 is none.
        loss: identity loss; topk_margin is the paper's.
        topk: rivals of the loss topk_margin.
        feature_weight: weight of the distance of features; 0 leaves it out.
        top: public images behind p_y, the prior's first ones of the class.
        views: random views averaged in each turn of the target.
        clip_ratio: longest gradient of the target's turn, in units of the denoising gradient's.
        refine_from: time from which the end denoises, out of 1000; 0 leaves it out.
        refine_steps: steps of the denoising at the end.
        post_pgd: end with ten steps of targeted PGD in an L2 ball of 0.5.
        batch: images processed at once; does not change results.

    Raises:
        UsageError: unless final <= restarts.
    """

    access: ClassVar[Access] = Access.WHITE_BOX
    needs_public: ClassVar[bool] = True
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"prior": "diffusion/paper"},
        # for 64-pixel priors on two CPU cores: the published lengths, for six images
        "small": {"prior": "diffusion/small", "restarts": 6, "final": 6},
    }

    prior: str = "diffusion"
    restarts: Annotated[int, Ge(1)] = 5
    final: Annotated[int, Ge(1)] = 5
    steps: Annotated[int, Ge(0)] = 30
    lr: Annotated[float, Gt(0)] = 1.0
    guidance: Annotated[float, Ge(0)] = 3.0
    loss: LossName = "topk_margin"
    topk: Annotated[int, Ge(0)] = 20
    feature_weight: Annotated[float, Ge(0)] = 1.0
    top: Annotated[int, Ge(1)] = 30
    views: Annotated[int, Ge(1)] = 4
    clip_ratio: Annotated[float, Gt(0)] = 1.25
    refine_from: Annotated[int, Ge(0), Le(1000)] = 100
    refine_steps: Annotated[int, Ge(1)] = 10
    post_pgd: bool = False
    batch: Annotated[int, Ge(1)] = 25

    def __post_init__(self) -> None:
        if self.final > self.restarts:
            raise UsageError(f"attack 'diff-mi': expected final <= restarts, got {self.final} > {self.restarts}")

    def check_prior(self, prior: Prior, num_classes: int) -> None:
        """Refuse a prior that is no denoiser for the target's classes."""
        denoiser_of(prior, "diff-mi", classes=num_classes, top=self.top if self.feature_weight else 1)

    def prepare(self, target: TargetView, prior: Prior, ctx: AttackContext) -> Denoiser:
        """Return the prior as a denoiser for the target's classes.

        Raises:
            UsageError: if it is none, or if it has fewer times up to ``refine_from`` than ``refine_steps``.
        """
        top = self.top if self.feature_weight else 1
        denoiser = denoiser_of(prior, "diff-mi", classes=target.num_classes, top=top)
        start = refine_time(self.refine_from, len(denoiser.share_T))
        if self.refine_from and start < self.refine_steps:
            raise UsageError(f"attack 'diff-mi': refine_from is time {start} of this prior; lower refine_steps to that")
        return denoiser

    def reconstruct(
        self, label: int, shared: Denoiser, target: TargetView, prior: Prior, ctx: AttackContext
    ) -> ClassResult:
        """Optimise all starts in turns, denoise them, and order what is found."""
        with target.spending() as spent:
            render, turns = (
                Renderer(prior, target, ctx.size, ctx.deliver),
                DiffMiLosses(self, label, shared, target, ctx),
            )
            start_NCSS = prior.sample(self.restarts, ctx.rng("class", label, "start")).unflatten(1, shared.image_shape)
            norm_clip = GradientNormClip(self.restarts, self.clip_ratio, start_NCSS.device)

            def loss(variables: Sequence[Tensor], rows: slice, step: int) -> Tensor:
                turn, asks_target = divmod(step, 2)
                x_BCSS = variables[0]
                x_BCSS.register_hook(norm_clip.limiting(rows) if asks_target else norm_clip.noting(rows))
                if asks_target:
                    return turns.identity(render.crop_and_resize((x_BCSS + 1) / 2), rows, turn)
                return turns.denoising(x_BCSS, rows, turn)

            search = GradientSearch(steps=2 * self.steps, optimizer=adamax(self.lr), batch=self.batch)
            where = f"class {label}"
            found = search.run([start_NCSS], loss, where=where, report=ctx.progress, ledger=target.ledger)
            with torch.no_grad():
                clean_NCSS = turns.refined(found.variables[0])
                images_NCSS = render.crop_and_resize((clean_NCSS.clamp(-1, 1) + 1) / 2).float().clamp(0, 1)
            if self.post_pgd:
                images_NCSS = turns.attacked(images_NCSS)
            where = f"class {label}, final selection"
            ranking = by_confidence(images_NCSS, label, target, keep=self.final, batch=self.batch, where=where)
        trace = {"loss": found.trace["loss"][1::2], "denoising": found.trace["loss"][::2]}
        return ClassResult(label, images_NCSS[ranking.index_M], ranking.scores_M, spent, trace)

    def cost(self, num_classes: int) -> Mapping[str, int]:
        """Count images, per class: restarts x (steps x views x copies + 1) and the public images behind p_y.

        A guided estimate of the noise in an image counts as a render: restarts x (steps + refine_steps).
        """
        found = num_classes * self.restarts
        gradients = found * (self.steps * self.views * self.alignment.copies + PGD_STEPS * self.post_pgd)
        public = num_classes * self.top if self.feature_weight else 0
        estimates = self.steps + (self.refine_steps if self.refine_from else 0)
        return {"forward": public + gradients + found, "backward": gradients, "render": found * estimates}
