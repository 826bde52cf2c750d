"""Diff-MI, Li et al., arXiv 2407.11424: optimise pixels on the losses of a diffusion model and of the target.

Shapes: N starts, C channels, S = protocol's side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor

from mibench.api import Access, AttackContext, ClassResult, FlatNames, Prior, TargetView
from mibench_attacks.diffusion.denoiser import Denoiser, denoiser_of
from mibench_attacks.diffusion.losses import DiffMiLosses, TargetObjective
from mibench_attacks.diffusion.refinement import PGD_STEPS, Denoising, perturbed_towards
from mibench_attacks.images.rendering import Renderer
from mibench_attacks.search.alternating_search import AlternatingSearch
from mibench_attacks.search.gradient_attack import GradientAttack
from mibench_attacks.selection.confidence import MostConfident


@dataclass(frozen=True, kw_only=True)
class DiffusionInversion(GradientAttack):
    """From x ~ N(0, I), update by turns on ``|e - e(x_t, t, y)|^2`` and on the target's loss; then denoise.

    The target's loss is ``topk_margin(T(A x), y) + feature_weight |F(A x) - p_y|^2`` over random views A; its gradient
    is at most ``clip_ratio`` times as long as that of the denoising loss. p_y are the target's mean features of the
    public images that the prior took for class y. Times t fall from 1000 to 200. At the end x is noised to the time
    ``refine_from`` and denoised.

    Deliberate differences from the released code: gradients are clipped for each image on its own; the denoising at
    the end is deterministic; views change contrast beside brightness; the target's confidence orders what is delivered.

    ``post_pgd`` is off by default although the paper's headline has it: it adds an adversarial perturbation for the
    target to finished images, which is made to change what classifiers say of them.

    Attributes:
        prior: prior to attack with, as 'name' or 'name/preset'; it must be a denoiser, as 'diffusion' is.
        search: updates by turns on the two losses.
        denoising: how the denoiser is used.
        objective: the target's loss.
        selection: what is delivered.
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
    search: Annotated[AlternatingSearch, FlatNames()] = AlternatingSearch()
    denoising: Annotated[Denoising, FlatNames()] = Denoising()
    objective: Annotated[TargetObjective, FlatNames()] = TargetObjective()
    selection: Annotated[MostConfident, FlatNames()] = MostConfident()
    post_pgd: bool = False
    batch: Annotated[int, Ge(1)] = 25

    def __post_init__(self) -> None:
        self.selection.check(self.search.restarts, attack="diff-mi", name="restarts")

    def check_prior(self, prior: Prior, num_classes: int) -> None:
        """Refuse a prior that is no denoiser for the target's classes."""
        denoiser_of(prior, "diff-mi", classes=num_classes, top=self.objective.public_images or 1)

    def prepare(self, target: TargetView, prior: Prior, ctx: AttackContext) -> Denoiser:
        """Return the prior as a denoiser for the target's classes.

        Raises:
            UsageError: if it is none, or if it has fewer times up to ``refine_from`` than ``refine_steps``.
        """
        top = self.objective.public_images or 1
        denoiser = denoiser_of(prior, "diff-mi", classes=target.num_classes, top=top)
        self.denoising.check(len(denoiser.share_T))
        return denoiser

    def reconstruct(
        self, label: int, shared: Denoiser, target: TargetView, prior: Prior, ctx: AttackContext
    ) -> ClassResult:
        """Optimise all starts, denoise what is found, and order it."""
        with target.spending() as spent:
            render, losses = Renderer(prior, target, ctx.size, ctx.deliver), self._losses(label, shared, target, ctx)
            start_NZ = prior.sample(self.search.restarts, ctx.rng("class", label, "start"))

            def framed(x_NCSS: Tensor) -> Tensor:
                return render.crop_and_resize((x_NCSS + 1) / 2)

            found = self.search.run(
                start_NZ.unflatten(1, shared.image_shape),
                losses.denoising,
                lambda x_BCSS, rows, step: losses.identity(framed(x_BCSS), rows, step),
                where=f"class {label}", batch=self.batch, report=ctx.progress, ledger=target.ledger,
            )  # fmt: skip
            with torch.no_grad():
                rng = ctx.rng("class", label, "refine")
                clean_NCSS = self.denoising.refine(found.x_N, label, shared, rng, batch=self.batch)
                images_NCSS = framed(clean_NCSS.clamp(-1, 1)).float().clamp(0, 1)
            if self.post_pgd:
                images_NCSS = perturbed_towards(images_NCSS, label, target, ctx.rng("class", label, "pgd"))
            chosen = self.selection.choose(images_NCSS, images_NCSS, label, target, batch=self.batch)
        return ClassResult(label, *chosen, spent, {"loss": found.second, "denoising": found.first})

    def cost(self, num_classes: int) -> Mapping[str, int]:
        """Count images, per class: restarts x (steps x views x copies + 1) and the public images behind p_y.

        A guided estimate of the noise in an image counts as a render: restarts x (steps + refine_steps).
        """
        found, steps = num_classes * self.search.restarts, self.search.steps
        gradients = found * (steps * self.objective.views * self.alignment.copies + PGD_STEPS * self.post_pgd)
        public = num_classes * self.objective.public_images
        renders = found * (steps + self.denoising.estimates)
        return {"forward": public + gradients + found, "backward": gradients, "render": renders}

    def _losses(self, label: int, denoiser: Denoiser, target: TargetView, ctx: AttackContext) -> DiffMiLosses:
        features_D = self.objective.class_features(label, denoiser, target, ctx, batch=self.batch)
        return DiffMiLosses(
            objective=self.objective, alignment=self.alignment, guidance=self.denoising.guidance,
            steps=self.search.steps, restarts=self.search.restarts, label=label, prior=denoiser, target=target, ctx=ctx,
            features_D=features_D,
        )  # fmt: skip
