"""Knowledge-Enriched Distributional Model Inversion (KED-MI), Chen et al., ICCV 2021.

The search is in ``latent_search.py``, what the GMI family shares in ``gan_inversion.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from annotated_types import Ge, Gt
from torch import nn

from mibench.api import Access, AttackContext, ClassResult, Prior, TargetView, UsageError
from mibench_attacks.losses.objectives import LossName, identity_loss
from mibench_attacks.search.gan_inversion import GanInversion, Realism, critic_of, gan_loss, of_class
from mibench_attacks.search.gradient_attack import GradientAttack
from mibench_attacks.search.latent_search import GaussianSearch


@dataclass(frozen=True, kw_only=True)
class DistributionalInversion(GradientAttack):
    """Learn a Gaussian of noise per class whose images minimise ``softplus(-D(G(z))) + 100 CE(T(G(z)), y)``.

    ``z = mu + exp(log_var / 2) eps`` from mu = 0 and log_var = 1, by Adam; then images are drawn from it. The GAN is
    trained for each target on public images that the target labels. Defaults are the paper's. Deliberate differences
    from the released code: each class has its own steps and not a share of a batch's mean, which Adam's scaling undoes
    anyway; draws are ordered by the target's confidence. The code's clamp of the noise has no effect; clip_z has.

    Attributes:
        prior: prior to attack with, as 'name' or 'name/preset'; it must have a discriminator.
        samples: noises drawn per step and class.
        draws: noises drawn from the Gaussian that was found.
        final: images delivered per class, the best of the draws.
        steps: updates of mean and variance.
        lr: learning rate of Adam.
        clip_z: noises are cut to [-clip_z, clip_z] before rendering, as LOMMA's code can; 0 for no cut.
        id_weight: weight of the identity loss beside the discriminator's term.
        loss: identity loss; ce is the paper's, the others are adaptive variants.
        realism: the discriminator's term, 'critic' is -D, 'logit' is softplus(-D).
        batch: images rendered at once when they are delivered; does not change results.

    Raises:
        UsageError: unless final <= draws.
    """

    access: ClassVar[Access] = Access.WHITE_BOX
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"prior": "ked-gan/paper"},
        # the scripts of the released code
        "scripts": {"prior": "ked-gan/paper", "steps": 2400},
        # each of the two rounds of PPDG-vanilla: half of the steps above
        "ppdg": {"prior": "ked-gan/paper", "steps": 1200},
        # for 64-pixel priors on two CPU cores: fewer steps with more samples each
        "small": {"prior": "ked-gan/small", "samples": 4, "draws": 6, "final": 6, "steps": 300},
    }

    prior: str = "ked-gan"
    samples: Annotated[int, Ge(1)] = 1
    draws: Annotated[int, Ge(1)] = 5
    final: Annotated[int, Ge(1)] = 5
    steps: Annotated[int, Ge(0)] = 1500
    lr: Annotated[float, Gt(0)] = 0.02
    clip_z: Annotated[float, Ge(0)] = 0.0
    id_weight: Annotated[float, Ge(0)] = 100.0
    loss: LossName = "ce"
    realism: Realism = "logit"
    batch: Annotated[int, Ge(1)] = 25

    def __post_init__(self) -> None:
        if self.final > self.draws:
            raise UsageError(f"attack 'ked-mi': expected final <= draws, got {self.final} > {self.draws}")

    def check_prior(self, prior: Prior, num_classes: int) -> None:
        """Refuse a prior without a discriminator."""
        critic_of(prior, "ked-mi", remedy="prior=ked-gan")

    def prepare(self, target: TargetView, prior: Prior, ctx: AttackContext) -> nn.Module:
        """Return the discriminator."""
        return critic_of(prior, "ked-mi", remedy="prior=ked-gan")

    def reconstruct(
        self, label: int, shared: nn.Module, target: TargetView, prior: Prior, ctx: AttackContext
    ) -> ClassResult:
        """Learn the Gaussian and draw from it."""
        identity = of_class(identity_loss(self.loss), label, target)
        loss = gan_loss(identity, shared, self.realism, id_weight=self.id_weight)
        return self._inversion().run(label, loss, target, prior, ctx)

    def cost(self, num_classes: int) -> Mapping[str, int]:
        """Count images, per class: samples x steps x copies + draws passes, samples x steps + draws renders."""
        return self._inversion().cost(num_classes)

    def _inversion(self) -> GanInversion:
        search = GaussianSearch(samples=self.samples, steps=self.steps, lr=self.lr, clip=self.clip_z, draws=self.draws)
        return GanInversion(search=search, alignment=self.alignment, final=self.final, batch=self.batch)
