"""The component of GMI's generator: DCGAN networks, trained as a Wasserstein GAN with gradient penalty.

Source: Zhang et al., "The Secret Revealer" (GMI, CVPR 2020).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge

from mibench.api import FlatNames, ImageSet, Prior, PriorModel, PriorTrainer, TargetView
from mibench_models.priors.dcgan.networks import Critic, Dcgan, Generator
from mibench_models.priors.dcgan.training import WassersteinTrainer, WassersteinTraining


@dataclass(frozen=True, kw_only=True)
class DcganPrior(PriorModel):
    """Build and train GMI's generator on public images: DCGAN networks, Wasserstein loss with gradient penalty.

    Defaults are the paper's for CelebA at 64 px. Differences from the released code: batches are drawn with
    replacement, so the length is a number of updates and not of passes.

    Attributes:
        z_dim: size of the noise.
        width: channels at half the side, in both networks; all others are multiples of it.
        training: how they are trained.
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
        "orl64": {"width": 16, "steps": 580, "batch": 32, "lr": 5e-4, "mirror": True},
        "rendered64": {"width": 16, "steps": 580, "batch": 32, "lr": 5e-4, "mirror": True},
        "smoke": {"z_dim": 16, "width": 4, "steps": 20, "n_critic": 2, "batch": 8},
    }

    z_dim: Annotated[int, Ge(1)] = 100
    width: Annotated[int, Ge(1)] = 64
    training: Annotated[WassersteinTraining, FlatNames()] = WassersteinTraining()

    def build(self, *, channels: int, size: int, classes: int = 0) -> Dcgan:
        """Make untrained networks. Called with torch's global generator seeded.

        Raises:
            UsageError: unless the side is 4 * 2^k pixels.
        """
        generator = Generator(z_dim=self.z_dim, width=self.width, channels=channels, size=size)
        return Dcgan(generator, Critic(width=self.width, channels=channels, size=size))

    def trainer(
        self, prior: Prior, images: ImageSet, *, seed: int, device: torch.device, target: TargetView | None = None
    ) -> PriorTrainer:
        """Return the adversarial training."""
        return WassersteinTrainer(self.training, prior, images, seed=seed, device=device)
