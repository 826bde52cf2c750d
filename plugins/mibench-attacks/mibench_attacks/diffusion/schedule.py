"""The times at which Diff-MI asks a diffusion model, and the forward process.

Shapes: B images of a batch, C channels, S = side in pixels.
Source: Li et al., "Model Inversion Attacks Through Target-Specific Conditional Diffusion Models" (arXiv 2407.11424) and
its code; the times come from Graikos et al., "Diffusion Models as Plug-and-Play Priors" (NeurIPS 2022).
"""

from __future__ import annotations

import math

from torch import Tensor


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
