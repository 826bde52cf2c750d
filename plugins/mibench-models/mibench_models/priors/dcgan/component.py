"""The component that builds DCGAN priors and trains them as a Wasserstein GAN with gradient penalty.

Shapes: B images of a batch, C channels, H = W pixels.
Sources: Zhang et al., "The Secret Revealer" (GMI, CVPR 2020); Gulrajani et al., "Improved Training of Wasserstein GANs"
(NeurIPS 2017) for the penalty.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor

from mibench.api import ImageSet, Prior, PriorModel, PriorTrainer
from mibench_models.priors.dcgan.networks import Critic, Dcgan, Generator
from mibench_models.priors.dcgan.training import AlternatingRecipe, AlternatingTrainer


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
        self, recipe: AlternatingRecipe, prior: Prior, images: ImageSet, *, penalty: float, seed: int,
        device: torch.device,
    ) -> None:  # fmt: skip
        """Prepare, with the weight of the gradient penalty."""
        super().__init__(recipe, prior, images, seed=seed, device=device)
        self.penalty = penalty

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


@dataclass(frozen=True, kw_only=True)
class DcganPrior(AlternatingRecipe, PriorModel):
    """Build and train GMI's generator on public images: DCGAN networks, Wasserstein loss with gradient penalty.

    Defaults are the paper's for CelebA at 64 px. Differences from the released code: batches are drawn with
    replacement, so the length is a number of updates and not of passes.

    Attributes:
        penalty: weight of the gradient penalty.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        # 280 passes through about 30 000 images, in batches of 64, five per generator update
        "paper": {},
        # 120 passes, as the code of KED-MI and LOMMA trains it
        "ked-mi": {"steps": 11_250},
        # 100 passes through about 30 600 images of five digits
        "mnist": {"steps": 9_560},
        # seven minutes of one CPU thread at 64 px: a quarter of the width, half the batch. The rate was raised
        # after a look at short trainings on rendered64's public people; not swept
        "small": {"width": 16, "steps": 580, "batch": 32, "lr": 5e-4, "mirror": True},
    }

    penalty: Annotated[float, Ge(0)] = 10.0

    def build(self, *, channels: int, size: int) -> Dcgan:
        """Make untrained networks. Called with torch's global generator seeded.

        Raises:
            UsageError: unless the side is 4 * 2^k pixels.
        """
        generator = Generator(z_dim=self.z_dim, width=self.width, channels=channels, size=size)
        return Dcgan(generator, Critic(width=self.width, channels=channels, size=size))

    def trainer(self, prior: Prior, images: ImageSet, *, seed: int, device: torch.device) -> PriorTrainer:
        """Return the adversarial training."""
        return WassersteinTrainer(self, prior, images, penalty=self.penalty, seed=seed, device=device)
