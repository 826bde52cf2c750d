"""Floor control without a prior and without optimisation: the public photographs that the target mistakes for a class.

Shapes: N public images, M delivered images, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NamedTuple

import torch
from annotated_types import Ge
from torch import Tensor

from mibench.api import Access, Attack, AttackContext, ClassResult, ImageSet, Prior, TargetView, UsageError
from mibench_attacks.images.batching import batches
from mibench_attacks.selection.robust_rank import best


class Scored(NamedTuple):
    """Public images with the target's softmax confidence in them, (N, K)."""

    images: ImageSet
    scores_NK: Tensor


@dataclass(frozen=True, kw_only=True)
class PublicNearest(Attack):
    """Deliver for each class the public images that the target likes best as that class; they show other people.

    What this leaks is resemblance between people: an attack that leaks no more may have found no more.

    Attributes:
        public_images: public images that are scored, chosen at random if there are more; all if there are fewer.
        final: images delivered per class.
        batch: images sent through the target at once; does not change results.

    Raises:
        UsageError: unless final <= public_images.
    """

    access: ClassVar[Access] = Access.SCORES
    needs_public: ClassVar[bool] = True
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {},
        "small": {"public_images": 500, "final": 6},
    }

    public_images: Annotated[int, Ge(1)] = 2000
    final: Annotated[int, Ge(1)] = 50
    batch: Annotated[int, Ge(1)] = 50

    def __post_init__(self) -> None:
        if self.final > self.public_images:
            counts = f"{self.final} > {self.public_images}"
            raise UsageError(f"attack 'public-nearest': expected final <= public_images, got {counts}")

    def prepare(self, target: TargetView, prior: Prior, ctx: AttackContext) -> Scored:
        """Choose the public images and score them once for all classes.

        Raises:
            UsageError: if there are fewer than are to be delivered.
        """
        public = ctx.public
        if public is None or len(public) < self.final:
            found = 0 if public is None else len(public)
            raise UsageError(f"attack 'public-nearest': {found} public images, fewer than attack.final={self.final}")
        index_N = torch.randperm(len(public), generator=ctx.rng("public"))[: self.public_images].sort().values
        chosen = public.subset(index_N)
        with torch.no_grad():
            rows = (torch.arange(part.start, part.stop) for part in batches(len(chosen), self.batch))
            scores = [target.logits(chosen.images(row).to(ctx.device)).float().softmax(1) for row in rows]
        return Scored(chosen, torch.cat(scores))

    def reconstruct(
        self, label: int, shared: Scored, target: TargetView, prior: Prior, ctx: AttackContext
    ) -> ClassResult:
        """Deliver the best; scores are the target's confidence."""
        with target.spending() as spent:
            ranking = best(shared.scores_NK[:, label], self.final, where=f"class {label}, public images")
            images_MCSS = shared.images.images(ranking.index_M.cpu()).to(ctx.device)
        return ClassResult(label, images_MCSS, ranking.scores_M, spent)

    def cost(self, num_classes: int) -> Mapping[str, int]:
        """Count images: one pass for each public image that is used; fewer if there are not ``public_images``."""
        return {"forward": self.public_images, "backward": 0, "render": 0}
