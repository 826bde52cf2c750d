"""Tuning a generator so that latents of high density render given images: find the latents, then move the weights.

Shapes: K given images, L style layers, W size of a style vector, C channels, H = W rendered side, F features.
Source: Peng et al., NeurIPS 2024 (PPDG-MI), on the projector of StyleGAN2 (Karras et al., CVPR 2020, appendix D) and on
pivotal tuning (Roich et al., ACM TOG 2022).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import softplus

from mibench.api import ClassFailed, MibenchError, freeze
from mibench_attacks.images.batching import AutoBatchSize, batches
from mibench_attacks.images.rendering import Renderer
from mibench_attacks.losses.distances import conditional_transport, mmd, pointwise
from mibench_attacks.losses.perceptual import Perceptual
from mibench_attacks.search.gradient_search import Found, GradientSearch
from mibench_attacks.search.optimisers import adam

TunerName = Literal["pw", "ct", "mmd"]
AREA = 256
"""Larger images are shrunk to this side before perceptual features, as the projector does."""
FADE = 0.75
"""Share of the steps over which the noise on latents fades."""


@dataclass(frozen=True, kw_only=True)
class PriorTuning:
    """How a generator is tuned.

    Attributes:
        tuner: distance of features: ``"pw"`` image by image, ``"ct"`` or ``"mmd"`` between the sets.
        features: perceptual features.
        search: descent on the latents.
        noise: standard deviation of the noise on latents in the first step.
        d_weight: weight of the discriminator's opinion of what the latents render.
        steps: updates of the weights.
        lr: learning rate of these, Adam.
    """

    tuner: TunerName
    features: Perceptual
    search: GradientSearch
    noise: float
    d_weight: float
    steps: int
    lr: float

    def neighbours(
        self, x_KCHW: Tensor, start_11W: Tensor, render: Renderer, rng: torch.Generator, *, where: str
    ) -> Found:
        """Find latents (K, 1, W) near the mean that render the images: ``dist + d_weight softplus(-D)``.

        Args:
            x_KCHW: images as rendered.
            start_11W: the mean style vector.
            render: of the generator.
            rng: for the noise on latents.
            where: how errors name the place.

        Raises:
            ClassFailed: if no latent has a finite loss.
        """
        start_K1W = start_11W.expand(len(x_KCHW), -1, -1)
        fading = [max(0.0, 1 - step / (FADE * self.search.steps)) ** 2 for step in range(self.search.steps)]
        noise = [torch.randn(start_K1W.shape, generator=rng) * self.noise * fade for fade in fading]
        critic = render.prior.discriminator if self.d_weight else None
        with torch.no_grad():
            wanted_KF = self.features(x_KCHW, side=AREA)

        def loss(variables: Sequence[Tensor], rows: slice, step: int) -> Tensor:
            x_BCHW = render.whole(variables[0] + noise[step][rows].to(start_11W))
            loss_B = self._distances(self.features(x_BCHW, side=AREA), wanted_KF, rows)
            return loss_B if critic is None else loss_B + self.d_weight * softplus(-critic(x_BCHW))

        return self.search.run([start_K1W], loss, where=f"{where}, neighbours", ledger=render.target.ledger)

    def tune(self, latent_K1W: Tensor, x_KCHW: Tensor, render: Renderer, *, where: str) -> list[float]:
        """Move the generator's weights so that the latents render the images; return the loss before each step.

        Only ``tunable`` weights of ``render.prior`` are moved, and all are frozen again.

        Raises:
            ClassFailed: if the loss is not finite.
        """
        weights, losses, fit = list(render.prior.tunable), [], AutoBatchSize(len(x_KCHW), render.target.ledger)
        side = None if self.tuner == "pw" else AREA  # image by image, details beyond 256 pixels count too
        with torch.no_grad():
            wanted_KF = self.features(x_KCHW, side=side)
        optimizer = adam(self.lr)(weights)

        def gradients(batch: int) -> float:
            optimizer.zero_grad(set_to_none=True)
            total = 0.0
            for rows in batches(len(x_KCHW), batch):
                found_BF = self.features(render.whole(latent_K1W[rows]), side=side)
                loss = self._distances(found_BF, wanted_KF, rows).sum() / len(x_KCHW)
                loss.backward()
                total += loss.item()
            return total

        for weight in weights:
            weight.requires_grad_(True)
        try:
            for step in range(self.steps):
                losses.append(fit(gradients))
                if not math.isfinite(losses[-1]):
                    raise ClassFailed(f"{where}, tuning step {step}: the distance is not finite; lower tune_lr")
                optimizer.step()
        finally:
            optimizer.zero_grad(set_to_none=True)
            freeze(render.prior)
        return losses

    def _distances(self, found_BF: Tensor, wanted_KF: Tensor, rows: slice) -> Tensor:
        """Return a distance per found image (B,), the same for all where sets are compared."""
        if self.tuner == "pw":
            return pointwise(found_BF, wanted_KF[rows])
        if len(found_BF) != len(wanted_KF):
            raise MibenchError(f"{len(wanted_KF)} images do not fit into memory, and tuner={self.tuner} needs them all")
        between = conditional_transport if self.tuner == "ct" else mmd
        return between(found_BF, wanted_KF).expand(len(found_BF))
