"""The training of KED-MI's inversion-specific GAN on public images that the target labels, and its losses.

Shapes: B images of a batch, C channels, H = W pixels, K classes, F features.
Sources: Chen et al., "Knowledge-Enriched Distributional Model Inversion Attacks" (KED-MI, ICCV 2021); Salimans et al.,
"Improved Techniques for Training GANs" (NeurIPS 2016) for the semi-supervised loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor
from torch.nn.functional import softplus

from mibench.api import ImageSet, Prior, TargetView
from mibench_models.priors.dcgan.alternating import AlternatingTrainer, AlternatingTraining
from mibench_models.priors.dcgan.networks import Dcgan
from mibench_models.priors.ked_gan.networks import KedCritic

CLOSENESS_BATCHES = 16
"""Batches of public images over which the minibatch layer is averaged when training ends."""


@dataclass(frozen=True, kw_only=True)
class KedTraining(AlternatingTraining):
    """How KED-MI's GAN is trained.

    Attributes:
        real_weight: weight of telling real from generated images, beside the target's labels.
        entropy_weight: weight of the entropy in the generator's loss.
    """

    steps: Annotated[int, Ge(1)] = 11_250
    real_weight: Annotated[float, Ge(0)] = 0.5
    entropy_weight: Annotated[float, Ge(0)] = 1e-4


def soft_cross_entropy(logits_BK: Tensor, q_BK: Tensor) -> Tensor:
    """Return ``-mean_B sum_K q log softmax(logits)``."""
    return -(q_BK * logits_BK.log_softmax(1)).sum(1).mean()


def real_or_fake(real_BK: Tensor, fake_BK: Tensor) -> Tensor:
    """Return ``mean softplus(lse) - mean lse`` of real images plus ``mean softplus(lse)`` of generated ones.

    lse is the log-sum-exp over classes: with one more class of logit 0 for generated images, the odds of being real.
    """
    real_B, fake_B = real_BK.logsumexp(1), fake_BK.logsumexp(1)
    return softplus(real_B).mean() - real_B.mean() + softplus(fake_B).mean()


def feature_distance(fake_BF: Tensor, real_BF: Tensor) -> Tensor:
    """Return the mean absolute difference of the batches' mean features."""
    return (fake_BF.mean(0) - real_BF.mean(0)).abs().mean()


def summed_entropy(logits_BK: Tensor) -> Tensor:
    """Return the entropy of the predictions, summed over the batch as in the released code."""
    log_p_BK = logits_BK.log_softmax(1)
    return -(log_p_BK.exp() * log_p_BK).sum()


class KedTrainer(AlternatingTrainer):
    """The discriminator learns the target's soft labels and to tell real from generated, the generator its features."""

    def __init__(
        self, training: KedTraining, prior: Prior, images: ImageSet, target: TargetView, *, seed: int,
        device: torch.device,
    ) -> None:  # fmt: skip
        """Prepare.

        Raises:
            TypeError: for a prior that another component built.
        """
        super().__init__(training, prior, images, seed=seed, device=device)
        if not isinstance(self.prior.critic, KedCritic):
            raise TypeError("expected a prior that KedGanPrior.build() made")
        self.target, self.critic, self.net = target, self.prior.critic, self.prior.critic.net
        self.real_weight, self.entropy_weight = training.real_weight, training.entropy_weight

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
