"""The mapping network: noise z to style vectors w.

Shapes: B batch, Z size of the noise, W size of a style vector, L style layers.
Source: Karras et al. 2019, sec. 2 (mapping) and appendix B (truncation).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mibench_models.priors.stylegan2.layers import EqualLinear

LR_MULTIPLIER = 0.01
"""The mapping network learns a hundred times slower than the rest."""

AVERAGE_BETA = 0.998
"""Decay of the moving average of w per training step."""


def normalise(z_BZ: Tensor) -> Tensor:
    """Scale every vector to a mean square of 1."""
    return z_BZ * torch.rsqrt(z_BZ.square().mean(dim=1, keepdim=True) + 1e-8)


def truncate(w_BLW: Tensor, mean_W: Tensor, *, truncation: float, cutoff: int | None) -> Tensor:
    """Pull the first ``cutoff`` layers towards the mean: ``mean + truncation * (w - mean)``.

    Args:
        w_BLW: latents.
        mean_W: the mean style vector.
        truncation: 1 keeps them, 0 gives the mean.
        cutoff: number of layers from the first; ``None`` means all.
    """
    if truncation == 1.0:
        return w_BLW
    layers = w_BLW.shape[1] if cutoff is None else cutoff
    head = mean_W + truncation * (w_BLW[:, :layers] - mean_W)
    return torch.cat([head, w_BLW[:, layers:]], dim=1)


class Mapping(nn.Module):
    """Fully connected layers ``fc0 .. fc{n-1}`` with leaky ReLU after each.

    Attributes:
        w_avg: (W,) moving average of w.
    """

    w_avg: Tensor

    def __init__(self, z_dim: int, w_dim: int, *, layers: int = 8) -> None:
        super().__init__()
        self.layers = layers
        for index in range(layers):
            inputs = z_dim if index == 0 else w_dim
            self.add_module(f"fc{index}", EqualLinear(inputs, w_dim, activate=True, lr_multiplier=LR_MULTIPLIER))
        self.register_buffer("w_avg", torch.zeros(w_dim))

    def forward(self, z_BZ: Tensor) -> Tensor:
        """Return one style vector (B, W) per noise vector."""
        x_BW = normalise(z_BZ)
        for index in range(self.layers):
            x_BW = self.get_submodule(f"fc{index}")(x_BW)
        return x_BW

    @torch.no_grad()
    def update_average(self, w_BW: Tensor, beta: float = AVERAGE_BETA) -> None:
        """Move ``w_avg`` towards the mean of a batch."""
        self.w_avg.lerp_(w_BW.mean(dim=0), 1 - beta)
