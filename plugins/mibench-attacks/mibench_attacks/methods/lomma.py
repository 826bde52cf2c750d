"""Logit loss and model augmentation (LOMMA), Nguyen et al., CVPR 2023: another identity loss for GMI or KED-MI.

Shapes: B images of a batch, C channels, S = protocol's side, K classes, D features of the target.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn

from mibench.api import Access, AttackContext, ClassResult, Prior, TargetView, UsageError
from mibench_attacks.losses.objectives import ce, logit
from mibench_attacks.search.gan_inversion import GanInversion, ImageLoss, Realism, critic_of, gan_loss
from mibench_attacks.search.gradient_attack import GradientAttack
from mibench_attacks.search.latent_search import GaussianSearch, LatentSearch, PointSearch
from mibench_attacks.students.distillation import Distiller
from mibench_attacks.students.networks import Student, check_student

Host = Literal["gmi", "ked"]
PRIORS: dict[Host, str] = {"gmi": "dcgan", "ked": "ked-gan"}
REALISM_OF: dict[Host, Realism] = {"gmi": "critic", "ked": "logit"}
SMALL: dict[str, Any] = {
    "candidates": 8, "final": 6, "steps": 150, "samples": 8, "batch_ref": 5, "students": ("cnn-16", "cnn-24", "cnn-32"),
}  # fmt: skip


class Shared(NamedTuple):
    """What all classes share: discriminator, students, and the target's mean features (D,) of public images."""

    critic: nn.Module
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
        logit: use the logit loss with feature regulariser.
        augment: average over students too.
        lam: weight of the feature regulariser.
        public_images: public images shown to the target, exactly: drawn without repetition while there are enough.
        students: networks, efficientnet_b0 .. efficientnet_b7 or cnn-WIDTH.
        student_epochs: passes through the public images.
        student_lr: learning rate of SGD, halved after every 20 epochs.
        student_batch: public images per update.
        candidates: images found per class: restarts of 'gmi', draws of 'ked'.
        final: images delivered per class, the best of the candidates.
        steps: updates.
        lr: learning rate of the host.
        samples: noises per step of 'ked'.
        momentum: Nesterov's of 'gmi', in [0, 1).
        batch_ref: classes in the batch of the released code; the effective rate of 'gmi' is lr / batch_ref.
        clip: bound of each coordinate of the noise; 0 leaves 'ked' unbounded.
        id_weight: weight of the identity loss beside the discriminator's term.
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
    logit: bool = True
    augment: bool = True
    lam: Annotated[float, Ge(0)] = 1.0
    public_images: Annotated[int, Ge(1)] = 30_000
    students: tuple[str, ...] = ("efficientnet_b0", "efficientnet_b1", "efficientnet_b2")
    student_epochs: Annotated[int, Ge(1)] = 20
    student_lr: Annotated[float, Gt(0)] = 0.01
    student_batch: Annotated[int, Ge(2)] = 64
    candidates: Annotated[int, Ge(1)] = 5
    final: Annotated[int, Ge(1)] = 5
    steps: Annotated[int, Ge(0)] = 2400
    lr: Annotated[float, Gt(0)] = 0.02
    samples: Annotated[int, Ge(1)] = 1
    momentum: Annotated[float, Gt(0), Lt(1)] = 0.9
    batch_ref: Annotated[int, Ge(1)] = 60
    clip: Annotated[float, Ge(0)] = 1.0
    id_weight: Annotated[float, Ge(0)] = 100.0
    batch: Annotated[int, Ge(1)] = 25

    def __post_init__(self) -> None:
        if self.final > self.candidates:
            raise UsageError(f"attack 'lomma': expected final <= candidates, got {self.final} > {self.candidates}")
        if self.host == "gmi" and self.clip == 0:
            raise UsageError("attack 'lomma': host 'gmi' searches within a box; set clip > 0")
        for name in self.students:
            check_student(name)

    def prior_choice(self) -> str:
        """Return the chosen prior, or the host's."""
        return self.prior or PRIORS[self.host]

    def check_prior(self, prior: Prior, num_classes: int) -> None:
        """Refuse a prior without a discriminator."""
        critic_of(prior, "lomma", remedy=f"prior={PRIORS[self.host]}")

    def prepare(self, target: TargetView, prior: Prior, ctx: AttackContext) -> Shared:
        """Show the target public images and distil the students, once; restarts find them again."""
        critic = critic_of(prior, "lomma", remedy=f"prior={PRIORS[self.host]}")
        if not self._asks():
            return Shared(critic, [], None)
        distiller = Distiller(
            students=self.students if self.augment else (),
            public_images=self.public_images,
            epochs=self.student_epochs,
            lr=self.student_lr,
            batch=self.student_batch,
        )
        return Shared(critic, *distiller.learn(target, ctx))

    def reconstruct(
        self, label: int, shared: Shared, target: TargetView, prior: Prior, ctx: AttackContext
    ) -> ClassResult:
        """Search as the host does, under the other identity loss."""
        identity = self._identity(label, shared, target)
        loss = gan_loss(identity, shared.critic, REALISM_OF[self.host], id_weight=self.id_weight)
        return self._inversion().run(label, loss, target, prior, ctx)

    def cost(self, num_classes: int) -> Mapping[str, int]:
        """Count images: the public ones, if needed, and what the host spends; students are not the target."""
        host = self._inversion().cost(num_classes)
        return {**host, "forward": host["forward"] + self.public_images * self._asks()}

    def _identity(self, label: int, shared: Shared, target: TargetView) -> ImageLoss:
        of_logits = logit if self.logit else ce

        def identity(x_BCSS: Tensor) -> Tensor:
            y_B = torch.full((len(x_BCSS),), label, device=x_BCSS.device)
            logits_BK, features_BD = target.logits_and_features(x_BCSS)
            models = [logits_BK, *(student(x_BCSS) for student in shared.students)]
            loss_B = torch.stack([of_logits(model_BK, y_B) for model_BK in models]).mean(0)
            if not self.logit or shared.mean_D is None:
                return loss_B
            return loss_B + self.lam * (features_BD.float() - shared.mean_D).square().mean(1)

        return identity

    def _asks(self) -> bool:
        return self.logit or (self.augment and bool(self.students))

    def _inversion(self) -> GanInversion:
        search: LatentSearch
        if self.host == "gmi":
            search = PointSearch(
                restarts=self.candidates, steps=self.steps, lr=self.lr, momentum=self.momentum,
                batch_ref=self.batch_ref, clip=self.clip, batch=self.batch,
            )  # fmt: skip
        else:
            search = GaussianSearch(
                samples=self.samples, steps=self.steps, lr=self.lr, clip=self.clip, draws=self.candidates
            )
        return GanInversion(search=search, alignment=self.alignment, final=self.final, batch=self.batch)
