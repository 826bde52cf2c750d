"""The DCGAN of the low-resolution attacks, as a prior: one noise vector, one image, no styles.

Shapes: B images or latents of a batch, Z size of the noise, C channels, S = side in pixels, F channels at 4 x 4 pixels.
Source: Zhang et al., "The Secret Revealer" (GMI, CVPR 2020): the networks at 64 px, and at 32 px those of its MNIST
experiments. One more or one less layer gives any other side 4 * 2^k.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mibench.api import BlockState, Prior, UsageError

SLOPE = 0.2
"""Slope of the critic's LeakyReLU."""


def halvings(size: int, *, least: int = 1) -> int:
    """Return k for an image of side ``4 * 2^k``.

    Raises:
        UsageError: for any other side, or for k below ``least``.
    """
    k = max(size // 4, 1).bit_length() - 1
    if size != 4 << k or k < least:
        raise UsageError(f"a DCGAN needs images of 4 * 2^k pixels, at least {4 << least}; the protocol has {size}")
    return k


class Generator(nn.Module):
    """Linear layer to 4 x 4, then transposed 5 x 5 convolutions of stride 2, each with BatchNorm and ReLU; sigmoid.

    The channels are halved by each layer, from ``width * 2^(k-1)`` at 4 x 4 to ``width`` at half the side.

    Args:
        z_dim: Z.
        width: channels at half the side; 64 in the paper.
        channels: C.
        size: S.
    """

    def __init__(self, *, z_dim: int, width: int, channels: int, size: int) -> None:
        super().__init__()
        k = halvings(size)
        most = width << (k - 1)
        self.z_dim = z_dim
        self.start = nn.Sequential(
            nn.Linear(z_dim, most * 16, bias=False), nn.BatchNorm1d(most * 16), nn.ReLU(), nn.Unflatten(1, (most, 4, 4))
        )
        self.blocks = nn.Sequential(*(_up(most >> index, most >> (index + 1)) for index in range(k - 1)))
        self.image = nn.Sequential(nn.ConvTranspose2d(width, channels, 5, 2, 2, output_padding=1), nn.Sigmoid())

    def forward(self, z_BZ: Tensor) -> Tensor:
        """Return images (B, C, S, S) in (0, 1)."""
        image_BCSS: Tensor = self.image(self.blocks(self.start(z_BZ)))
        return image_BCSS


class Critic(nn.Module):
    """Strided 5 x 5 convolutions with LeakyReLU, InstanceNorm from the second on, and a 4 x 4 convolution to a number.

    Args:
        width: channels after the first layer, doubled by each further one; 64 in the paper.
        channels: C.
        size: S.
    """

    def __init__(self, *, width: int, channels: int, size: int) -> None:
        super().__init__()
        k = halvings(size)
        first = nn.Sequential(nn.Conv2d(channels, width, 5, 2, 2), nn.LeakyReLU(SLOPE))
        downs = (down(width << index, width << (index + 1)) for index in range(k - 1))
        self.net = nn.Sequential(first, *downs, nn.Conv2d(width << (k - 1), 1, 4))

    def forward(self, x_BCSS: Tensor) -> Tensor:
        """Return the realism (B,) of images in [0, 1]; each is independent of the others."""
        realism_B111: Tensor = self.net(x_BCSS)
        return realism_B111.flatten()


class Dcgan(Prior):
    """A DCGAN generator with the network that it was trained against. Latents are the noise itself, (B, 1, Z).

    Attributes:
        generator: noise to images.
        critic: images in [0, 1] to realism (B,).
    """

    latent_layers = 1

    def __init__(self, generator: Generator, critic: nn.Module) -> None:
        super().__init__()
        self.generator, self.critic = generator, critic
        self.latent_size = self.noise_size = generator.z_dim
        self.to(memory_format=torch.channels_last)  # faster on CPUs

    def to_latent(self, z_BZ: Tensor, *, truncation: float = 1.0, cutoff: int | None = None) -> Tensor:
        """Return ``truncation * z`` as (B, 1, Z); the only layer is left alone if ``cutoff`` is 0."""
        return (z_BZ if cutoff == 0 else z_BZ * truncation)[:, None]

    def render(self, latent_BLW: Tensor, *, start: int = 0, carry: BlockState | None = None) -> Tensor:
        """Return images (B, C, S, S); the sigmoid keeps them in (0, 1).

        Raises:
            ValueError: if ``start`` is not 0; this generator cannot be entered in the middle.
        """
        if start != 0:
            raise ValueError(f"a DCGAN prior has one block; got start={start}")
        image_BCSS: Tensor = self.generator(latent_BLW[:, 0])
        return image_BCSS

    @property
    def discriminator(self) -> nn.Module | None:
        """The critic."""
        return self.critic

    @property
    def tunable(self) -> list[nn.Parameter]:
        """The weights of the generator."""
        return list(self.generator.parameters())


def down(enter: int, leave: int, kernel: int = 5) -> nn.Sequential:
    """Return a convolution that halves the side (odd kernel), with InstanceNorm and LeakyReLU."""
    conv = nn.Conv2d(enter, leave, kernel, 2, kernel // 2)
    return nn.Sequential(conv, nn.InstanceNorm2d(leave, affine=True), nn.LeakyReLU(SLOPE))


def _up(enter: int, leave: int) -> nn.Sequential:
    conv = nn.ConvTranspose2d(enter, leave, 5, 2, 2, output_padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(leave), nn.ReLU())
