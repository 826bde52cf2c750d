"""Generative Model Inversion (GMI), Zhang et al., "The Secret Revealer", CVPR 2020.

The search is in ``latent_search.py``, what the GMI family shares in ``gan_inversion.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from annotated_types import Ge, Gt, Lt
from torch import nn

from mibench.api import Access, AttackContext, ClassResult, Prior, TargetView, UsageError
from mibench_attacks.losses.objectives import LossName, identity_loss
from mibench_attacks.search.gan_inversion import GanInversion, Realism, critic_of, gan_loss, of_class
from mibench_attacks.search.gradient_attack import GradientAttack
from mibench_attacks.search.latent_search import PointSearch


@dataclass(frozen=True, kw_only=True)
class GenerativeInversion(GradientAttack):
    """Descend ``-D(G(z)) + 100 CE(T(G(z)), y)`` in the noise of a Wasserstein GAN, from several starts.

    Nesterov's momentum; the noise is clamped to [-1, 1] after each step. Defaults are the paper's for CelebA.
    Deliberate differences from the released code: losses are summed and the rate divided by ``batch_ref``, where the
    code descends the mean over a batch, so that here the batch changes nothing; the best start is the one of whose
    image as delivered the target is most confident.

    Attributes:
        prior: prior to attack with, as 'name' or 'name/preset'; it must have a discriminator.
        restarts: starting points per class.
        final: images delivered per class, the best of the restarts.
        steps: updates of each.
        lr: learning rate of the mean loss of a batch.
        momentum: Nesterov's momentum, in [0, 1).
        batch_ref: classes in the batch of the released code; the effective rate is lr / batch_ref.
        clip: bound of each coordinate of the noise.
        id_weight: weight of the identity loss beside the discriminator's term.
        loss: identity loss; ce is the paper's, the others are adaptive variants.
        realism: the discriminator's term, 'critic' is -D, 'logit' is softplus(-D).
        batch: images processed at once; does not change results.

    Raises:
        UsageError: unless final <= restarts.
    """

    access: ClassVar[Access] = Access.WHITE_BOX
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"prior": "dcgan/paper"},
        "mnist": {"prior": "dcgan/mnist", "lr": 0.01, "batch_ref": 5},
        # how the code of KED-MI and LOMMA runs it
        "ked-mi": {"prior": "dcgan/ked-mi", "steps": 2400, "batch_ref": 60},
        # each of the two rounds of PPDG-vanilla: half of the steps above
        "ppdg": {"prior": "dcgan/ked-mi", "steps": 1200, "batch_ref": 60},
        # for 64-pixel priors on two CPU cores: fewer steps, with the small batch_ref of the MNIST experiments
        "small": {"prior": "dcgan/small", "restarts": 8, "final": 6, "steps": 150, "batch_ref": 5},
    }

    prior: str = "dcgan"
    restarts: Annotated[int, Ge(1)] = 5
    final: Annotated[int, Ge(1)] = 1
    steps: Annotated[int, Ge(0)] = 1500
    lr: Annotated[float, Gt(0)] = 0.02
    momentum: Annotated[float, Gt(0), Lt(1)] = 0.9
    batch_ref: Annotated[int, Ge(1)] = 100
    clip: Annotated[float, Gt(0)] = 1.0
    id_weight: Annotated[float, Ge(0)] = 100.0
    loss: LossName = "ce"
    realism: Realism = "critic"
    batch: Annotated[int, Ge(1)] = 25

    def __post_init__(self) -> None:
        if self.final > self.restarts:
            raise UsageError(f"attack 'gmi': expected final <= restarts, got {self.final} > {self.restarts}")

    def check_prior(self, prior: Prior, num_classes: int) -> None:
        """Refuse a prior without a discriminator."""
        critic_of(prior, "gmi", remedy="prior=dcgan")

    def prepare(self, target: TargetView, prior: Prior, ctx: AttackContext) -> nn.Module:
        """Return the discriminator."""
        return critic_of(prior, "gmi", remedy="prior=dcgan")

    def reconstruct(
        self, label: int, shared: nn.Module, target: TargetView, prior: Prior, ctx: AttackContext
    ) -> ClassResult:
        """Descend from all starts and keep the best."""
        identity = of_class(identity_loss(self.loss), label, target)
        loss = gan_loss(identity, shared, self.realism, id_weight=self.id_weight)
        return self._inversion().run(label, loss, target, prior, ctx)

    def cost(self, num_classes: int) -> Mapping[str, int]:
        """Count images, per class: restarts x (steps x copies + 1) passes, restarts x (steps + 1) renders."""
        return self._inversion().cost(num_classes)

    def _inversion(self) -> GanInversion:
        search = PointSearch(
            restarts=self.restarts, steps=self.steps, lr=self.lr, momentum=self.momentum,
            batch_ref=self.batch_ref, clip=self.clip, batch=self.batch,
        )  # fmt: skip
        return GanInversion(search=search, alignment=self.alignment, final=self.final, batch=self.batch)
