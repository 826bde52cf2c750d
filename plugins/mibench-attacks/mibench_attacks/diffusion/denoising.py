"""Parts of Diff-MI's search on pixels: which time a step looks at, a leash for gradients, and blurred views.

Images are in [-1, 1] for the denoiser and in [0, 1] for the target.
Shapes: N images, B of a batch, C channels, S = side in pixels.
Source: Li et al., "Model Inversion Attacks Through Target-Specific Conditional Diffusion Models" (arXiv 2407.11424) and
its code; the times come from Graikos et al., "Diffusion Models as Plug-and-Play Priors" (NeurIPS 2022).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, cast

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

from mibench.api import Prior, UsageError
from mibench_attacks.views.transforms import Draw, RandomView

Hook = Callable[[Tensor], Tensor]
BLUR_TAPS, BLUR_SIGMA = 7, 3.0
FLIP_AND_COLOUR = RandomView(scale=(1.0, 1.0), flip=0.5, jitter=0.2, per_sample=True)


class Denoiser(Protocol):
    """What Diff-MI needs of a prior beside rendering; the prior 'diffusion' of mibench-models has it.

    Attributes:
        image_shape: (C, S, S) of its images.
        share_T: alpha-bar at times 1 .. T.
        pseudo_KT: indices of public images for each class of the target, its favourites first.
    """

    image_shape: tuple[int, int, int]
    share_T: Tensor
    pseudo_KT: Tensor

    def noise_estimate(self, x_BCSS: Tensor, time: int, labels_B: Tensor, *, guidance: float) -> Tensor:
        """Estimate the noise in images at a time, under classifier-free guidance."""

    def denoise(self, x_BCSS: Tensor, time: int, labels_B: Tensor, *, guidance: float, steps: int) -> Tensor:
        """Return the clean images that a deterministic sampler reaches from noisy ones at a time."""


def denoiser_of(prior: Prior, attack: str, *, classes: int, top: int) -> Denoiser:
    """Return the prior as a denoiser.

    Raises:
        UsageError: if it is none, or was trained for another number of classes or on fewer images per class.
    """
    needed = ("image_shape", "share_T", "pseudo_KT", "noise_estimate", "denoise")
    if not all(hasattr(prior, name) for name in needed):
        raise UsageError(
            f"attack {attack!r} needs a denoiser, and {type(prior).__name__} is none. Set {attack}.prior=diffusion."
        )
    denoiser = cast(Denoiser, prior)
    known, images = denoiser.pseudo_KT.shape
    if known != classes or images < top:
        raise UsageError(
            f"attack {attack!r}: expected a prior with {classes} classes and at least top={top} images of each,"
            f" got {known} and {images}"
        )
    return denoiser


def annealed_time(share: float, times: int, shift: float) -> int:
    """Return the time of a step that comes after this share of all steps: from T down to about T / 5, on a wave.

    ``200 + 800 ((1 - s) (2 + cos(9 s / pi)) / 3) + shift`` for T = 1000, cut to 1 .. T.

    >>> annealed_time(0.0, 1000, 0.0), annealed_time(1.0, 1000, 0.0)
    (1000, 200)
    """
    left = (1 - share) * (2 + math.cos(9 / math.pi * share)) / 3
    return min(max(int((200 + 800 * left + shift) / 1000 * times), 1), times)


def refine_time(per_mille: int, times: int) -> int:
    """Return the time, at least 1, that is this many thousandths of T."""
    return max(1, round(per_mille * times / 1000))


def noised(x_BCSS: Tensor, noise_BCSS: Tensor, share: Tensor) -> Tensor:
    """Return ``sqrt(share) x + sqrt(1 - share) noise``."""
    return share.sqrt() * x_BCSS + (1 - share).sqrt() * noise_BCSS


class GradientNormClip:
    """Keeps the identity's gradient of each image in proportion to its denoising gradient.

    The released code compares norms of whole batches; here each image is on its own, so that a batch changes nothing.

    Attributes:
        norm_N: moving average (decay 1/2) of the norms of denoising gradients; NaN before the first.
    """

    def __init__(self, n: int, ratio: float, device: torch.device) -> None:
        self.norm_N, self.ratio = torch.full((n,), torch.nan, device=device), ratio

    def noting(self, rows: slice) -> Hook:
        """Return a hook for denoising gradients, which it lets through."""

        def note(gradient_BCSS: Tensor) -> Tensor:
            norm_B, before_B = gradient_BCSS.flatten(1).norm(dim=1), self.norm_N[rows]
            self.norm_N[rows] = torch.where(before_B.isfinite(), before_B.lerp(norm_B, 0.5), norm_B)
            return gradient_BCSS

        return note

    def limiting(self, rows: slice) -> Hook:
        """Return a hook that shortens gradients to ``ratio`` times the norm noted."""

        def limit(gradient_BCSS: Tensor) -> Tensor:
            norm_B = gradient_BCSS.flatten(1).norm(dim=1)
            factor_B: Tensor = (self.ratio * self.norm_N[rows] / norm_B.clamp_min(1e-20)).clamp(max=1)
            return gradient_BCSS * factor_B.view(-1, 1, 1, 1)

        return limit


def blurred(x_BCSS: Tensor) -> Tensor:
    """Blur with a 7 x 7 Gaussian of deviation 3; the border repeats."""
    taps = torch.arange(BLUR_TAPS).to(x_BCSS) - BLUR_TAPS // 2
    weights = (-taps.square() / (2 * BLUR_SIGMA**2)).exp()
    weights = (weights / weights.sum()).expand(x_BCSS.shape[1], 1, 1, -1)
    reach, groups = BLUR_TAPS // 2, x_BCSS.shape[1]
    x_BCSS = pad(x_BCSS, (reach, reach, reach, reach), mode="replicate")
    x_BCSS = conv2d(x_BCSS, weights, groups=groups)
    return conv2d(x_BCSS, weights.transpose(2, 3), groups=groups)


@dataclass(frozen=True)
class BlurDraw:
    """N drawn views: flipped, recoloured, some blurred, and cut to [0, 1].

    Attributes:
        draw: flips and colours.
        blurs_N: bool on the CPU: whether each image is blurred.
    """

    draw: Draw
    blurs_N: Tensor

    @staticmethod
    def drawn(n: int, side: int, rng: torch.Generator) -> BlurDraw:
        """Draw; half of the images are mirrored, half are blurred."""
        return BlurDraw(FLIP_AND_COLOUR.draw(n, side, rng), torch.rand(n, generator=rng) < 0.5)

    def part(self, rows: slice) -> BlurDraw:
        """Return the views of some of the images."""
        return BlurDraw(self.draw.part(rows), self.blurs_N[rows])

    def apply(self, x_NCSS: Tensor) -> Tensor:
        """Change the images, differentiably where they are not cut."""
        x_NCSS = self.draw.apply(x_NCSS)
        blurs_N111 = self.blurs_N.view(-1, 1, 1, 1).to(x_NCSS.device)
        return torch.where(blurs_N111, blurred(x_NCSS), x_NCSS).clamp(0, 1)
