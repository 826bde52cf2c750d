"""What Diff-MI needs of a diffusion model.

Images are in [-1, 1]. Shapes: B images of a batch, C channels, S = side in pixels, K classes, T times.
"""

from __future__ import annotations

from typing import Protocol, cast

from torch import Tensor

from mibench.api import Prior, UsageError


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
