"""Generative Model Inversion (GMI), Zhang et al., "The Secret Revealer", CVPR 2020.

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
from mibench_attacks.search.latent_search import PointSearch
from mibench_attacks.selection.confidence import MostConfident


@dataclass(frozen=True, kw_only=True)
class GenerativeInversion(GradientAttack):
    """Descend ``-D(G(z)) + 100 CE(T(G(z)), y)`` in the noise of a Wasserstein GAN, from several starts.

    Nesterov's momentum; the noise is clamped to [-1, 1] after each step. Defaults are the paper's for CelebA.
    Deliberate differences from the released code: losses are summed and the rate divided by ``batch_ref``, where the
    code descends the mean over a batch, so that here the batch changes nothing; the best start is the one of whose
    image as delivered the target is most confident.

    Attributes:
        prior: prior to attack with, as 'name' or 'name/preset'; it must have a discriminator.
        search: descent of several points of noise.
        objective: the loss.
        selection: what is delivered.
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
    search: Annotated[PointSearch, FlatNames()] = PointSearch()
    objective: Annotated[GanObjective, FlatNames()] = GanObjective()
    selection: Annotated[MostConfident, FlatNames()] = MostConfident(final=1)
    batch: Annotated[int, Ge(1)] = 25

    def __post_init__(self) -> None:
        self.selection.check(self.search.restarts, attack="gmi", name="restarts")

    def check_prior(self, prior: Prior, num_classes: int) -> None:
        """Refuse a prior without a discriminator."""
        discriminator_of(prior, "gmi", remedy="prior=dcgan")

    def prepare(self, target: TargetView, prior: Prior, ctx: AttackContext) -> nn.Module:
        """Return the discriminator."""
        return discriminator_of(prior, "gmi", remedy="prior=dcgan")

    def reconstruct(
        self, label: int, shared: nn.Module, target: TargetView, prior: Prior, ctx: AttackContext
    ) -> ClassResult:
        """Descend from all starts and keep the best."""
        return self._inversion.run(label, self.objective.of_class(label, target, shared), target, prior, ctx)

    def cost(self, num_classes: int) -> Mapping[str, int]:
        """Count images, per class: restarts x (steps x copies + 1) passes, restarts x (steps + 1) renders."""
        return self._inversion.cost(num_classes)

    @property
    def _inversion(self) -> GanInversion:
        return GanInversion(search=self.search, alignment=self.alignment, selection=self.selection, batch=self.batch)
