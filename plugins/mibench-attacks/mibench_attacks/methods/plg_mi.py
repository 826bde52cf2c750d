"""Pseudo Label-Guided Model Inversion (PLG-MI), Yuan et al., AAAI 2023: search the noise of a class-conditional GAN.

Shapes: N starts, B of a batch, Z size of the noise, C channels, S = protocol's side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor

from mibench.api import Access, AttackContext, ClassResult, Prior, TargetView, UsageError
from mibench_attacks.images.rendering import Renderer
from mibench_attacks.losses.objectives import LossName, Objective, identity_loss
from mibench_attacks.search.gradient_attack import GradientAttack
from mibench_attacks.search.gradient_search import GradientSearch
from mibench_attacks.search.optimisers import adam
from mibench_attacks.selection.robust_rank import by_confidence
from mibench_attacks.views.alignment import averaged
from mibench_attacks.views.transforms import RandomView


@dataclass(frozen=True, kw_only=True)
class PseudoLabelGuided(GradientAttack):
    """Descend ``mean over two random views A of max_margin(T(A G(z, y)), y)`` in z by Adam, from z ~ N(0, I).

    The generator was trained on public images that the target labelled, under the target's guidance: give it as prior.
    Deliberate differences from the released code: the mean over the views stands for their sum, which for Adam is the
    same; every start is a candidate of one search, and the target's confidence chooses and orders what is delivered
    (with the paper's numbers all five are).

    Attributes:
        prior: prior to attack with, as 'name' or 'name/preset'; it must be conditioned on the target's classes.
        restarts: starting points per class.
        final: images delivered per class, the best of the restarts.
        steps: updates of each.
        lr: learning rate of Adam.
        loss: identity loss; max_margin is the paper's, the released code also offers poincare.
        topk: rivals of the loss topk_margin.
        views: random views averaged per step.
        crop_scale: smallest and largest area share of the views.
        flip: probability that a view is mirrored.
        rotate: largest rotation of a view in degrees.
        jitter: largest relative change of brightness and contrast of a view.
        batch: images processed at once; does not change results.

    Raises:
        UsageError: unless final <= restarts and the views are possible.
    """

    access: ClassVar[Access] = Access.WHITE_BOX
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"prior": "plg-cgan/paper"},
        # for 64-pixel priors on two CPU cores
        "small": {"prior": "plg-cgan/small", "restarts": 8, "final": 6, "steps": 150},
    }

    prior: str = "plg-cgan"
    restarts: Annotated[int, Ge(1)] = 5
    final: Annotated[int, Ge(1)] = 5
    steps: Annotated[int, Ge(0)] = 600
    lr: Annotated[float, Gt(0)] = 0.1
    loss: LossName = "max_margin"
    topk: Annotated[int, Ge(0)] = 20
    views: Annotated[int, Ge(1)] = 2
    crop_scale: tuple[float, float] = (0.8, 1.0)
    flip: Annotated[float, Ge(0), Le(1)] = 0.5
    rotate: Annotated[float, Ge(0)] = 5.0
    jitter: Annotated[float, Ge(0), Le(1)] = 0.2
    batch: Annotated[int, Ge(1)] = 25

    def __post_init__(self) -> None:
        if self.final > self.restarts:
            raise UsageError(f"attack 'plg-mi': expected final <= restarts, got {self.final} > {self.restarts}")
        self.objective()  # impossible views are refused here

    def check_prior(self, prior: Prior, num_classes: int) -> None:
        """Refuse a prior that does not know the target's classes."""
        if prior.classes != num_classes:
            raise UsageError(
                f"attack 'plg-mi' needs a prior conditioned on the target's {num_classes} classes, and"
                f" {type(prior).__name__} knows {prior.classes}. Set plg-mi.prior=plg-cgan."
            )

    def prepare(self, target: TargetView, prior: Prior, ctx: AttackContext) -> None:
        """Check the prior; classes share nothing."""
        self.check_prior(prior, target.num_classes)

    def reconstruct(
        self, label: int, shared: None, target: TargetView, prior: Prior, ctx: AttackContext
    ) -> ClassResult:
        """Descend from all starts and order what is found."""
        with target.spending() as spent:
            render, objective = Renderer(prior, target, ctx.size, ctx.deliver), self.objective()
            start_NZ = prior.sample(self.restarts, ctx.rng("class", label, "start"))
            rng, shape = ctx.rng("class", label, "view"), (self.restarts, ctx.channels, ctx.size)
            draws = [objective.draw(self.restarts, ctx.size, rng) for _ in range(self.steps)]

            def latent(z_BZ: Tensor) -> Tensor:
                y_B = torch.full((len(z_BZ),), label, device=z_BZ.device)
                return prior.condition(prior.to_latent(z_BZ), y_B)

            def loss(variables: Sequence[Tensor], rows: slice, step: int) -> Tensor:
                views = [draw.part(rows) for draw in draws[step]]
                x_BCSS = render(latent(variables[0]), clamp=False)
                copies = self.alignment.draw(*shape, ctx.rng("class", label, "align", step))
                perturbed = [copy.part(rows) for copy in copies]
                return averaged(x_BCSS, lambda x: objective(x, label, target, views), perturbed)

            search = GradientSearch(steps=self.steps, optimizer=adam(self.lr), batch=self.batch)
            where = f"class {label}"
            found = search.run([start_NZ], loss, where=where, report=ctx.progress, ledger=target.ledger)
            with torch.no_grad():
                images_NCSS = render.deliver(latent(found.variables[0]), batch=self.batch)
            where = f"class {label}, final selection"
            ranking = by_confidence(
                render.seen(images_NCSS), label, target, keep=self.final, batch=self.batch, where=where
            )
        return ClassResult(label, images_NCSS[ranking.index_M], ranking.scores_M, spent, found.trace)

    def cost(self, num_classes: int) -> Mapping[str, int]:
        """Count images, per class: restarts x (steps x views x copies + 1) passes, restarts x (steps + 1) renders."""
        updates, found = num_classes * self.restarts * self.steps, num_classes * self.restarts
        gradients = updates * self.views * self.alignment.copies
        return {"forward": gradients + found, "backward": gradients, "render": updates + found}

    def objective(self) -> Objective:
        """Return the loss that is descended and the views it is averaged over; override it for another."""
        view = RandomView(
            scale=self.crop_scale, flip=self.flip, rotate=self.rotate, jitter=self.jitter, per_sample=True
        )
        return Objective(loss=identity_loss(self.loss, topk=self.topk), view=view, views=self.views)
