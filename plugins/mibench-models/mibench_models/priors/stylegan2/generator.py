"""The generator: mapping and synthesis in one module.

Shapes: B batch, Z size of the noise, L style layers, W size of a style vector, c image channels, R side.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mibench_models.priors.stylegan2.mapping import Mapping
from mibench_models.priors.stylegan2.synthesis import Synthesis


class Generator(nn.Module):
    """A StyleGAN2 generator.

    Attributes:
        mapping: z to w.
        synthesis: w to image.
        z_dim: Z.
        w_dim: W.
    """

    def __init__(
        self,
        *,
        z_dim: int = 512,
        w_dim: int = 512,
        mapping_layers: int = 8,
        img_resolution: int,
        img_channels: int = 3,
        channel_base: int = 32768,
        channel_max: int = 512,
        conv_clamp: float | None = None,
    ) -> None:
        """Make an untrained generator from torch's global generator.

        Args:
            z_dim: size of the noise.
            w_dim: size of a style vector.
            mapping_layers: layers of the mapping network.
            img_resolution: side in pixels, a power of two.
            img_channels: channels of the image.
            channel_base: features at side r are ``channel_base / r``; 32768 is config-f.
            channel_max: upper bound of the features.
            conv_clamp: bound on activations; 256 in networks trained in half precision.
        """
        super().__init__()
        self.z_dim, self.w_dim = z_dim, w_dim
        self.mapping = Mapping(z_dim, w_dim, layers=mapping_layers)
        self.synthesis = Synthesis(
            w_dim=w_dim,
            img_resolution=img_resolution,
            img_channels=img_channels,
            channel_base=channel_base,
            channel_max=channel_max,
            conv_clamp=conv_clamp,
        )

    def forward(self, z_BZ: Tensor, noise: torch.Generator | None = None) -> Tensor:
        """Return images (B, c, R, R), nominally in [-1, 1]."""
        w_BW = self.mapping(z_BZ)
        images: Tensor = self.synthesis(w_BW[:, None].expand(-1, self.synthesis.num_ws, -1), noise)
        return images
