"""The training loop that DCGAN priors share: some critic updates, then one of the generator.

Shapes: B images of a batch, Z size of the noise, C channels, H = W pixels.
All draws of update ``i`` come from generators derived from (seed, purpose, i), so that a resumed training repeats an
uninterrupted one bit by bit on a CPU.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Gt
from torch import Tensor
from torch.optim import Adam

from mibench.api import ImageSet, MibenchError, Prior, PriorTrainer, UsageError, freeze, generator
from mibench_models.priors.dcgan.networks import Dcgan
from mibench_models.priors.parts.augmentation import flip
from mibench_models.priors.parts.gradient_step import descend, finite
from mibench_models.priors.parts.training_state import adam_state, load_adam_state, load_module_state, module_state


@dataclass(frozen=True, kw_only=True)
class AlternatingTraining:
    """How DCGAN priors are trained. Defaults are those of GMI's and KED-MI's GANs.

    Attributes:
        steps: updates of the generator.
        n_critic: updates of the critic before each.
        batch: images per update.
        lr: learning rate of both networks (Adam).
        betas: Adam's averages of gradient and squared gradient, each in [0, 1).
        mirror: show real images mirrored half of the time.

    Raises:
        UsageError: for betas out of range.
    """

    steps: Annotated[int, Ge(1)] = 26_250
    n_critic: Annotated[int, Ge(1)] = 5
    batch: Annotated[int, Ge(2)] = 64
    lr: Annotated[float, Gt(0)] = 2e-4
    betas: tuple[float, float] = (0.5, 0.999)
    mirror: bool = False

    def __post_init__(self) -> None:
        if not all(0 <= beta < 1 for beta in self.betas):
            raise UsageError(f"expected betas in [0, 1), got {self.betas}")


class AlternatingTrainer(PriorTrainer):
    """A step is one generator update with its critic updates. Subclasses say the two losses.

    Attributes:
        total_steps: number of steps.
        prior: what is being trained.
    """

    def __init__(
        self, training: AlternatingTraining, prior: Prior, images: ImageSet, *, seed: int, device: torch.device
    ) -> None:
        """Prepare a training from its first step.

        Raises:
            MibenchError: if there are no images.
            TypeError: for a prior that another component built.
        """
        if not isinstance(prior, Dcgan):
            raise TypeError(f"expected a Dcgan that build() made, got {type(prior).__name__}")
        if len(images) == 0:
            raise MibenchError("training a DCGAN prior needs at least one public image")
        self.training, self.images, self.seed, self.device = training, images, seed, device
        self.prior = prior.to(device).train().requires_grad_(True)
        self.total_steps = training.steps
        self.adam_g = Adam(prior.generator.parameters(), lr=training.lr, betas=training.betas, fused=True)
        self.adam_d = Adam(prior.critic.parameters(), lr=training.lr, betas=training.betas, fused=True)

    @abstractmethod
    def critic_loss(self, update: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of critic update ``update``, counted over the whole training, and what to log."""

    @abstractmethod
    def generator_loss(self, index: int) -> Tensor:
        """Return the loss of generator update ``index``."""

    def step(self, index: int) -> dict[str, float]:
        """Update the critic ``n_critic`` times and the generator once.

        Returns:
            ``loss_g``, and of the last critic update ``loss_d`` and what the method logs.

        Raises:
            MibenchError: if the training diverged.
        """
        signals: dict[str, Tensor] = {}
        for update in range(index * self.training.n_critic, (index + 1) * self.training.n_critic):
            loss_d, signals = self.critic_loss(update)
            descend(self.adam_d, loss_d)
            signals = {"loss_d": loss_d, **signals}
        self.prior.critic.requires_grad_(False)
        loss_g = self.generator_loss(index)
        descend(self.adam_g, loss_g)
        self.prior.critic.requires_grad_(True)
        return finite({"loss_g": loss_g, **signals}, index, advice="lower lr")

    def state(self) -> dict[str, Tensor]:
        """Return both networks and both optimisers."""
        networks = module_state(self.prior, "prior")
        return {**networks, **adam_state(self.adam_g, "adam_g"), **adam_state(self.adam_d, "adam_d")}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Continue from a state."""
        load_module_state(self.prior, "prior", state)
        load_adam_state(self.adam_g, "adam_g", state)
        load_adam_state(self.adam_d, "adam_d", state)

    def finish(self) -> Dcgan:
        """Return the prior, frozen and in evaluation mode: BatchNorm with its running statistics."""
        return freeze(self.prior)

    def rng(self, purpose: str, update: int) -> torch.Generator:
        """Return the generator of a purpose at an update."""
        return generator(self.seed, purpose, update)

    def real(self, purpose: str, update: int) -> Tensor:
        """Return public images (B, C, H, W) in [0, 1], drawn with replacement."""
        rng = self.rng(purpose, update)
        chosen_B = torch.randint(len(self.images), (self.training.batch,), generator=rng)
        x_BCHW = self.images.images(chosen_B).to(self.device)
        x_BCHW = flip(x_BCHW, rng) if self.training.mirror else x_BCHW
        return x_BCHW.contiguous(memory_format=torch.channels_last)

    def fake(self, purpose: str, update: int) -> Tensor:
        """Return generated images (B, C, H, W); BatchNorm sees this batch."""
        z_BZ = self.prior.sample(self.training.batch, self.rng(purpose, update))
        image_BCHW: Tensor = self.prior.generator(z_BZ)
        return image_BCHW
