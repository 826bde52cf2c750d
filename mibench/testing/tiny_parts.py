"""The smallest networks that keep the contracts: a classifier with BatchNorm, a linear prior, an embedder.

Shapes: B images of a batch, C channels, H = W pixels, K classes, Z noise, L = 1 style layers, W = Z latent size.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, normalize

from mibench.api.classifier import Classifier, Embedder
from mibench.api.images import resize, to_rgb
from mibench.api.prior import BlockState, Prior
from mibench.api.rng import generator, seeded


def tiny_classifier(num_classes: int, channels: int, *, seed: int = 0, width: int = 8) -> Classifier:
    """Make a two-block CNN (B, C, H, W) -> (B, K) with stages ``block1`` and ``block2``; the weights follow the seed.

    Args:
        num_classes: K.
        channels: C.
        seed: of the initial weights.
        width: channels of the first block; the second has twice as many.
    """
    with seeded("tiny classifier", seed):
        body = nn.Sequential(
            OrderedDict(
                block1=_block(channels, width),
                block2=_block(width, 2 * width),
                pool=nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten()),
                fc=nn.Linear(8 * width, num_classes),
            )
        )
    middle = [0.5] * channels
    return Classifier(
        body, head="fc", stage_names=["block1", "block2"], mean=middle, std=[0.25] * channels, channels=channels
    )


def _block(inside: int, outside: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, padding=1, bias=False), nn.BatchNorm2d(outside), nn.ReLU(), nn.MaxPool2d(2)
    )


def smooth_noise(n: int, channels: int, size: int, rng: torch.Generator, *, grid: int = 4) -> Tensor:
    """Draw n smooth random patterns (n, C, H, W) mostly within [-3, 3]: noise on a coarse grid, enlarged."""
    coarse = torch.randn(n, channels, grid, grid, generator=rng)
    return interpolate(coarse, size=(size, size), mode="bilinear", align_corners=False)


class TinyPrior(Prior):
    """A linear generator: grey plus a combination of Z smooth patterns, so that it can render outside [0, 1].

    Args:
        channels: C.
        size: side in pixels.
        noise_size: Z.
        seed: of the patterns.
    """

    basis_WCHW: Tensor

    def __init__(self, channels: int = 3, size: int = 16, *, noise_size: int = 12, seed: int = 0) -> None:
        super().__init__()
        self.noise_size = self.latent_size = noise_size
        self.latent_layers = 1
        patterns = smooth_noise(noise_size, channels, size, generator("tiny prior", seed))
        self.register_buffer("basis_WCHW", 0.25 * patterns / noise_size**0.5)

    def to_latent(self, z_BZ: Tensor, *, truncation: float = 1.0, cutoff: int | None = None) -> Tensor:
        """Return the noise itself as latents (B, 1, W), pulled towards the mean, which is 0."""
        cut = cutoff is None or cutoff > 0
        return (truncation if cut else 1.0) * z_BZ[:, None, :]

    def render(self, latent_BLW: Tensor, *, start: int = 0, carry: BlockState | None = None) -> Tensor:
        """Render images (B, C, H, W), not clamped."""
        offset_BCHW: Tensor = torch.tensordot(latent_BLW[:, 0], self.basis_WCHW, dims=1)
        return 0.5 + offset_BCHW


class TinyEmbedder(Embedder):
    """Embeds an image by its coarse colours: RGB pixels at 4 x 4, centred and normalised, D = 48."""

    def embed(self, x_NCHW: Tensor) -> Tensor:
        """Return L2-normalised embeddings (N, 48)."""
        coarse = resize(to_rgb(x_NCHW), 4).flatten(1)
        return normalize(coarse - coarse.mean(1, keepdim=True), dim=1)
