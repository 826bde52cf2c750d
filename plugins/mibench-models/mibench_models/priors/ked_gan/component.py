"""The component of KED-MI's inversion-specific GAN, trained on public images that the target labels.

Source: Chen et al., "Knowledge-Enriched Distributional Model Inversion Attacks" (KED-MI, ICCV 2021).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge

from mibench.api import FlatNames, ImageSet, Prior, PriorModel, PriorTrainer, TargetView, given
from mibench_models.priors.dcgan.networks import Dcgan, Generator
from mibench_models.priors.ked_gan.networks import KedCritic, MinibatchDiscriminator
from mibench_models.priors.ked_gan.training import KedTrainer, KedTraining


@dataclass(frozen=True, kw_only=True)
class KedGanPrior(PriorModel):
    """Build and train KED-MI's GAN: GMI's generator against a classifier of what the target says.

    ``L_D = soft-CE(D(x), softmax T(x)) + 0.5 (mean softplus(lse D(x)) - mean lse D(x) + mean softplus(lse D(G z)))``,
    ``L_G = mean |mean features(G z) - mean features(x)| + 1e-4 sum entropy(softmax D(G z))``.

    Defaults are the paper's at 64 px. Differences from the released code: batches are drawn with replacement, and when
    training ends the minibatch layer is replaced by its mean over public images, so that the realism of an image does
    not depend on which others are judged with it.

    Attributes:
        z_dim: size of the noise.
        width: channels at half the side, in both networks; all others are multiples of it.
        kernels: kernels of the minibatch layer.
        kernel_size: dimensions of each.
        training: how they are trained.
    """

    needs_target: ClassVar[bool] = True

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        # 120 passes through about 30 000 images, in batches of 64, five per generator update
        "paper": {"steps": 11_250},
        # four minutes of one CPU thread at 64 px, per target: a quarter of the width, half the batch; not tuned
        "small": {"width": 16, "steps": 400, "batch": 32, "kernels": 16, "kernel_size": 16, "mirror": True},
        "orl64": {"width": 16, "steps": 400, "batch": 32, "kernels": 16, "kernel_size": 16, "mirror": True},
        "rendered64": {"width": 16, "steps": 400, "batch": 32, "kernels": 16, "kernel_size": 16, "mirror": True},
        "smoke": {"z_dim": 16, "width": 4, "steps": 20, "n_critic": 2, "batch": 8, "kernels": 4, "kernel_size": 4},
    }

    z_dim: Annotated[int, Ge(1)] = 100
    width: Annotated[int, Ge(1)] = 64
    kernels: Annotated[int, Ge(1)] = 64
    kernel_size: Annotated[int, Ge(1)] = 50
    training: Annotated[KedTraining, FlatNames()] = KedTraining()

    def build(self, *, channels: int, size: int, classes: int = 0) -> Dcgan:
        """Make untrained networks. Called with torch's global generator seeded.

        Raises:
            UsageError: unless the side is 4 * 2^k pixels, 16 or more.
        """
        shape = {"width": self.width, "channels": channels, "size": size}
        kernels = {"kernels": self.kernels, "kernel_size": self.kernel_size}
        critic = KedCritic(MinibatchDiscriminator(classes=classes, **shape, **kernels))
        return Dcgan(Generator(z_dim=self.z_dim, **shape), critic)

    def trainer(
        self, prior: Prior, images: ImageSet, *, seed: int, device: torch.device, target: TargetView | None = None
    ) -> PriorTrainer:
        """Return the training, which asks the target for ``n_critic * batch`` soft labels per step."""
        return KedTrainer(self.training, prior, images, given(target), seed=seed, device=device)
