"""Diffusion as pure functions: how much noise there is at a time, and how DDIM takes it away.

Times are 1 .. T, and 0 is the clean image. Images are in [-1, 1].
Shapes: B images, C channels, H = W pixels, T times.
Sources: Ho et al., "Denoising Diffusion Probabilistic Models" (NeurIPS 2020); Nichol and Dhariwal, "Improved Denoising
Diffusion Probabilistic Models" (ICML 2021), cosine schedule; Song et al., "Denoising Diffusion Implicit Models" (2021).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

Schedule = Literal["linear", "cosine"]


def signal_shares(schedule: Schedule, times: int) -> Tensor:
    """Return alpha-bar (T,), float32: the share of the clean image's variance that is left at times 1 .. T.

    ``linear`` lets beta rise from 1e-4 to 0.02 (scaled by 1000 / T); ``cosine`` caps beta at 0.999.
    """
    if schedule == "linear":
        beta_T = torch.linspace(1e-4, 0.02, times, dtype=torch.float64) * (1000 / times)
    else:
        share = ((torch.arange(times + 1, dtype=torch.float64) / times + 0.008) / 1.008 * (math.pi / 2)).cos().square()
        beta_T = 1 - share[1:] / share[:-1]
    return (1 - beta_T.clamp(max=0.999)).cumprod(0).float()


def add_noise(x_BCHW: Tensor, noise_BCHW: Tensor, share_B: Tensor) -> Tensor:
    """Return ``sqrt(share) x + sqrt(1 - share) noise``, with a share for each image (B,) or one for all."""
    share_B111 = share_B.view(-1, 1, 1, 1)
    return share_B111.sqrt() * x_BCHW + (1 - share_B111).sqrt() * noise_BCHW


def spaced(start: int, steps: int) -> list[int]:
    """Return the descending times of a sampler that reaches 0 from ``start`` in at most ``steps`` even steps.

    >>> spaced(1000, 4)
    [1000, 750, 500, 250]
    """
    return sorted({math.ceil(start * left / steps) for left in range(1, steps + 1)}, reverse=True)


def ddim(
    x_BCHW: Tensor,
    estimate: Callable[[Tensor, int], Tensor],
    share_T: Tensor,
    times: Sequence[int],
    *,
    clip: bool = True,
) -> list[Tensor]:
    """Denoise without drawing anything; return the clean image as seen at each of the times. The last is the sample.

    Args:
        x_BCHW: noisy images at the first time.
        estimate: maps noisy images and their time to the noise in them.
        share_T: alpha-bar at times 1 .. T.
        times: descending times of the estimates.
        clip: keep all but the last view of the clean image within [-1, 1], and the noise consistent with it.
    """
    seen = []
    for time, following in pairwise([*times, 0]):
        share = share_T[time - 1]
        noise_BCHW = estimate(x_BCHW, time)
        clean_BCHW = (x_BCHW - (1 - share).sqrt() * noise_BCHW) / share.sqrt()
        if clip and following:
            clean_BCHW = clean_BCHW.clamp(-1, 1)
            noise_BCHW = (x_BCHW - share.sqrt() * clean_BCHW) / (1 - share).sqrt()
        seen.append(clean_BCHW)
        if following:
            x_BCHW = add_noise(clean_BCHW, noise_BCHW, share_T[following - 1])
    return seen
