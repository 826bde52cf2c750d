"""The two losses of Diff-MI on one class, that of the denoiser and that of the target.

Every draw depends on the seed, the class and the step only. Images are in [-1, 1] for the denoiser, in [0, 1] for the
target. Shapes: N starts, B of a batch, T public images of the class, D features, C channels, S = side in pixels.
Source: Li et al., "Model Inversion Attacks Through Target-Specific Conditional Diffusion Models" (arXiv 2407.11424).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor

from mibench.api import AttackContext, TargetView, UsageError
from mibench_attacks.diffusion.denoiser import Denoiser
from mibench_attacks.diffusion.schedule import annealed_time, noised
from mibench_attacks.losses.objectives import LossName, identity_loss
from mibench_attacks.views.alignment import Alignment, averaged
from mibench_attacks.views.blurring import BlurDraw


@dataclass(frozen=True, kw_only=True)
class TargetObjective:
    """What the target contributes: an identity loss and a distance of features, averaged over random views.

    Attributes:
        loss: identity loss; topk_margin is the paper's.
        topk: number of other classes that the loss topk_margin compares with.
        feature_weight: weight of the squared distance to the class's mean features; 0 leaves it out.
        top: public images whose features are averaged, the prior's first ones of the class.
        views: random views averaged in each step.
    """

    loss: LossName = "topk_margin"
    topk: Annotated[int, Ge(0)] = 20
    feature_weight: Annotated[float, Ge(0)] = 1.0
    top: Annotated[int, Ge(1)] = 30
    views: Annotated[int, Ge(1)] = 4

    @property
    def public_images(self) -> int:
        """Public images that are shown to the target for each class."""
        return self.top if self.feature_weight else 0

    @torch.no_grad()
    def class_features(
        self, label: int, prior: Denoiser, target: TargetView, ctx: AttackContext, *, batch: int
    ) -> Tensor | None:
        """Return p_y (D,), the target's mean features of the class's public images; ``None`` if they weigh nothing.

        Raises:
            UsageError: if there are no public images.
        """
        if not self.feature_weight:
            return None
        if ctx.public is None:
            raise UsageError("attack 'diff-mi' needs public images unless feature_weight=0")
        x_TCSS = ctx.public.images(prior.pseudo_KT[label, : self.top].cpu())
        return torch.cat([target.features(part.to(ctx.device)) for part in x_TCSS.split(batch)]).float().mean(0)


@dataclass(frozen=True, kw_only=True)
class DiffMiLosses:
    """The losses of one class.

    Attributes:
        objective: of the target.
        alignment: of the gradients of the target.
        guidance: weight of classifier-free guidance.
        steps: updates on each loss, over which the times fall.
        restarts: N.
        label: the class.
        prior: the denoiser.
        target: the classifier under attack.
        ctx: of the attack.
        features_D: p_y of :meth:`TargetObjective.class_features`.
    """

    objective: TargetObjective
    alignment: Alignment
    guidance: float
    steps: int
    restarts: int
    label: int
    prior: Denoiser
    target: TargetView
    ctx: AttackContext
    features_D: Tensor | None

    def denoising(self, x_BCSS: Tensor, rows: slice, step: int) -> Tensor:
        """Return the denoiser's mean squared error about noise that is added to the images (B,)."""
        shift = torch.randint(-50, 51, (), generator=self._rng("time", step)).item()
        time = annealed_time(step / self.steps, len(self.prior.share_T), shift)
        noise_NCSS = torch.randn(self.restarts, *self.prior.image_shape, generator=self._rng("noise", step))
        noise_BCSS = noise_NCSS[rows].to(x_BCSS)
        noisy_BCSS = noised(x_BCSS, noise_BCSS, self.prior.share_T[time - 1])
        labels_B = self._labels(x_BCSS)
        estimate_BCSS = self.prior.noise_estimate(noisy_BCSS, time, labels_B, guidance=self.guidance)
        return (estimate_BCSS - noise_BCSS).square().flatten(1).mean(1)

    def identity(self, x_BCSS: Tensor, rows: slice, step: int) -> Tensor:
        """Return the target's loss of framed images, averaged over random views (B,)."""
        size, rng = self.ctx.size, self._rng("view", step)
        draws = [BlurDraw.drawn(self.restarts, size, rng).part(rows) for _ in range(self.objective.views)]
        copies = self.alignment.draw(self.restarts, self.ctx.channels, size, self._rng("align", step))

        def loss(x_BCSS: Tensor) -> Tensor:
            return torch.stack([self._of_view(draw.apply(x_BCSS)) for draw in draws]).mean(0)

        return averaged(x_BCSS, loss, [copy.part(rows) for copy in copies])

    def _of_view(self, x_BCSS: Tensor) -> Tensor:
        of_logits = identity_loss(self.objective.loss, topk=self.objective.topk)
        if self.features_D is None:
            return of_logits(self.target.logits(x_BCSS), self._labels(x_BCSS))
        logits_BK, features_BD = self.target.logits_and_features(x_BCSS)
        distance_B = (features_BD.float() - self.features_D).square().mean(1)
        return of_logits(logits_BK, self._labels(x_BCSS)) + self.objective.feature_weight * distance_B

    def _labels(self, x_BCSS: Tensor) -> Tensor:
        return torch.full((len(x_BCSS),), self.label, device=x_BCSS.device)

    def _rng(self, *purpose: str | int) -> torch.Generator:
        return self.ctx.rng("class", self.label, *purpose)
