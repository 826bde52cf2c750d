"""Adversarial training of a StyleGAN2 prior, one resumable step at a time.

Shapes: B images of a batch, Z size of the noise, L style layers, W size of a style vector, C channels, H = W pixels.
Source: Karras et al. 2020 (losses, lazy regularisation, moving average); the rest is documented at the parameters of
``GanTraining``. All draws of step ``i`` come from generators derived from (seed, purpose, i), so that a resumed
training repeats an uninterrupted one bit by bit on a CPU.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor, nn
from torch.optim import Adam

from mibench.api import ImageSet, MibenchError, PriorTrainer
from mibench_models.priors.parts.augmentation import augment, parse_policy
from mibench_models.priors.parts.gradient_step import descend, finite
from mibench_models.priors.parts.training_state import adam_state, load_adam_state, load_module_state, module_state
from mibench_models.priors.stylegan2 import losses
from mibench_models.priors.stylegan2.batches import Batches
from mibench_models.priors.stylegan2.discriminator import Discriminator, minibatch_spread
from mibench_models.priors.stylegan2.generator import Generator
from mibench_models.priors.stylegan2.prior import StyleGan2

BETAS = (0.0, 0.99)
PATH_DECAY = 0.01
"""Step of the moving average of path lengths."""


@dataclass(frozen=True, kw_only=True)
class GanTraining:
    """How StyleGAN2's networks are trained.

    Attributes:
        kimg: length of the training in thousands of real images.
        batch: images per step.
        lr: learning rate of both networks (Adam, betas 0 and 0.99).
        r1_gamma: weight of the R1 penalty.
        r1_interval: steps between R1 penalties.
        path_weight: weight of path-length regularisation (official 2); 0 is off, which small networks do well with.
        path_interval: steps between path-length penalties.
        style_mixing: probability that a sample uses two style vectors.
        ema_kimg: half-life of the averaged generator in thousands of images.
        ema_rampup: the half-life is at most this fraction of the images seen so far.
        augment: "none" or a comma-separated policy of flip, translate, cutout, color.
        mirror: show real images mirrored half of the time.
    """

    kimg: Annotated[float, Gt(0)] = 200.0
    batch: Annotated[int, Ge(1)] = 16
    lr: Annotated[float, Gt(0)] = 2.5e-3
    r1_gamma: Annotated[float, Ge(0)] = 0.1
    r1_interval: Annotated[int, Ge(1)] = 16
    path_weight: Annotated[float, Ge(0)] = 0.0
    path_interval: Annotated[int, Ge(1)] = 8
    style_mixing: Annotated[float, Ge(0), Le(1)] = 0.5
    ema_kimg: Annotated[float, Gt(0)] = 5.0
    ema_rampup: Annotated[float, Gt(0)] = 0.05
    augment: str = "none"
    mirror: bool = True


class GanTrainer(PriorTrainer):
    """Trains generator and discriminator in turn; the prior's own generator is the moving average.

    Attributes:
        total_steps: number of steps.
        prior: what is being trained.
        live: the generator that the optimiser moves.
    """

    def __init__(
        self, training: GanTraining, prior: StyleGan2, images: ImageSet, *, seed: int, device: torch.device
    ) -> None:
        """Prepare a training from its first step.

        Raises:
            MibenchError: if there are no images or the prior has no discriminator.
        """
        if prior.critic is None or len(images) == 0:
            raise MibenchError("training a StyleGAN2 prior needs a discriminator and at least one public image")
        self.training, self.device = training, device
        self.batches = Batches(images, seed, device, training.mirror, training.style_mixing)
        self.policy = parse_policy(training.augment)
        self.total_steps = math.ceil(training.kimg * 1000 / training.batch)
        self.prior = prior.to(device)
        self.average: Generator = prior.generator.requires_grad_(False)
        self.live: Generator = copy.deepcopy(prior.generator).requires_grad_(True)
        self.critic: Discriminator = prior.critic.net.requires_grad_(True)
        path_interval = training.path_interval if training.path_weight else 0
        self.adam_g = _adam(self.live, training.lr, path_interval)
        self.adam_d = _adam(self.critic, training.lr, training.r1_interval if training.r1_gamma else 0)
        self.mean_path = torch.zeros([], device=device)

    def step(self, index: int) -> dict[str, float]:
        """Update generator, discriminator and moving average once.

        Returns:
            ``loss_g``, ``loss_d``, mean logits ``real`` and ``fake``, and ``r1`` or ``path`` where they were computed.

        Raises:
            MibenchError: if the training diverged.
        """
        signals = self._generator_step(index)
        if self.training.path_weight and index % self.training.path_interval == 0:
            signals["path"] = self._path_step(index)
        signals |= self._discriminator_step(index)
        if self.training.r1_gamma and index % self.training.r1_interval == 0:
            signals["r1"] = self._r1_step(index)
        self._update_average(index)
        return finite(signals, index, advice="lower lr or raise r1_gamma")

    def state(self) -> dict[str, Tensor]:
        """Return both generators, the discriminator, both optimisers and the mean path length."""
        return {
            **module_state(self.live, "live"),
            **module_state(self.prior, "prior"),
            **adam_state(self.adam_g, "adam_g"),
            **adam_state(self.adam_d, "adam_d"),
            "mean_path": self.mean_path.clone(),
        }

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Continue from a state."""
        load_module_state(self.live, "live", state)
        load_module_state(self.prior, "prior", state)
        load_adam_state(self.adam_g, "adam_g", state)
        load_adam_state(self.adam_d, "adam_d", state)
        self.mean_path = state["mean_path"].to(self.device)

    @torch.no_grad()
    def finish(self) -> StyleGan2:
        """Measure the critic's minibatch statistic on real images and return the prior, frozen and in eval mode."""
        critic = self.prior.critic
        assert critic is not None  # noqa: S101 - checked at construction
        batches = [self._real("spread", index) for index in range(16)]
        spreads = [minibatch_spread(self.critic.features(x_BCHW)).mean() for x_BCHW in batches]
        critic.spread.copy_(torch.stack(spreads).mean())
        return self.prior.requires_grad_(False).eval()

    def _generator_step(self, index: int) -> dict[str, Tensor]:
        self.critic.requires_grad_(False)
        fake_BCHW, w_BW = self._fake("g", index)
        loss = losses.generator_loss(self._judge(fake_BCHW, "g", index))
        descend(self.adam_g, loss)
        self.critic.requires_grad_(True)
        self.live.mapping.update_average(w_BW.detach())
        return {"loss_g": loss.detach()}

    def _path_step(self, index: int) -> Tensor:
        count = max(1, self.training.batch // 2)
        ws_BLW = self.batches.latents(self.live, "path", index, count)[0]
        x_BCHW = self.live.synthesis(ws_BLW, self.batches.rng("path noise", index))
        noise_BCHW = torch.randn(x_BCHW.shape, generator=self.batches.rng("path image noise", index)).to(self.device)
        lengths_B = losses.path_lengths(x_BCHW, ws_BLW, noise_BCHW)
        self.mean_path = self.mean_path.lerp(lengths_B.mean().detach(), PATH_DECAY)
        penalty = (lengths_B - self.mean_path).square().mean()
        descend(self.adam_g, penalty * self.training.path_weight * self.training.path_interval)
        return penalty.detach()

    def _discriminator_step(self, index: int) -> dict[str, Tensor]:
        with torch.no_grad():
            fake_BCHW, _ = self._fake("d", index)
        fake_B = self._judge(fake_BCHW, "d fake", index)
        real_B = self._judge(self._real("real", index), "d real", index)
        loss = losses.discriminator_loss(real_B, fake_B)
        descend(self.adam_d, loss)
        return {"loss_d": loss.detach(), "real": real_B.detach().mean(), "fake": fake_B.detach().mean()}

    def _r1_step(self, index: int) -> Tensor:
        x_BCHW = self._real("r1", index).requires_grad_(True)
        penalty = losses.r1_penalty(self._judge(x_BCHW, "r1", index), x_BCHW)
        descend(self.adam_d, penalty * (self.training.r1_gamma / 2 * self.training.r1_interval))
        return penalty.detach()

    @torch.no_grad()
    def _update_average(self, index: int) -> None:
        seen = (index + 1) * self.training.batch
        half_life = min(self.training.ema_kimg * 1000, seen * self.training.ema_rampup)
        weight = 1 - 0.5 ** (self.training.batch / max(half_life, 1e-8))
        pairs = zip(self.average.parameters(), self.live.parameters(), strict=True)
        for average, live in pairs:
            average.lerp_(live, weight)
        self.average.mapping.w_avg.copy_(self.live.mapping.w_avg)

    def _fake(self, purpose: str, index: int) -> tuple[Tensor, Tensor]:
        ws_BLW, w_BW = self.batches.latents(self.live, purpose, index, self.training.batch)
        return self.live.synthesis(ws_BLW, self.batches.rng(f"{purpose} noise", index)), w_BW

    def _real(self, purpose: str, index: int) -> Tensor:
        return self.batches.real(purpose, index, self.training.batch)

    def _judge(self, x_BCHW: Tensor, purpose: str, index: int) -> Tensor:
        rng = self.batches.rng(f"{purpose} augment", index)
        logits: Tensor = self.critic(augment(x_BCHW, self.policy, rng))
        return logits


def _adam(module: nn.Module, lr: float, interval: int) -> Adam:
    lazy_lr, betas = losses.lazy_adam(lr, BETAS, interval)
    return Adam(module.parameters(), lr=lazy_lr, betas=betas, eps=1e-8, fused=True)
