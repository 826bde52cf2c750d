"""What a GAN sees in each training step: real images and latents, drawn from named generators.

Shapes: B images of a batch, Z size of the noise, L style layers, W size of a style vector, C channels, H = W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mibench.api import ImageSet, generator
from mibench_models.priors.parts.augmentation import flip
from mibench_models.priors.stylegan2.generator import Generator


@dataclass(frozen=True)
class Batches:
    """Draws by (seed, purpose, step), on the CPU, so that any step can be repeated.

    Attributes:
        images: the public images.
        seed: of the training.
        device: where batches go.
        mirror: whether real images are mirrored half of the time.
        style_mixing: probability that a sample uses two style vectors.
    """

    images: ImageSet
    seed: int
    device: torch.device
    mirror: bool
    style_mixing: float

    def rng(self, purpose: str, index: int) -> torch.Generator:
        """Return the generator of a purpose at a step."""
        return generator(self.seed, purpose, index)

    def real(self, purpose: str, index: int, count: int) -> Tensor:
        """Return real images (B, C, H, W) in [-1, 1], drawn with replacement."""
        rng = self.rng(purpose, index)
        chosen_B = torch.randint(len(self.images), (count,), generator=rng)
        x_BCHW = self.images.images(chosen_B).to(self.device) * 2 - 1
        x_BCHW = flip(x_BCHW, rng) if self.mirror else x_BCHW
        return x_BCHW.contiguous(memory_format=torch.channels_last)

    def latents(self, net: Generator, purpose: str, index: int, count: int) -> tuple[Tensor, Tensor]:
        """Return latents (B, L, W) with style mixing, and the style vectors (B, W) of their first layers."""
        rng, layers = self.rng(f"{purpose} latent", index), net.synthesis.num_ws
        z_2BZ = torch.randn(2 * count, net.z_dim, generator=rng).to(self.device)
        first_BW, second_BW = net.mapping(z_2BZ).chunk(2)
        mixed_B = torch.rand(count, generator=rng) < self.style_mixing
        cut_B = torch.where(mixed_B, torch.randint(1, layers, (count,), generator=rng), layers)
        keep_BL1 = (torch.arange(layers) < cut_B[:, None])[:, :, None].to(self.device)
        return torch.where(keep_BL1, first_BW[:, None], second_BW[:, None]), first_BW
