"""Candidates that stand before a block of a generator: rendering from there, and walking through a block.

Shapes: N candidates, B of them in a batch, L style layers, W size of a style vector, C channels, S = protocol's side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mibench.api import BlockState, Prior
from mibench_attacks.images.batching import AutoBatchSize, batches
from mibench_attacks.images.rendering import Renderer

_ALL = slice(None)


@dataclass(frozen=True)
class IntermediateState:
    """Where N candidates enter a generator.

    Attributes:
        latent_NLW: latents; L may be 1, one style vector for all layers.
        block: the block that comes next.
        carry: what enters it: features (N, ...) and, if the generator sums images, the image so far; ``None`` for the
            first block.
    """

    latent_NLW: Tensor
    block: int = 0
    carry: BlockState | None = None

    @property
    def variables(self) -> list[Tensor]:
        """What may be optimised: the latents, and the features that enter."""
        features = None if self.carry is None else self.carry.features
        return [self.latent_NLW] if features is None else [self.latent_NLW, features]

    def at(self, variables: Sequence[Tensor], rows: slice = _ALL) -> IntermediateState:
        """Return some of the candidates with other variables (of exactly these); the image so far stays."""
        carry = self._carry(rows)
        return replace(
            self, latent_NLW=variables[0], carry=None if carry is None else carry._replace(features=variables[1])
        )

    def render(self, render: Renderer, *, clamp: bool) -> Tensor:
        """Return framed images (N, C, S, S), differentiable in the variables; ``clamp`` cuts to [0, 1] before."""
        x_NCHW = render.whole(self.latent_NLW, start=self.block, carry=self.carry)
        return render.crop_and_resize(x_NCHW.clamp(0, 1) if clamp else x_NCHW)

    def deliver(self, render: Renderer, *, batch: int) -> Tensor:
        """Return final images (N, C, D, D): float32 in [0, 1], without gradient, ``batch`` rendered at once."""

        def show(size: int) -> Tensor:
            parts = [self._part(rows) for rows in self._rows(size)]
            wholes = (render.whole(part.latent_NLW, start=part.block, carry=part.carry) for part in parts)
            return torch.cat([render.frame_final(x_BCHW) for x_BCHW in wholes])

        with torch.no_grad():
            return AutoBatchSize(batch, render.target.ledger)(show).float().clamp(0, 1)

    def through(self, prior: Prior, *, batch: int) -> IntermediateState:
        """Run the block, without gradient, and return the entrance of the next; the image is the same from there."""

        def run(size: int) -> list[BlockState]:
            parts = [self._part(rows) for rows in self._rows(size)]
            expanded = [part.latent_NLW.expand(-1, prior.latent_layers, -1) for part in parts]
            return [prior.step_block(self.block, w, part.carry) for w, part in zip(expanded, parts, strict=True)]

        with torch.no_grad():
            passed = AutoBatchSize(batch)(run)
        features, images = ([tensor for tensor in both if tensor is not None] for both in zip(*passed, strict=True))
        carry = BlockState(torch.cat(features), torch.cat(images) if images else None)
        return IntermediateState(self.latent_NLW, self.block + 1, carry)

    def _rows(self, size: int) -> list[slice]:
        return list(batches(len(self.latent_NLW), size))

    def _part(self, rows: slice) -> IntermediateState:
        return replace(self, latent_NLW=self.latent_NLW[rows], carry=self._carry(rows))

    def _carry(self, rows: slice) -> BlockState | None:
        if self.carry is None:
            return None
        return BlockState(*(None if tensor is None else tensor[rows] for tensor in self.carry))
