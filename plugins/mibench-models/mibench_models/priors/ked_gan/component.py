"""The component that builds KED-MI's inversion-specific GAN and trains it on public images labelled by the target.

Shapes: B images of a batch, C channels, H = W pixels, K classes, F features.
Source: Chen et al., "Knowledge-Enriched Distributional Model Inversion Attacks" (KED-MI, ICCV 2021).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor

from mibench.api import GuidedPriorModel, ImageSet, Prior, PriorTrainer, TargetView
from mibench_models.priors.dcgan.networks import Dcgan, Generator
from mibench_models.priors.dcgan.training import AlternatingRecipe, AlternatingTrainer
from mibench_models.priors.ked_gan.training import (
    KedCritic,
    MinibatchDiscriminator,
    feature_distance,
    real_or_fake,
    soft_cross_entropy,
    summed_entropy,
)

CLOSENESS_BATCHES = 16
"""Batches of public images over which the minibatch layer is averaged when training ends."""


class KedTrainer(AlternatingTrainer):
    """The discriminator learns the target's soft labels and to tell real from generated, the generator its features."""

    def __init__(
        self, recipe: KedGanPrior, prior: Prior, images: ImageSet, target: TargetView, *, seed: int,
        device: torch.device,
    ) -> None:  # fmt: skip
        """Prepare.

        Raises:
            TypeError: for a prior that another component built.
        """
        super().__init__(recipe, prior, images, seed=seed, device=device)
        if not isinstance(self.prior.critic, KedCritic):
            raise TypeError("expected a prior that KedGanPrior.build() made")
        self.target, self.critic, self.net = target, self.prior.critic, self.prior.critic.net
        self.real_weight, self.entropy_weight = recipe.real_weight, recipe.entropy_weight

    def critic_loss(self, update: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Return ``soft-CE(D(x), T(x)) + weight * (real or fake)`` and both parts."""
        x_BCHW = self.real("labelled", update)
        # A target that answers at random must answer the same in a resumed training.
        with torch.no_grad():
            q_BK = self.target.logits(x_BCHW).float().softmax(1)
        with torch.no_grad():
            fake_BCHW = self.fake("critic noise", update)
        labelled = soft_cross_entropy(self.net(x_BCHW), q_BK)
        judged = real_or_fake(self.net(self.real("unlabelled", update)), self.net(fake_BCHW))
        return labelled + self.real_weight * judged, {"labelled": labelled, "judged": judged}

    def generator_loss(self, index: int) -> Tensor:
        """Return the distance of mean features plus the weighted entropy of predictions."""
        with torch.no_grad():
            real_BF = self.net.features(self.real("matched", index))
        fake_BF = self.net.features(self.fake("generator noise", index))
        logits_BK = self.net.classify(fake_BF, self.net.closeness(fake_BF))
        return feature_distance(fake_BF, real_BF) + self.entropy_weight * summed_entropy(logits_BK)

    @torch.no_grad()
    def finish(self) -> Dcgan:
        """Average the minibatch layer over public images and return the prior, frozen."""
        real = [self.net.features(self.real("closeness", index)) for index in range(CLOSENESS_BATCHES)]
        means = [self.net.closeness(features_BF).mean(0) for features_BF in real]
        self.critic.closeness_M.copy_(torch.stack(means).mean(0))
        return super().finish()


@dataclass(frozen=True, kw_only=True)
class KedGanPrior(AlternatingRecipe, GuidedPriorModel):
    """Build and train KED-MI's GAN: GMI's generator against a classifier of what the target says.

    ``L_D = soft-CE(D(x), softmax T(x)) + 0.5 (mean softplus(lse D(x)) - mean lse D(x) + mean softplus(lse D(G z)))``,
    ``L_G = mean |mean features(G z) - mean features(x)| + 1e-4 sum entropy(softmax D(G z))``.

    Defaults are the paper's at 64 px. Differences from the released code: batches are drawn with replacement, and when
    training ends the minibatch layer is replaced by its mean over public images, so that the realism of an image does
    not depend on which others are judged with it.

    Attributes:
        kernels: kernels of the minibatch layer.
        kernel_size: dimensions of each.
        real_weight: weight of telling real from generated images, beside the target's labels.
        entropy_weight: weight of the entropy in the generator's loss.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        # 120 passes through about 30 000 images, in batches of 64, five per generator update
        "paper": {"steps": 11_250},
        # four minutes of one CPU thread at 64 px, per target: a quarter of the width, half the batch; not tuned
        "small": {"width": 16, "steps": 400, "batch": 32, "kernels": 16, "kernel_size": 16, "mirror": True},
    }

    steps: Annotated[int, Ge(1)] = 11_250
    kernels: Annotated[int, Ge(1)] = 64
    kernel_size: Annotated[int, Ge(1)] = 50
    real_weight: Annotated[float, Ge(0)] = 0.5
    entropy_weight: Annotated[float, Ge(0)] = 1e-4

    def build(self, *, channels: int, size: int, classes: int) -> Dcgan:
        """Make untrained networks. Called with torch's global generator seeded.

        Raises:
            UsageError: unless the side is 4 * 2^k pixels, 16 or more.
        """
        shape = {"width": self.width, "channels": channels, "size": size}
        kernels = {"kernels": self.kernels, "kernel_size": self.kernel_size}
        critic = KedCritic(MinibatchDiscriminator(classes=classes, **shape, **kernels))
        return Dcgan(Generator(z_dim=self.z_dim, **shape), critic)

    def trainer(
        self, prior: Prior, images: ImageSet, target: TargetView, *, seed: int, device: torch.device
    ) -> PriorTrainer:
        """Return the training, which asks the target for ``n_critic * batch`` soft labels per step."""
        return KedTrainer(self, prior, images, target, seed=seed, device=device)
