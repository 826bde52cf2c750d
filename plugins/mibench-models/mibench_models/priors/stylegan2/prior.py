"""StyleGAN2 networks behind the prior contract.

Shapes: B latents of a batch, Z size of the noise, L style layers, W size of a style vector, C image channels, R side.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mibench.api import BlockState, Prior
from mibench_models.priors.stylegan2.discriminator import Discriminator
from mibench_models.priors.stylegan2.generator import Generator
from mibench_models.priors.stylegan2.mapping import truncate


class Critic(nn.Module):
    """The discriminator as an attack sees it: images in [0, 1] to logits, each independent of the others.

    Attributes:
        net: the trained network.
        spread: scalar that stands in for the minibatch statistic: its mean over real images, set when training ends.
    """

    spread: Tensor

    def __init__(self, net: Discriminator) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("spread", torch.zeros([]))

    def forward(self, x_BCRR: Tensor) -> Tensor:
        """Return realism logits (B,)."""
        logits: Tensor = self.net(x_BCRR * 2 - 1, self.spread)
        return logits


class StyleGan2(Prior):
    """A StyleGAN2 generator with fixed noise, and its discriminator.

    Attributes:
        generator: mapping and synthesis; of a trained prior, the moving average of the weights.
        critic: the discriminator over images in [0, 1]; ``None`` for generators that came without one.
    """

    def __init__(self, generator: Generator, discriminator: Discriminator | None = None, *, crop: float = 1.0) -> None:
        """Wrap networks.

        Args:
            generator: made or converted.
            discriminator: the matching one, if there is one.
            crop: fraction of the side that shows the object.
        """
        super().__init__()
        self.generator = generator
        self.critic = None if discriminator is None else Critic(discriminator)
        self.latent_layers = generator.synthesis.num_ws
        self.latent_size, self.noise_size = generator.w_dim, generator.z_dim
        self.blocks = len(generator.synthesis.sides)
        self.crop = crop
        self.to(memory_format=torch.channels_last)  # twice as fast on CPUs

    def to_latent(self, z_BZ: Tensor, *, truncation: float = 1.0, cutoff: int | None = None) -> Tensor:
        """Map noise to latents (B, L, W): one style vector for all layers, truncated in the first ``cutoff``."""
        mapping = self.generator.mapping
        ws_BLW = mapping(z_BZ)[:, None].expand(-1, self.latent_layers, -1)
        return truncate(ws_BLW, mapping.w_avg, truncation=truncation, cutoff=cutoff)

    def render(self, latent_BLW: Tensor, *, start: int = 0, carry: BlockState | None = None) -> Tensor:
        """Render images (B, C, R, R), nominally in [0, 1], from block ``start`` on.

        Raises:
            ValueError: if ``start`` is not a block, or if it is not 0 and there is nothing to start from.
        """
        for index in range(start, self.blocks):
            carry = self._advance(index, latent_BLW, carry)
        if carry is None or carry.image is None:
            raise ValueError(f"expected start in [0, {self.blocks}), got {start}")
        return (carry.image + 1) / 2

    def step_block(self, index: int, latent_BLW: Tensor, carry: BlockState | None) -> BlockState:
        """Run one block. The carried image is the sum of RGB outputs so far, in [-1, 1] units; features are float32.

        Raises:
            ValueError: if a block after the first gets no features.
        """
        features, image = self._advance(index, latent_BLW, carry)
        return BlockState(None if features is None else features.to(latent_BLW.dtype), image)

    def _advance(self, index: int, latent_BLW: Tensor, carry: BlockState | None) -> BlockState:
        """Run one block; features keep the type that the next block computes in."""
        features, image = (None, None) if carry is None else carry
        if index > 0 and features is None:
            raise ValueError(f"block {index} starts from features; pass the carry of block {index - 1}")
        return BlockState(*self.generator.synthesis.run_block(index, latent_BLW, features, image))

    @property
    def tunable(self) -> list[nn.Parameter]:
        """The weights of the synthesis network."""
        return list(self.generator.synthesis.parameters())

    @property
    def discriminator(self) -> nn.Module | None:
        """The critic: images in [0, 1] to realism logits (B,)."""
        return self.critic
