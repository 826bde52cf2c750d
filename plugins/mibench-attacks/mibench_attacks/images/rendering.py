"""From latents to images in the protocol's frame.

Shapes: B latents of a batch, N latents, L style layers, W size of a style vector, V size of a view, C channels, S =
protocol's side, D = side of what is delivered, S unless the protocol says otherwise.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mibench.api import BlockState, Prior, TargetView, freeze, metered, resize
from mibench_attacks.images.batching import AutoBatchSize


class Renderer:
    """Renders and frames; the only place of this distribution that calls ``Prior.render``.

    Args:
        prior: the generator; it is frozen here. Attacks that tune one make a renderer of their tuned clone.
        target: whose ledger counts the renders, also where an attack is driven by hand and the prior is no view yet.
        size: side S of the images that the target sees, in pixels.
        delivered: side D of the images that are delivered; ``None`` is S.
    """

    def __init__(self, prior: Prior, target: TargetView, size: int, delivered: int | None = None) -> None:
        self.prior = freeze(metered(prior, target.ledger))
        self.target = target
        self.size = size
        self.delivered = delivered or size

    def __call__(self, latent_BLW: Tensor, *, clamp: bool) -> Tensor:
        """Return framed images (B, C, S, S), differentiable in the latents.

        Args:
            latent_BLW: latents; a single layer (B, 1, W) is repeated for all layers of the prior.
            clamp: cut to [0, 1] before framing. Attacks search without, because a cut kills gradients outside.
        """
        x_BCHW = self.whole(latent_BLW)
        return self.crop_and_resize(x_BCHW.clamp(0, 1) if clamp else x_BCHW)

    def in_views(self, latent_BLW: Tensor, view_BV: Tensor) -> Tensor:
        """Return framed images (B, C, S, S) in other views, differentiable in latents and views, not clamped."""
        return self.crop_and_resize(
            self.prior.render_views(latent_BLW.expand(-1, self.prior.latent_layers, -1), view_BV)
        )

    def whole(self, latent_BLW: Tensor, *, start: int = 0, carry: BlockState | None = None) -> Tensor:
        """Return whole images (B, C, H, W) as the prior renders them, from block ``start`` on."""
        return self.prior.render(latent_BLW.expand(-1, self.prior.latent_layers, -1), start=start, carry=carry)

    def crop_and_resize(self, x_BCHW: Tensor) -> Tensor:
        """Crop and resize whole images to the protocol's side."""
        return self.prior.crop_and_resize(x_BCHW, self.size)

    def frame_final(self, x_BCHW: Tensor) -> Tensor:
        """Cut whole images to [0, 1], crop them, and resize them to the side at which they are delivered."""
        return self.prior.crop_and_resize(x_BCHW.clamp(0, 1), self.delivered)

    def seen(self, x_NCDD: Tensor) -> Tensor:
        """Return images as delivered (N, C, D, D) as the target sees them (N, C, S, S)."""
        return resize(x_NCDD, self.size)

    def deliver(self, latent_NLW: Tensor, *, batch: int) -> Tensor:
        """Return final images (N, C, D, D): float32 in [0, 1], without gradient, ``batch`` rendered at once."""
        with torch.no_grad():
            fit = AutoBatchSize(batch, self.target.ledger)
            return fit(lambda size: torch.cat([self._delivered(x) for x in latent_NLW.split(size)]))

    def deliver_both(self, latent_NLW: Tensor, *, batch: int) -> tuple[Tensor, Tensor]:
        """Return what ``deliver`` does, and the same images (N, C, S, S) as rendered: not clamped, before nor after."""

        def both(size: int) -> list[tuple[Tensor, Tensor]]:
            whole = (self.whole(x_BLW) for x_BLW in latent_NLW.split(size))
            return [(self.frame_final(x).float().clamp(0, 1), self.crop_and_resize(x).float()) for x in whole]

        with torch.no_grad():
            delivered, rendered = zip(*AutoBatchSize(batch, self.target.ledger)(both), strict=True)
        return torch.cat(delivered), torch.cat(rendered)

    def _delivered(self, latent_BLW: Tensor) -> Tensor:
        return self.frame_final(self.whole(latent_BLW)).float().clamp(0, 1)
