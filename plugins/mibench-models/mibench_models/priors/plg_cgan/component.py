"""The prior of PLG-MI: a conditional GAN on pseudo-labelled public images, guided by the target that it serves.

Shapes: B latents, Z size of the noise, K classes, L = 1, W = Z + K, C channels, S = side in pixels.
Source: Yuan et al., "Pseudo Label-Guided Model Inversion Attack via Conditional Generative Adversarial Network"
(AAAI 2023), and its released code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn

from mibench.api import BlockState, GuidedPriorModel, ImageSet, Prior, PriorTrainer, TargetView
from mibench_models.priors.parts.conditional import ConditionalPrior
from mibench_models.priors.plg_cgan.networks import CganGenerator, ProjectionCritic

SMALL: dict[str, Any] = {"width": 8, "steps": 1100, "critic_steps": 1, "batch": 24, "lr": 5e-4, "critic_lr": 1e-3}


class ConditionalGan(ConditionalPrior):
    """Generator and critic behind the prior contract. Unconditioned latents render an average of all classes.

    Attributes:
        generator: noise and class weights to images, trained on images in [0, 1].
        critic: the projection discriminator; without a class it judges as for an average one.
    """

    def __init__(self, generator: CganGenerator, critic: ProjectionCritic, *, z_dim: int, classes: int) -> None:
        super().__init__(z_dim, classes, unconditioned=1 / classes)
        self.generator, self.critic = generator, critic
        self.to(memory_format=torch.channels_last)

    def render(self, latent_BLW: Tensor, *, start: int = 0, carry: BlockState | None = None) -> Tensor:
        """Return images (B, C, S, S), not clamped: tanh reaches below 0.

        Raises:
            ValueError: if ``start`` is not 0; there is nothing to enter in the middle.
        """
        if start != 0:
            raise ValueError(f"this generator has one block; got start={start}")
        images: Tensor = self.generator(*self.parts(latent_BLW))
        return images

    @property
    def discriminator(self) -> nn.Module | None:
        """The critic: images in [0, 1] to realism logits (B,)."""
        return self.critic

    @property
    def tunable(self) -> Sequence[nn.Parameter]:
        """The generator's weights."""
        return list(self.generator.parameters())


@dataclass(frozen=True, kw_only=True)
class PlgCgan(GuidedPriorModel):
    """Train a conditional GAN by the hinge loss and the target's margin.

    ``L_D = E relu(1 - D(x, y')) + E relu(1 + D(G(z, y), y))``, ``L_G = -E D(G(z, y), y) + alpha E M(T(A G(z, y)), y)``:
    x are public images under the target's top-n pseudo labels y', A a random change, M the max-margin of the target's
    logits. Fakes are changed for the target only, never for the critic. Deliberate differences from the released code:
    the geometric changes are one resampling, and pixels that they bring in repeat the edge.

    Attributes:
        z_dim: size of the noise.
        width: channels of the generator's last and the critic's first block; each other block has twice as many.
        top: public images per class, the ones that the target likes best.
        steps: steps of the generator.
        critic_steps: steps of the critic for each one of the generator.
        batch: images per step.
        lr: learning rate of the generator.
        critic_lr: learning rate of the critic.
        betas: Adam's averages of gradient and squared gradient.
        alpha: weight of the target's margin; 0 does not ask the target after the pseudo labels.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {},
        # about 4 minutes of one CPU core, not tuned; two learning rates stand in for many critic steps
        "small": SMALL,
    }

    z_dim: Annotated[int, Ge(1)] = 128
    width: Annotated[int, Ge(1)] = 64
    top: Annotated[int, Ge(1)] = 30
    steps: Annotated[int, Ge(1)] = 30_000
    critic_steps: Annotated[int, Ge(1)] = 5
    batch: Annotated[int, Ge(2)] = 64
    lr: Annotated[float, Gt(0)] = 2e-4
    critic_lr: Annotated[float, Gt(0)] = 2e-4
    betas: tuple[float, float] = (0.0, 0.9)
    alpha: Annotated[float, Ge(0)] = 0.2

    def build(self, *, channels: int, size: int, classes: int) -> ConditionalGan:
        """Make untrained networks, the critic included."""
        shape: dict[str, int] = {"size": size, "width": self.width}
        generator = CganGenerator(self.z_dim, classes, channels, **shape)
        critic = ProjectionCritic(classes, channels, **shape)
        return ConditionalGan(generator, critic, z_dim=self.z_dim, classes=classes)

    def trainer(
        self, prior: Prior, images: ImageSet, target: TargetView, *, seed: int, device: torch.device
    ) -> PriorTrainer:
        """Return the adversarial training; see ``mibench_models.priors.plg_cgan.training``."""
        from mibench_models.priors.plg_cgan.training import CganTrainer

        if not isinstance(prior, ConditionalGan):
            raise TypeError(f"expected a ConditionalGan that build() made, got {type(prior).__name__}")
        return CganTrainer(self, prior, images, target, seed=seed, device=device)
