"""Knowledge-Enriched Distributional Model Inversion (KED-MI), Chen et al., ICCV 2021.

The search is in ``latent_search.py``, what the GMI family shares in ``gan_inversion.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from annotated_types import Ge
from torch import nn

from mibench.api import Access, AttackContext, ClassResult, FlatNames, Prior, TargetView
from mibench_attacks.search.gan_inversion import GanInversion, GanObjective, discriminator_of
from mibench_attacks.search.gradient_attack import GradientAttack
from mibench_attacks.search.latent_search import GaussianSearch
from mibench_attacks.selection.confidence import MostConfident


@dataclass(frozen=True, kw_only=True)
class DistributionalInversion(GradientAttack):
    """Learn a Gaussian of noise per class whose images minimise ``softplus(-D(G(z))) + 100 CE(T(G(z)), y)``.

    ``z = mu + exp(log_var / 2) eps`` from mu = 0 and log_var = 1, by Adam; then images are drawn from it. The GAN is
    trained for each target on public images that the target labels. Defaults are the paper's. Deliberate differences
    from the released code: each class has its own steps and not a share of a batch's mean, which Adam's scaling undoes
    anyway; draws are ordered by the target's confidence. The code's clamp of the noise has no effect; clip_z has.

    Attributes:
        prior: prior to attack with, as 'name' or 'name/preset'; it must have a discriminator.
        search: descent of the Gaussian, and draws from it.
        objective: the loss.
        selection: what is delivered.
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
    search: Annotated[GaussianSearch, FlatNames(clip="clip_z")] = GaussianSearch()
    objective: Annotated[GanObjective, FlatNames()] = GanObjective(realism="logit")
    selection: Annotated[MostConfident, FlatNames()] = MostConfident()
    batch: Annotated[int, Ge(1)] = 25

    def __post_init__(self) -> None:
        self.selection.check(self.search.draws, attack="ked-mi", name="draws")

    def check_prior(self, prior: Prior, num_classes: int) -> None:
        """Refuse a prior without a discriminator."""
        discriminator_of(prior, "ked-mi", remedy="prior=ked-gan")

    def prepare(self, target: TargetView, prior: Prior, ctx: AttackContext) -> nn.Module:
        """Return the discriminator."""
        return discriminator_of(prior, "ked-mi", remedy="prior=ked-gan")

    def reconstruct(
        self, label: int, shared: nn.Module, target: TargetView, prior: Prior, ctx: AttackContext
    ) -> ClassResult:
        """Learn the Gaussian and draw from it."""
        return self._inversion.run(label, self.objective.of_class(label, target, shared), target, prior, ctx)

    def cost(self, num_classes: int) -> Mapping[str, int]:
        """Count images, per class: samples x steps x copies + draws passes, samples x steps + draws renders."""
        return self._inversion.cost(num_classes)

    @property
    def _inversion(self) -> GanInversion:
        return GanInversion(search=self.search, alignment=self.alignment, selection=self.selection, batch=self.batch)
