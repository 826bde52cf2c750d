"""Sparse coding in front of a network: layers of ``lca`` and what goes between them and the network.

Shapes: B images of a batch, C channels, H x W pixels, F features of the dictionary, h x w positions of the code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from mibench.api import full_precision
from mibench_defenses.parts.lca import TINY, ConvLca


class Standardised(NamedTuple):
    """Images with mean 0 and variance 1 each, and what undoes it.

    Attributes:
        u: the images (B, C, H, W); a constant one is all 0.
        mean: (B, 1, 1, 1).
        std: (B, 1, 1, 1).
    """

    u: Tensor
    mean: Tensor
    std: Tensor


def standardise(x_BCHW: Tensor) -> Standardised:
    """Return each image with mean 0 and variance 1 over channels and pixels."""
    mean = x_BCHW.mean((1, 2, 3), keepdim=True)
    std = ((x_BCHW - mean).square().mean((1, 2, 3), keepdim=True) + TINY**2).sqrt()
    return Standardised((x_BCHW - mean) / std, mean, std)


class SparseFrontEnd(nn.Module):
    """Sparse-coding layers one after the other, to stand before a network.

    In training mode it keeps the last code of each layer, and averages what ``ConvLca.summary`` says of each.

    Args:
        layers: from the image on.
        reconstruct: return Phi a in the units of the input, through all layers; false returns the last code.
    """

    def __init__(self, layers: Sequence[ConvLca], reconstruct: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.reconstruct = reconstruct
        self.seen: list[tuple[ConvLca, Tensor, Tensor]] = []
        self.summaries: list[Tensor] = []

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return what the network is shown instead of its input."""
        with full_precision():  # many small steps vanish in half precision
            return self._pass(x_BCHW.float() if x_BCHW.dtype.itemsize < 4 else x_BCHW)

    def replace_input(self, network: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor]:
        """Forward pre-hook of the network."""
        return (self(inputs[0]),)

    def means(self) -> Tensor:
        """Return the average summary of each layer since ``summaries`` was emptied, (layers, 3)."""
        return torch.stack(self.summaries).mean(0) if self.summaries else torch.zeros(len(self.layers), 3)

    def _pass(self, x_BCHW: Tensor) -> Tensor:
        undo: list[tuple[ConvLca, Standardised]] = []
        seen, summaries = [], []
        for layer in cast("list[ConvLca]", list(self.layers)):
            inputs = standardise(x_BCHW)
            v_BFhw = layer(inputs.u)
            x_BCHW = layer.threshold(v_BFhw)
            undo.append((layer, inputs))
            if self.training:
                seen.append((layer, inputs.u.detach(), x_BCHW.detach()))
                summaries.append(layer.summary(inputs.u, v_BFhw))
        if self.training:
            self.seen = seen
            self.summaries.append(torch.stack(summaries))
        for layer, inputs in reversed(undo) if self.reconstruct else ():
            size = inputs.u.shape[-2:]
            x_BCHW = layer.images(layer.synthesise(x_BCHW), size) * inputs.std + inputs.mean
        return x_BCHW
