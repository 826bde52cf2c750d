"""Training of PLG-MI's conditional GAN, one resumable step at a time.

Shapes: B images of a batch, Z size of the noise, K classes, T images per class, C channels, H = W pixels.
All draws of a step come from generators derived from (seed, purpose, step). The target is first asked in the first
step, and a state holds its pseudo labels, so that a resumed training does not ask for them again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Gt
from torch import Tensor
from torch.nn.functional import one_hot, relu
from torch.optim import Adam

from mibench.api import ImageSet, PriorTrainer, TargetView, freeze, generator
from mibench_models.priors.parts.gradient_step import descend, finite
from mibench_models.priors.parts.pseudo_labels import draw_pairs, pseudo_labels
from mibench_models.priors.parts.target_guidance import changed, margin
from mibench_models.priors.parts.training_state import adam_state, load_adam_state, load_module_state, module_state
from mibench_models.priors.plg_cgan.networks import ConditionalGan

DEQUANTISE = 1 / 256
"""Width of the uniform noise that is added to 8-bit images."""


@dataclass(frozen=True, kw_only=True)
class CganTraining:
    """How PLG-MI's conditional GAN is trained.

    Attributes:
        top: public images per class, the ones that the target likes best.
        steps: steps of the generator.
        critic_steps: steps of the critic for each one of the generator.
        batch: images per step.
        lr: learning rate of the generator.
        critic_lr: learning rate of the critic.
        betas: Adam's averages of gradient and squared gradient.
        alpha: weight of the target's margin; 0 does not ask the target after the pseudo labels.
    """

    top: Annotated[int, Ge(1)] = 30
    steps: Annotated[int, Ge(1)] = 30_000
    critic_steps: Annotated[int, Ge(1)] = 5
    batch: Annotated[int, Ge(2)] = 64
    lr: Annotated[float, Gt(0)] = 2e-4
    critic_lr: Annotated[float, Gt(0)] = 2e-4
    betas: tuple[float, float] = (0.0, 0.9)
    alpha: Annotated[float, Ge(0)] = 0.2


class CganTrainer(PriorTrainer):
    """Trains generator and critic in turn, under the guidance of the target.

    Attributes:
        total_steps: steps of the generator.
        prior: what is being trained.
    """

    def __init__(
        self,
        training: CganTraining,
        prior: ConditionalGan,
        images: ImageSet,
        target: TargetView,
        *,
        seed: int,
        device: torch.device,
    ) -> None:
        """Prepare a training from its first step."""
        self.training, self.images, self.target, self.seed, self.device = training, images, target, seed, device
        self.total_steps = training.steps
        self.prior = prior.to(device).train().requires_grad_(True)
        self.adam_g = Adam(prior.generator.parameters(), lr=training.lr, betas=training.betas, fused=True)
        self.adam_d = Adam(prior.critic.parameters(), lr=training.critic_lr, betas=training.betas, fused=True)
        self.pseudo_KT: Tensor | None = None

    def step(self, index: int) -> dict[str, float]:
        """Update the generator once and the critic as often as settings say.

        Returns:
            ``loss_g``, ``loss_d``, mean logits ``real`` and ``fake``, and the target's ``margin``.

        Raises:
            MibenchError: if the training diverged.
        """
        signals = self._generator_step(index)
        for turn in range(self.training.critic_steps):
            signals |= self._critic_step(index, turn)
        return finite(signals, index, advice="lower the learning rates or alpha")

    def state(self) -> dict[str, Tensor]:
        """Return both networks with their running statistics and norms, both optimisers and the pseudo labels."""
        labels = {} if self.pseudo_KT is None else {"pseudo": self.pseudo_KT.clone()}
        return {
            **module_state(self.prior, "prior"),
            **adam_state(self.adam_g, "adam_g"),
            **adam_state(self.adam_d, "adam_d"),
            **labels,
        }

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Continue from a state."""
        load_module_state(self.prior, "prior", state)
        load_adam_state(self.adam_g, "adam_g", state)
        load_adam_state(self.adam_d, "adam_d", state)
        self.pseudo_KT = state["pseudo"].cpu().clone() if "pseudo" in state else None

    def finish(self) -> ConditionalGan:
        """Return the prior, frozen and in evaluation mode."""
        freeze(self.prior)
        return self.prior

    def _generator_step(self, index: int) -> dict[str, Tensor]:
        self.prior.critic.requires_grad_(False)
        fake_BCHW, y_B = self._fake("g", index)
        loss = -self.prior.critic(fake_BCHW, self._weights(y_B)).mean()
        signals = {}
        if self.training.alpha:
            logits_BK = self.target.logits(changed(fake_BCHW, self._rng("change", index)))
            signals["margin"] = margin(logits_BK, y_B).mean()
            loss = loss + self.training.alpha * signals["margin"]
        descend(self.adam_g, loss)
        self.prior.critic.requires_grad_(True)
        return {"loss_g": loss.detach(), **{name: value.detach() for name, value in signals.items()}}

    def _critic_step(self, index: int, turn: int) -> dict[str, Tensor]:
        with torch.no_grad():
            fake_BCHW, fake_y_B = self._fake("d", index, turn)
        real_BCHW, real_y_B = self._real(index, turn)
        fake_B = self.prior.critic(fake_BCHW, self._weights(fake_y_B))
        real_B = self.prior.critic(real_BCHW, self._weights(real_y_B))
        loss = relu(1 - real_B).mean() + relu(1 + fake_B).mean()
        descend(self.adam_d, loss)
        return {"loss_d": loss.detach(), "real": real_B.detach().mean(), "fake": fake_B.detach().mean()}

    def _fake(self, purpose: str, *when: int) -> tuple[Tensor, Tensor]:
        rng, batch = self._rng(f"{purpose} latent", *when), self.training.batch
        z_BZ = torch.randn(batch, self.prior.noise_size, generator=rng).to(self.device)
        y_B = torch.randint(self.prior.classes, (batch,), generator=rng).to(self.device)
        return self.prior.generator(z_BZ, self._weights(y_B)), y_B

    def _real(self, *when: int) -> tuple[Tensor, Tensor]:
        if self.pseudo_KT is None:
            self.pseudo_KT = pseudo_labels(self.target, self.images, self.training.top, device=self.device)
        rng = self._rng("real", *when)
        index_B, y_B = draw_pairs(self.pseudo_KT, self.training.batch, rng)
        x_BCHW = self.images.images(index_B)
        x_BCHW = x_BCHW + DEQUANTISE * torch.rand(x_BCHW.shape, generator=rng)
        return x_BCHW.to(self.device, memory_format=torch.channels_last), y_B.to(self.device)

    def _weights(self, y_B: Tensor) -> Tensor:
        return one_hot(y_B, self.prior.classes).float()

    def _rng(self, purpose: str, *when: int) -> torch.Generator:
        return generator(self.seed, purpose, *when)
