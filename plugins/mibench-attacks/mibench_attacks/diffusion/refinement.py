"""How Diff-MI ends: noise is added to what was found and removed by the denoiser; optionally a targeted perturbation.

Images are in [-1, 1] for the denoiser, in [0, 1] for the target. Shapes: N images, C channels, S = side in pixels.
Source: Li et al., "Model Inversion Attacks Through Target-Specific Conditional Diffusion Models" (arXiv 2407.11424).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor

from mibench.api import TargetView, UsageError, pgd
from mibench_attacks.diffusion.denoiser import Denoiser
from mibench_attacks.diffusion.schedule import noised, refine_time
from mibench_attacks.images.batching import batches

PGD_STEPS, PGD_RADIUS, PGD_STEP = 10, 0.5, 0.1


@dataclass(frozen=True, kw_only=True)
class Denoising:
    """How the denoiser is used, in the search and after it.

    Attributes:
        guidance: weight of classifier-free guidance; 1 is none.
        refine_from: time from which images are denoised at the end, out of 1000; 0 leaves it out.
        refine_steps: steps of the denoising at the end.
    """

    guidance: Annotated[float, Ge(0)] = 3.0
    refine_from: Annotated[int, Ge(0), Le(1000)] = 100
    refine_steps: Annotated[int, Ge(1)] = 10

    @property
    def estimates(self) -> int:
        """Estimates of noise for each image at the end."""
        return self.refine_steps if self.refine_from else 0

    def check(self, times: int) -> None:
        """Refuse a denoiser of ``times`` times that has too few of them.

        Raises:
            UsageError: if the time of the start is smaller than the number of steps.
        """
        start = refine_time(self.refine_from, times)
        if self.refine_from and start < self.refine_steps:
            raise UsageError(f"attack 'diff-mi': refine_from is time {start} of this prior; lower refine_steps to that")

    def refine(self, x_NCSS: Tensor, label: int, prior: Denoiser, rng: torch.Generator, *, batch: int) -> Tensor:
        """Return images after noise of the time ``refine_from`` was added and removed, ``batch`` at once."""
        if not self.refine_from:
            return x_NCSS
        time = refine_time(self.refine_from, len(prior.share_T))
        noise_NCSS = torch.randn(x_NCSS.shape, generator=rng).to(x_NCSS)
        noisy_NCSS = noised(x_NCSS, noise_NCSS, prior.share_T[time - 1])
        labels_N = torch.full((len(x_NCSS),), label, device=x_NCSS.device)
        guidance, steps = self.guidance, self.refine_steps
        return torch.cat(
            [
                prior.denoise(noisy_NCSS[rows], time, labels_N[rows], guidance=guidance, steps=steps)
                for rows in batches(len(x_NCSS), batch)
            ]
        )


def perturbed_towards(x_NCSS: Tensor, label: int, target: TargetView, rng: torch.Generator) -> Tensor:
    """Return images in [0, 1] after targeted PGD towards the class, as the paper's headline numbers have it."""
    labels_N = torch.full((len(x_NCSS),), label, device=x_NCSS.device)
    return pgd(
        target.logits, x_NCSS, labels_N, eps=PGD_RADIUS, step_size=PGD_STEP, steps=PGD_STEPS, rng=rng,
        targeted=True, norm="l2",
    )  # fmt: skip
