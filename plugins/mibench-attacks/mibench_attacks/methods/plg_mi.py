"""Pseudo Label-Guided Model Inversion (PLG-MI), Yuan et al., AAAI 2023: search the noise of a class-conditional GAN.

Shapes: N starts, B of a batch, Z size of the noise, C channels, S = protocol's side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor

from mibench.api import Access, AttackContext, ClassResult, FlatNames, Prior, TargetView, UsageError
from mibench_attacks.images.rendering import Renderer
from mibench_attacks.losses.augmented import AugmentedIdentity
from mibench_attacks.search.gradient_attack import GradientAttack
from mibench_attacks.search.multi_start import MultiStartSearch
from mibench_attacks.selection.confidence import MostConfident
from mibench_attacks.views.alignment import averaged


@dataclass(frozen=True, kw_only=True)
class PseudoLabelGuided(GradientAttack):
    """Descend ``mean over two random views A of max_margin(T(A G(z, y)), y)`` in z by Adam, from z ~ N(0, I).

    The generator was trained on public images that the target labelled, under the target's guidance: give it as prior.
    Deliberate differences from the released code: the mean over the views stands for their sum, which for Adam is the
    same; every start is a candidate of one search, and the target's confidence chooses and orders what is delivered
    (with the paper's numbers all five are).

    Attributes:
        prior: prior to attack with, as 'name' or 'name/preset'; it must be conditioned on the target's classes.
        search: descent of several points of noise.
        objective: the loss and its views.
        selection: what is delivered.
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
    search: Annotated[MultiStartSearch, FlatNames()] = MultiStartSearch()
    objective: Annotated[AugmentedIdentity, FlatNames()] = AugmentedIdentity()
    selection: Annotated[MostConfident, FlatNames()] = MostConfident()
    batch: Annotated[int, Ge(1)] = 25

    def __post_init__(self) -> None:
        self.selection.check(self.search.restarts, attack="plg-mi", name="restarts")

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
            render, objective = Renderer(prior, target, ctx.size, ctx.deliver), self.objective.objective()
            n, steps, rng = self.search.restarts, self.search.steps, ctx.rng("class", label, "view")
            draws = [objective.draw(n, ctx.size, rng) for _ in range(steps)]

            def latent(z_BZ: Tensor) -> Tensor:
                y_B = torch.full((len(z_BZ),), label, device=z_BZ.device)
                return prior.condition(prior.to_latent(z_BZ), y_B)

            def loss(z_BZ: Tensor, rows: slice, step: int) -> Tensor:
                views = [draw.part(rows) for draw in draws[step]]
                x_BCSS = render(latent(z_BZ), clamp=False)
                copies = self.alignment.draw(n, ctx.channels, ctx.size, ctx.rng("class", label, "align", step))
                perturbed = [copy.part(rows) for copy in copies]
                return averaged(x_BCSS, lambda x: objective(x, label, target, views), perturbed)

            start_NZ = prior.sample(n, ctx.rng("class", label, "start"))
            found = self.search.run(start_NZ, loss, label, ctx, batch=self.batch, ledger=target.ledger)
            with torch.no_grad():
                images_NCDD = render.deliver(latent(found.z_NZ), batch=self.batch)
            chosen = self.selection.choose(images_NCDD, render.seen(images_NCDD), label, target, batch=self.batch)
        return ClassResult(label, *chosen, spent, found.trace)

    def cost(self, num_classes: int) -> Mapping[str, int]:
        """Count images, per class: restarts x (steps x views x copies + 1) passes, restarts x (steps + 1) renders."""
        updates, found = num_classes * self.search.restarts * self.search.steps, num_classes * self.search.restarts
        gradients = updates * self.objective.views * self.alignment.copies
        return {"forward": gradients + found, "backward": gradients, "render": updates + found}
