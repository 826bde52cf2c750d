"""Latents of class-conditional generators: the noise, and behind it a weight for each class.

Shapes: B latents, Z size of the noise, K classes, L = 1 style layers, W = Z + K size of a latent.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from mibench.api import Prior


class ConditionalPrior(Prior):
    """A generator whose latents are (B, 1, Z + K). ``condition`` writes the class as a one-hot vector.

    Attributes:
        unconditioned: weight of each class in latents that nobody conditioned.
    """

    def __init__(self, noise: int, classes: int, *, unconditioned: float) -> None:
        super().__init__()
        self.latent_layers, self.latent_size = 1, noise + classes
        self.noise_size, self.classes, self.unconditioned = noise, classes, unconditioned

    def to_latent(self, z_BZ: Tensor, *, truncation: float = 1.0, cutoff: int | None = None) -> Tensor:
        """Return ``truncation * z`` with no particular class; the only layer is left alone if ``cutoff`` is 0."""
        z_BZ = z_BZ if cutoff == 0 else z_BZ * truncation
        return torch.cat([z_BZ, z_BZ.new_full((len(z_BZ), self.classes), self.unconditioned)], dim=1)[:, None]

    def condition(self, latent_BLW: Tensor, labels_B: Tensor) -> Tensor:
        """Return the latents with their classes written into them."""
        classes_BLK = one_hot(labels_B, self.classes)[:, None].expand(-1, latent_BLW.shape[1], -1)
        return torch.cat([latent_BLW[..., : self.noise_size], classes_BLK.to(latent_BLW)], dim=-1)

    def parts(self, latent_BLW: Tensor) -> tuple[Tensor, Tensor]:
        """Return noise (B, Z) and weights of the classes (B, K)."""
        return latent_BLW[:, 0, : self.noise_size], latent_BLW[:, 0, self.noise_size :]
