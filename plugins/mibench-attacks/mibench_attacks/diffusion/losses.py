"""The turns of Diff-MI on one class: what the denoiser minds in pixels, what the target minds, and how it ends.

Every draw depends on the seed, the class and the turn only. Images are in [-1, 1] for the denoiser, in [0, 1] for the
target. Shapes: N starts, B of a batch, T public images of the class, D features, C channels, S = side in pixels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mibench.api import AttackContext, TargetView, UsageError, pgd
from mibench_attacks.diffusion.denoising import BlurDraw, Denoiser, annealed_time, noised, refine_time
from mibench_attacks.images.batching import batches
from mibench_attacks.losses.objectives import identity_loss
from mibench_attacks.views.alignment import averaged

if TYPE_CHECKING:
    from mibench_attacks.methods.diff_mi import DiffusionInversion

PGD_STEPS, PGD_RADIUS, PGD_STEP = 10, 0.5, 0.1


class DiffMiLosses:
    """The losses of one class.

    Attributes:
        features_D: p_y, the target's mean features of the public images of the class; ``None`` if they weigh nothing.
    """

    def __init__(
        self, settings: DiffusionInversion, label: int, prior: Denoiser, target: TargetView, ctx: AttackContext
    ) -> None:
        """Ask the target for p_y."""
        self.settings, self.label, self.prior, self.target, self.ctx = settings, label, prior, target, ctx
        self.features_D = self._class_features() if settings.feature_weight else None

    def denoising(self, x_BCSS: Tensor, rows: slice, turn: int) -> Tensor:
        """Return how wrong the denoiser is about noise that is added to the images (B,)."""
        settings, prior = self.settings, self.prior
        shift = torch.randint(-50, 51, (), generator=self._rng("time", turn)).item()
        time = annealed_time(turn / settings.steps, len(prior.share_T), shift)
        noise_NCSS = torch.randn(settings.restarts, *prior.image_shape, generator=self._rng("noise", turn))
        noise_BCSS = noise_NCSS[rows].to(x_BCSS)
        noisy_BCSS = noised(x_BCSS, noise_BCSS, prior.share_T[time - 1])
        estimate_BCSS = prior.noise_estimate(noisy_BCSS, time, self._labels(x_BCSS), guidance=settings.guidance)
        return (estimate_BCSS - noise_BCSS).square().flatten(1).mean(1)

    def identity(self, x_BCSS: Tensor, rows: slice, turn: int) -> Tensor:
        """Return the target's losses of framed images under random views (B,)."""
        settings, size, rng = self.settings, self.ctx.size, self._rng("view", turn)
        draws = [BlurDraw.drawn(settings.restarts, size, rng).part(rows) for _ in range(settings.views)]
        copies = settings.alignment.draw(settings.restarts, self.ctx.channels, size, self._rng("align", turn))

        def loss(x_BCSS: Tensor) -> Tensor:
            return torch.stack([self._seen(draw.apply(x_BCSS)) for draw in draws]).mean(0)

        return averaged(x_BCSS, loss, [copy.part(rows) for copy in copies])

    def refined(self, x_NCSS: Tensor) -> Tensor:
        """Return images after noise of the time ``refine_from`` was added and removed."""
        settings, prior = self.settings, self.prior
        if not settings.refine_from:
            return x_NCSS
        time = refine_time(settings.refine_from, len(prior.share_T))
        noise_NCSS = torch.randn(x_NCSS.shape, generator=self._rng("refine")).to(x_NCSS)
        noisy_NCSS = noised(x_NCSS, noise_NCSS, prior.share_T[time - 1])
        guidance, steps = settings.guidance, settings.refine_steps
        parts = [noisy_NCSS[rows] for rows in batches(len(x_NCSS), settings.batch)]
        return torch.cat([prior.denoise(x, time, self._labels(x), guidance=guidance, steps=steps) for x in parts])

    def attacked(self, x_NCSS: Tensor) -> Tensor:
        """Return images in [0, 1] after targeted PGD towards the class, as the paper's headline numbers have it."""
        return pgd(
            self.target.logits, x_NCSS, self._labels(x_NCSS), eps=PGD_RADIUS, step_size=PGD_STEP, steps=PGD_STEPS,
            rng=self._rng("pgd"), targeted=True, norm="l2",
        )  # fmt: skip

    def _seen(self, x_BCSS: Tensor) -> Tensor:
        settings = self.settings
        of_logits = identity_loss(settings.loss, topk=settings.topk)
        if self.features_D is None:
            return of_logits(self.target.logits(x_BCSS), self._labels(x_BCSS))
        logits_BK, features_BD = self.target.logits_and_features(x_BCSS)
        distance_B = (features_BD.float() - self.features_D).square().mean(1)
        return of_logits(logits_BK, self._labels(x_BCSS)) + settings.feature_weight * distance_B

    @torch.no_grad()
    def _class_features(self) -> Tensor:
        if self.ctx.public is None:
            raise UsageError("attack 'diff-mi' needs public images unless feature_weight=0")
        x_TCSS = self.ctx.public.images(self.prior.pseudo_KT[self.label, : self.settings.top].cpu())
        parts = [self.target.features(part.to(self.ctx.device)) for part in x_TCSS.split(self.settings.batch)]
        return torch.cat(parts).float().mean(0)

    def _labels(self, x_BCSS: Tensor) -> Tensor:
        return torch.full((len(x_BCSS),), self.label, device=x_BCSS.device)

    def _rng(self, *purpose: str | int) -> torch.Generator:
        return self.ctx.rng("class", self.label, *purpose)
