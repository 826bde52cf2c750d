"""Pseudo-private images: reconstructions of every class that the target recognises under random views.

Shapes: N candidates of a class, M of all that are kept, C channels, S = protocol's side.
Source: Peng et al., "Pseudo-Private Data Guided Model Inversion Attacks", NeurIPS 2024.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor

from mibench.api import (
    Attack,
    AttackContext,
    ClassFailed,
    ImageSet,
    Prior,
    TargetView,
    TensorImages,
    UsageError,
    to_uint8,
)
from mibench_attacks.selection.robust_rank import RobustRank
from mibench_attacks.views.transforms import RandomView

VIEW = RandomView(scale=(0.8, 1.0), flip=0.5, rotate=5.0, jitter=0.2)
"""Views of the ranking."""


@dataclass(frozen=True, kw_only=True)
class PseudoPrivateSelection:
    """How many reconstructions of a class are made, and which become pseudo-private.

    Attributes:
        candidates: images per class that a round before the last makes.
        keep: images per class that become pseudo-private, the best of the candidates.
        draws: random views over which the choice averages the target's confidence.

    Raises:
        UsageError: unless keep <= candidates.
    """

    candidates: Annotated[int, Ge(1)] = 1000
    keep: Annotated[int, Ge(1)] = 500
    draws: Annotated[int, Ge(1)] = 100

    def __post_init__(self) -> None:
        if self.keep > self.candidates:
            raise UsageError(f"attack 'ppdg-vanilla': expected keep <= candidates, got {self.keep} > {self.candidates}")

    def collect(
        self, attack: Attack, target: TargetView, prior: Prior, ctx: AttackContext, *, name: str, batch: int
    ) -> tuple[Tensor, Tensor]:
        """Attack every class and return the best images of all, uint8 (M, C, S, S), and their classes (M,).

        A class for which the attack fails adds nothing.

        Args:
            attack: delivers all candidates.
            target: classifier under attack.
            prior: to attack with.
            ctx: of this round; each class is kept through ``ctx.cached``.
            name: of the round there.
            batch: images ranked at once.
        """
        shared = attack.prepare(target, prior, ctx)
        rank = RobustRank(keep=self.keep, draws=self.draws, view=VIEW, batch=batch)

        def best(label: int) -> dict[str, Tensor]:
            try:
                images_NCSS = attack.reconstruct(label, shared, target, prior, ctx).images_NCHW
                found = rank.rank(images_NCSS, label, target, ctx.rng("class", label, "pseudo-private"))
            except ClassFailed:
                return {"pixels": torch.zeros(0, ctx.channels, ctx.size, ctx.size, dtype=torch.uint8)}
            return {"pixels": to_uint8(images_NCSS[found.index_M])}

        kept = [
            ctx.cached(f"{name} class {label}", partial(best, label))["pixels"].cpu()
            for label in range(target.num_classes)
        ]
        labels = [label for label, pixels in enumerate(kept) for _ in pixels]
        return torch.cat(kept), torch.tensor(labels, dtype=torch.long)


def joined(public: ImageSet | None, pixels_MCSS: Tensor, labels_M: Tensor, classes: int) -> ImageSet:
    """Put public and pseudo-private images together; labels of public identities follow those of the classes.

    Raises:
        UsageError: if there are no public images.
    """
    if public is None:
        raise UsageError("attack 'ppdg-vanilla' needs public images")
    pixels = torch.cat([public.pixels(torch.arange(len(public))), pixels_MCSS])
    labels = torch.cat([public.labels_N + classes, labels_M])
    return TensorImages(pixels, labels, classes + public.num_classes)
