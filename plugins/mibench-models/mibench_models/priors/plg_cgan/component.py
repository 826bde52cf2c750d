"""The component of PLG-MI's prior: a conditional GAN on pseudo-labelled public images, guided by the target it serves.

Source: Yuan et al., "Pseudo Label-Guided Model Inversion Attack via Conditional Generative Adversarial Network"
(AAAI 2023), and its released code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge

from mibench.api import FlatNames, ImageSet, Prior, PriorModel, PriorTrainer, TargetView, given
from mibench_models.priors.plg_cgan.networks import CganGenerator, ConditionalGan, ProjectionCritic
from mibench_models.priors.plg_cgan.training import CganTrainer, CganTraining

SMALL: dict[str, Any] = {"width": 8, "steps": 1100, "critic_steps": 1, "batch": 24, "lr": 5e-4, "critic_lr": 1e-3}


@dataclass(frozen=True, kw_only=True)
class PlgCgan(PriorModel):
    """Train a conditional GAN by the hinge loss and the target's margin.

    ``L_D = E relu(1 - D(x, y')) + E relu(1 + D(G(z, y), y))``, ``L_G = -E D(G(z, y), y) + alpha E M(T(A G(z, y)), y)``:
    x are public images under the target's top-n pseudo labels y', A a random change, M the max-margin of the target's
    logits. Fakes are changed for the target only, never for the critic. Deliberate differences from the released code:
    the geometric changes are one resampling, and pixels that they bring in repeat the edge.

    Attributes:
        z_dim: size of the noise.
        width: channels of the generator's last and the critic's first block; each other block has twice as many.
        training: how they are trained.
    """

    needs_target: ClassVar[bool] = True

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {},
        # about 4 minutes of one CPU core, not tuned; two learning rates stand in for many critic steps
        "small": SMALL,
        "orl64": SMALL,
        "rendered64": SMALL,
        "smoke": {"z_dim": 16, "width": 2, "top": 4, "steps": 3, "critic_steps": 1, "batch": 8},
    }

    z_dim: Annotated[int, Ge(1)] = 128
    width: Annotated[int, Ge(1)] = 64
    training: Annotated[CganTraining, FlatNames()] = CganTraining()

    def build(self, *, channels: int, size: int, classes: int = 0) -> ConditionalGan:
        """Make untrained networks, the critic included."""
        shape: dict[str, int] = {"size": size, "width": self.width}
        generator = CganGenerator(self.z_dim, classes, channels, **shape)
        critic = ProjectionCritic(classes, channels, **shape)
        return ConditionalGan(generator, critic, z_dim=self.z_dim, classes=classes)

    def trainer(
        self, prior: Prior, images: ImageSet, *, seed: int, device: torch.device, target: TargetView | None = None
    ) -> PriorTrainer:
        """Return the adversarial training; see ``mibench_models.priors.plg_cgan.training``."""
        if not isinstance(prior, ConditionalGan):
            raise TypeError(f"expected a ConditionalGan that build() made, got {type(prior).__name__}")
        return CganTrainer(self.training, prior, images, given(target), seed=seed, device=device)
