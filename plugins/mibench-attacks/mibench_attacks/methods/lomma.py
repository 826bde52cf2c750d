"""Logit loss and model augmentation (LOMMA), Nguyen et al., CVPR 2023: another identity loss for GMI or KED-MI.

Shapes: D features of the target.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, NamedTuple

from annotated_types import Ge
from torch import Tensor, nn

from mibench.api import Access, AttackContext, ClassResult, FlatNames, Prior, TargetView
from mibench_attacks.search.gan_inversion import GanInversion, Realism, discriminator_of, gan_loss
from mibench_attacks.search.gradient_attack import GradientAttack
from mibench_attacks.search.host_search import Host, HostSearch
from mibench_attacks.selection.confidence import MostConfident
from mibench_attacks.students.distillation import Distiller
from mibench_attacks.students.ensemble import EnsembleObjective
from mibench_attacks.students.networks import Student

PRIORS: dict[Host, str] = {"gmi": "dcgan", "ked": "ked-gan"}
REALISM_OF: dict[Host, Realism] = {"gmi": "critic", "ked": "logit"}
SMALL: dict[str, Any] = {
    "candidates": 8, "final": 6, "steps": 150, "samples": 8, "batch_ref": 5, "students": ("cnn-16", "cnn-24", "cnn-32"),
}  # fmt: skip


class Shared(NamedTuple):
    """What all classes share: discriminator, students, and the target's mean features (D,) of public images."""

    discriminator: nn.Module
    students: list[Student]
    mean_D: Tensor | None


@dataclass(frozen=True, kw_only=True)
class Lomma(GradientAttack):
    """GMI or KED-MI with ``-l_y`` for the cross-entropy, averaged over the target and students distilled from it.

    The identity loss is ``mean over models of -l_y + lam mean_j (f_j - mu_j)^2``, with the target's features f and
    their mean mu over public images, which keeps the unbounded logit in check. With ``logit`` off it is the mean
    cross-entropy, with ``augment`` off the target is the only model. Search and discriminator's term are the host's.

    Defaults are the paper's. Deliberate differences from the released code: the target labels each public image once
    and not once per epoch, and mu is taken over all ``public_images`` (the code: at most 5000).

    Attributes:
        prior: prior to attack with, as 'name' or 'name/preset'; empty takes the host's, dcgan or ked-gan.
        host: 'gmi' descends points of noise, 'ked' a Gaussian of noise per class.
        objective: the identity loss.
        distillation: of the students.
        search: the host's.
        selection: what is delivered.
        batch: images processed at once; does not change results.

    Raises:
        UsageError: unless final <= candidates and all students are known, and for clip 0 of 'gmi'.
    """

    access: ClassVar[Access] = Access.WHITE_BOX
    needs_public: ClassVar[bool] = True
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"prior": "dcgan/ked-mi"},
        "paper-ked": {"host": "ked", "prior": "ked-gan/paper"},
        # for 64-pixel priors on two CPU cores
        "small": {**SMALL, "prior": "dcgan/small", "public_images": 1000},
        "small-ked": {**SMALL, "host": "ked", "prior": "ked-gan/small", "public_images": 1000},
    }

    prior: str = ""
    host: Host = "gmi"
    objective: Annotated[EnsembleObjective, FlatNames()] = EnsembleObjective()
    distillation: Annotated[Distiller, FlatNames(epochs="student_epochs", lr="student_lr", batch="student_batch")] = (
        Distiller()
    )
    search: Annotated[HostSearch, FlatNames()] = HostSearch()
    selection: Annotated[MostConfident, FlatNames()] = MostConfident()
    batch: Annotated[int, Ge(1)] = 25

    def __post_init__(self) -> None:
        self.selection.check(self.search.candidates, attack="lomma", name="candidates")
        self.search.check(self.host, attack="lomma")

    def prior_choice(self) -> str:
        """Return the chosen prior, or the host's."""
        return self.prior or PRIORS[self.host]

    def check_prior(self, prior: Prior, num_classes: int) -> None:
        """Refuse a prior without a discriminator."""
        discriminator_of(prior, "lomma", remedy=f"prior={PRIORS[self.host]}")

    def prepare(self, target: TargetView, prior: Prior, ctx: AttackContext) -> Shared:
        """Show the target public images and distil the students, once; restarts find them again."""
        discriminator = discriminator_of(prior, "lomma", remedy=f"prior={PRIORS[self.host]}")
        if not self._public_images:
            return Shared(discriminator, [], None)
        students = self.distillation.students if self.objective.augment else ()
        return Shared(discriminator, *replace(self.distillation, students=students).distill(target, ctx))

    def reconstruct(
        self, label: int, shared: Shared, target: TargetView, prior: Prior, ctx: AttackContext
    ) -> ClassResult:
        """Search as the host does, under the other identity loss."""
        identity = self.objective.of_class(label, target, shared.students, shared.mean_D)
        realism, id_weight = REALISM_OF[self.host], self.objective.id_weight
        loss = gan_loss(identity, shared.discriminator, realism, id_weight=id_weight)
        return self._inversion.run(label, loss, target, prior, ctx)

    def cost(self, num_classes: int) -> Mapping[str, int]:
        """Count images: the public ones, if needed, and what the host spends; students are not the target."""
        host = self._inversion.cost(num_classes)
        return {**host, "forward": host["forward"] + self._public_images}

    @property
    def _public_images(self) -> int:
        needed = self.objective.logit or (self.objective.augment and self.distillation.students)
        return self.distillation.public_images if needed else 0

    @property
    def _inversion(self) -> GanInversion:
        search = self.search.of(self.host)
        return GanInversion(search=search, alignment=self.alignment, selection=self.selection, batch=self.batch)
