"""What GMI, KED-MI and LOMMA share: search noise under an identity loss and a discriminator's loss, then choose.

Shapes: B images of a batch, C channels, S = protocol's side, Z size of the noise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import torch
from annotated_types import Ge
from torch import Tensor, nn
from torch.nn.functional import softplus

from mibench.api import AttackContext, ClassResult, Prior, TargetView, UsageError
from mibench_attacks.images.rendering import Renderer
from mibench_attacks.losses.objectives import IdentityLoss, LossName, identity_loss
from mibench_attacks.search.latent_search import LatentSearch
from mibench_attacks.selection.confidence import MostConfident
from mibench_attacks.views.alignment import Alignment, averaged

Realism = Literal["critic", "logit"]
"""How a discriminator's output D is a loss: ``-D`` of a Wasserstein critic (GMI), ``softplus(-D)`` of a logit (KED)."""

REALISM: dict[Realism, Callable[[Tensor], Tensor]] = {
    "critic": lambda d_B: -d_B.float(),
    "logit": lambda d_B: softplus(-d_B.float()),
}

PerImageLoss = Callable[[Tensor], Tensor]
"""Maps images (B, C, S, S) to a loss per image (B,), each independent of the others."""


def discriminator_of(prior: Prior, attack: str, *, remedy: str) -> nn.Module:
    """Return the prior's discriminator.

    Raises:
        UsageError: if it has none.
    """
    discriminator = prior.discriminator
    if discriminator is None:
        raise UsageError(
            f"attack {attack!r} needs a prior with a discriminator, and {type(prior).__name__} has none."
            f" Set {attack}.{remedy}."
        )
    return discriminator


def of_class(loss: IdentityLoss, label: int, target: TargetView) -> PerImageLoss:
    """Return a loss of images: the target's logits under an identity loss of one class."""
    return lambda x_BCSS: loss(target.logits(x_BCSS), torch.full((len(x_BCSS),), label, device=x_BCSS.device))


class GanLoss(NamedTuple):
    """A loss in two terms that are added.

    Attributes:
        identity: of framed images, as the target sees them.
        realism: of whole images, as the discriminator was trained on them.
    """

    identity: PerImageLoss
    realism: PerImageLoss


def gan_loss(identity: PerImageLoss, discriminator: nn.Module, realism: Realism, *, id_weight: float) -> GanLoss:
    """Return ``id_weight * identity(x)`` and the prior term of ``D(x)``."""
    return GanLoss(lambda x: id_weight * identity(x), lambda whole: REALISM[realism](discriminator(whole)))


@dataclass(frozen=True, kw_only=True)
class GanObjective:
    """``id_weight * identity(T(x), y)`` and the discriminator's loss of the same image.

    Attributes:
        id_weight: weight of the identity loss beside the discriminator's term.
        loss: identity loss; ce is the paper's, the others are adaptive variants.
        realism: the discriminator's term, 'critic' is -D, 'logit' is softplus(-D).
    """

    id_weight: Annotated[float, Ge(0)] = 100.0
    loss: LossName = "ce"
    realism: Realism = "critic"

    def of_class(self, label: int, target: TargetView, discriminator: nn.Module) -> GanLoss:
        """Return the loss of images as one class."""
        identity = of_class(identity_loss(self.loss), label, target)
        return gan_loss(identity, discriminator, self.realism, id_weight=self.id_weight)


@dataclass(frozen=True, kw_only=True)
class GanInversion:
    """An attack on one class: search noise, render what was found, keep what the target is most confident of.

    Attributes:
        search: over noise.
        alignment: of the gradients of images.
        selection: of the images that are delivered.
        batch: images processed at once.
    """

    search: LatentSearch
    alignment: Alignment
    selection: MostConfident
    batch: int

    def run(self, label: int, loss: GanLoss, target: TargetView, prior: Prior, ctx: AttackContext) -> ClassResult:
        """Minimise the loss of rendered images; scores are the target's confidence in the images as delivered."""
        with target.spending() as spent:
            render = Renderer(prior, target, ctx.size, ctx.deliver)
            shape = (self.search.per_step, ctx.channels, ctx.size)

            def of_noise(z_BZ: Tensor, rows: slice, step: int) -> Tensor:
                whole_BCHW = render.whole(prior.to_latent(z_BZ))
                copies = self.alignment.draw(*shape, ctx.rng("class", label, "align", step))
                perturbed = [copy.part(rows) for copy in copies]
                return averaged(render.crop_and_resize(whole_BCHW), loss.identity, perturbed) + loss.realism(whole_BCHW)

            find, ledger = self.search.find, target.ledger
            found = find(label, prior.noise_size, of_noise, ctx, batch=self.batch, ledger=ledger)
            images_NCDD = render.deliver(prior.to_latent(found.z_NZ), batch=self.batch)
            chosen = self.selection.choose(images_NCDD, render.seen(images_NCDD), label, target, batch=self.batch)
        return ClassResult(label, *chosen, spent, found.trace)

    def cost(self, num_classes: int) -> dict[str, int]:
        """Count images of all classes: in each step those of the search, once more those that it found."""
        updates, found = num_classes * self.search.per_step * self.search.steps, num_classes * self.search.delivered
        gradients = updates * self.alignment.copies
        return {"forward": gradients + found, "backward": gradients, "render": updates + found}
