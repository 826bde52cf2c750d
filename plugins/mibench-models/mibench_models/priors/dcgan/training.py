"""The training of GMI's generator: a Wasserstein GAN with gradient penalty.

Shapes: B images of a batch, C channels, H = W pixels.
Sources: Zhang et al., "The Secret Revealer" (GMI, CVPR 2020); Gulrajani et al., "Improved Training of Wasserstein GANs"
(NeurIPS 2017) for the penalty.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor

from mibench.api import ImageSet, Prior
from mibench_models.priors.dcgan.alternating import AlternatingTrainer, AlternatingTraining


@dataclass(frozen=True, kw_only=True)
class WassersteinTraining(AlternatingTraining):
    """How GMI's generator is trained.

    Attributes:
        penalty: weight of the gradient penalty.
    """

    penalty: Annotated[float, Ge(0)] = 10.0


def gradient_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, mix_B: Tensor) -> Tensor:
    """Return ``mean (|gradient of D at x'| - 1)^2`` with ``x' = a x + (1 - a) G(z)``, differentiable again.

    Args:
        critic: images to numbers (B,), each independent of the others.
        real: images (B, C, H, W).
        fake: generated images of the same shape.
        mix_B: the shares a in [0, 1], one per pair.
    """
    share_B111 = mix_B.to(real).view(-1, 1, 1, 1)
    between = (share_B111 * real + (1 - share_B111) * fake).detach().requires_grad_(True)
    (slope_BCHW,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    length_B: Tensor = slope_BCHW.flatten(1).norm(dim=1)
    return (length_B - 1).square().mean()


class WassersteinTrainer(AlternatingTrainer):
    """``L_D = mean D(G z) - mean D(x) + weight * penalty``, ``L_G = -mean D(G z)``."""

    def __init__(
        self, training: WassersteinTraining, prior: Prior, images: ImageSet, *, seed: int, device: torch.device
    ) -> None:
        """Prepare a training from its first step."""
        super().__init__(training, prior, images, seed=seed, device=device)
        self.penalty = training.penalty

    def critic_loss(self, update: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the critic's loss, with ``distance`` (the estimate of the Wasserstein distance) and ``penalty``."""
        real = self.real("real", update)
        with torch.no_grad():
            fake = self.fake("critic noise", update)
        distance = self.prior.critic(real).mean() - self.prior.critic(fake).mean()
        mix_B = torch.rand(len(real), generator=self.rng("mix", update))
        penalty = gradient_penalty(self.prior.critic, real, fake, mix_B)
        return self.penalty * penalty - distance, {"distance": distance, "penalty": penalty}

    def generator_loss(self, index: int) -> Tensor:
        """Return the generator's loss."""
        loss: Tensor = -self.prior.critic(self.fake("generator noise", index)).mean()
        return loss
