"""Networks of PLG-MI's conditional GAN: a residual generator with class-conditional BatchNorm, a projection critic,
and both behind the prior contract.

Shapes: B images or latents, Z size of the noise, K classes, L = 1, W = Z + K, C channels, H = W = S pixels. Classes
come as weights (B, K).
Source: Miyato and Koyama, "cGANs with Projection Discriminator" (ICLR 2018), in PLG-MI's sizes (Yuan et al., 2023).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, relu
from torch.nn.utils.parametrizations import spectral_norm

from mibench.api import BlockState, UsageError
from mibench_models.priors.parts.class_conditional import ConditionalPrior


class ConditionalNorm(nn.Module):
    """BatchNorm whose gain and bias belong to the class; weights that mix classes mix their gains and biases."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.gain_KC = nn.Parameter(torch.ones(classes, channels))
        self.bias_KC = nn.Parameter(torch.zeros(classes, channels))

    def forward(self, x_BCHW: Tensor, weights_BK: Tensor) -> Tensor:
        """Return activations (B, C, H, W)."""
        gain_BC, bias_BC = weights_BK @ self.gain_KC, weights_BK @ self.bias_KC
        return torch.addcmul(bias_BC[:, :, None, None], self.norm(x_BCHW), gain_BC[:, :, None, None])


class UpBlock(nn.Module):
    """norm, ReLU, twice the side, conv3, norm, ReLU, conv3; beside it conv1 and twice the side."""

    def __init__(self, inside: int, outside: int, classes: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = ConditionalNorm(inside, classes), ConditionalNorm(outside, classes)
        self.conv1 = nn.Conv2d(inside, outside, 3, padding=1)
        self.conv2 = nn.Conv2d(outside, outside, 3, padding=1)
        self.skip = nn.Conv2d(inside, outside, 1)

    def forward(self, x_BCHW: Tensor, weights_BK: Tensor) -> Tensor:
        """Return activations of twice the side."""
        h_BCHW = self.conv1(_larger(relu(self.norm1(x_BCHW, weights_BK))))
        changed_BCHW: Tensor = self.conv2(relu(self.norm2(h_BCHW, weights_BK)))
        skipped_BCHW = _larger(self.skip(x_BCHW))  # a 1x1 convolution before enlarging equals one after it
        return skipped_BCHW + changed_BCHW


class CganGenerator(nn.Module):
    """Noise (B, Z) and class weights (B, K) to images (B, C, H, W) through tanh, from 4 pixels up."""

    def __init__(self, z_dim: int, classes: int, channels: int, *, size: int, width: int) -> None:
        super().__init__()
        blocks = block_count(size)
        widths = [width * 2 ** (blocks - level) for level in range(blocks + 1)]
        self.first = nn.Linear(z_dim, widths[0] * 16)
        self.blocks = nn.ModuleList(UpBlock(widths[i], widths[i + 1], classes) for i in range(blocks))
        self.norm = nn.BatchNorm2d(width)
        self.paint = nn.Conv2d(width, channels, 1)
        self.apply(_initialise)

    def forward(self, z_BZ: Tensor, weights_BK: Tensor) -> Tensor:
        """Return images in (-1, 1), which training on images in [0, 1] keeps nominally there."""
        x_BCHW = self.first(z_BZ).view(len(z_BZ), -1, 4, 4)
        for block in self.blocks:
            x_BCHW = block(x_BCHW, weights_BK)
        painted_BCHW: Tensor = self.paint(relu(self.norm(x_BCHW)))
        return painted_BCHW.tanh()


class DownBlock(nn.Module):
    """conv3, ReLU, conv3, half the side, all spectrally normalised; beside it conv1 and half the side.

    The first block of a critic halves the image before conv1 and has no ReLU in front.
    """

    def __init__(self, inside: int, outside: int, *, first: bool = False) -> None:
        super().__init__()
        self.first = first
        hidden = outside if first else inside
        self.conv1 = spectral_norm(nn.Conv2d(inside, hidden, 3, padding=1))
        self.conv2 = spectral_norm(nn.Conv2d(hidden, outside, 3, padding=1))
        self.skip = spectral_norm(nn.Conv2d(inside, outside, 1))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return activations of half the side."""
        h_BCHW = self.conv1(x_BCHW if self.first else relu(x_BCHW))
        h_BCHW = avg_pool2d(self.conv2(relu(h_BCHW)), 2)
        skipped_BCHW: Tensor = self.skip(avg_pool2d(x_BCHW, 2))  # a 1x1 convolution after the mean equals one before it
        return skipped_BCHW + h_BCHW


class ProjectionCritic(nn.Module):
    """Images (B, C, H, W) to realism logits ``psi(h) + <embedding of the class, h>`` (B,); h sums over positions.

    Spectral norms are followed by one power iteration per pass in training mode only. Their vectors are buffers, so
    that a state of the module holds all there is.
    """

    def __init__(self, classes: int, channels: int, *, size: int, width: int) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(block_count(size) + 1)]
        blocks = [DownBlock(channels, width, first=True)]
        blocks += [DownBlock(inside, outside) for inside, outside in pairwise(widths)]
        self.blocks = nn.Sequential(*blocks)
        self.score = spectral_norm(nn.Linear(widths[-1], 1))
        self.embedding = spectral_norm(nn.Linear(classes, widths[-1], bias=False))
        self.classes = classes

    def forward(self, x_BCHW: Tensor, weights_BK: Tensor | None = None) -> Tensor:
        """Return logits (B,); without weights those of an average class."""
        h_BD = relu(self.blocks(x_BCHW)).sum(dim=(2, 3))
        if weights_BK is None:
            weights_BK = h_BD.new_full((len(h_BD), self.classes), 1 / self.classes)
        score_B1: Tensor = self.score(h_BD)
        likeness_BD: Tensor = self.embedding(weights_BK) * h_BD
        return score_B1.squeeze(1) + likeness_BD.sum(1)


class ConditionalGan(ConditionalPrior):
    """Generator and critic behind the prior contract. Unconditioned latents render an average of all classes.

    Attributes:
        generator: noise and class weights to images, trained on images in [0, 1].
        critic: the projection discriminator; without a class it judges as for an average one.
    """

    def __init__(self, generator: CganGenerator, critic: ProjectionCritic, *, z_dim: int, classes: int) -> None:
        super().__init__(z_dim, classes, unconditioned=1 / classes)
        self.generator, self.critic = generator, critic
        self.to(memory_format=torch.channels_last)

    def render(self, latent_BLW: Tensor, *, start: int = 0, carry: BlockState | None = None) -> Tensor:
        """Return images (B, C, S, S), not clamped: tanh reaches below 0.

        Raises:
            ValueError: if ``start`` is not 0; there is nothing to enter in the middle.
        """
        if start != 0:
            raise ValueError(f"this generator has one block; got start={start}")
        images: Tensor = self.generator(*self.parts(latent_BLW))
        return images

    @property
    def discriminator(self) -> nn.Module | None:
        """The critic: images in [0, 1] to realism logits (B,)."""
        return self.critic

    @property
    def tunable(self) -> Sequence[nn.Parameter]:
        """The generator's weights."""
        return list(self.generator.parameters())


def block_count(size: int) -> int:
    """Return how many doublings lead from 4 pixels to ``size``.

    Raises:
        UsageError: unless the size is 8, 16, 32, ...
    """
    blocks = (size // 4).bit_length() - 1
    if size != 4 * 2**blocks or blocks < 1:
        raise UsageError(f"prior 'plg-cgan': expected images of 8, 16, 32, 64 ... pixels, got {size}")
    return blocks


def _larger(x_BCHW: Tensor) -> Tensor:
    return interpolate(x_BCHW, scale_factor=2, mode="bilinear", align_corners=False)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)
