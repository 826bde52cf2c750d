"""The final selection of PPA: candidates that the target recognises under random views.

Shapes: N candidates, M of them chosen, C channels, S = protocol's side, D = side of what is delivered, L style layers,
W size of a style vector.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor

from mibench.api import FlatNames, OmitIfDefault, TargetView
from mibench_attacks.images.rendering import Renderer
from mibench_attacks.selection.robust_rank import Ranking, RobustRank
from mibench_attacks.views.transforms import RandomView

FLAT = FlatNames(scale="select_scale", ratio="select_ratio", flip="select_flip", clamp="clamp_selection")
"""Flat names of its parameters."""


@dataclass(frozen=True, kw_only=True)
class RobustSelection:
    """Keep the candidates of which the target is most confident under random views (PPA, Struppek et al., section 3).

    Attributes:
        final: images delivered per class, the most robust candidates.
        draws: random views over which the target's confidence is averaged.
        scale: smallest and largest area share of the crops of these views.
        ratio: smallest and largest width / height of these crops.
        flip: probability of mirroring in these views.
        clamp: let the selection see the images as delivered; false shows it pixels outside of [0, 1] too, as the
            released code of PPA does. Orders are equal where no pixel is outside.

    Raises:
        UsageError: for impossible crops.
    """

    final: Annotated[int, Ge(1)] = 50
    draws: Annotated[int, Ge(1)] = 100
    scale: tuple[float, float] = (0.5, 0.9)
    ratio: tuple[float, float] = (0.8, 1.2)
    flip: Annotated[float, Ge(0), Le(1)] = 0.5
    clamp: Annotated[bool, OmitIfDefault()] = True

    def __post_init__(self) -> None:
        _ = self.view  # impossible crops are refused here, not after hours of work

    @property
    def view(self) -> RandomView:
        """The random views, much stronger than those of the optimisation."""
        return RandomView(scale=self.scale, ratio=self.ratio, flip=self.flip)

    def choose(
        self, latents_NLW: Tensor, label: int, render: Renderer, rng: torch.Generator, *, batch: int
    ) -> tuple[Tensor, Ranking]:
        """Render candidates and rank them; return all as they would be delivered (N, C, D, D), and the ranking.

        Raises:
            ClassFailed: if fewer than ``final`` images have a finite confidence.
        """
        images_NCDD, seen_NCSS = self.images(latents_NLW, render, batch=batch)
        return images_NCDD, self.rank(seen_NCSS, label, render.target, rng, batch=batch)

    def images(self, latents_NLW: Tensor, render: Renderer, *, batch: int) -> tuple[Tensor, Tensor]:
        """Render candidates; return what would be delivered (N, C, D, D), and what is ranked (N, C, S, S)."""
        if not self.clamp:
            return render.deliver_both(latents_NLW, batch=batch)
        images_NCDD = render.deliver(latents_NLW, batch=batch)
        return images_NCDD, render.seen(images_NCDD)

    def rank(self, x_NCSS: Tensor, label: int, target: TargetView, rng: torch.Generator, *, batch: int) -> Ranking:
        """Rank images by their mean confidence as ``label``, ``batch`` at once; ``draws`` forward passes per image.

        Raises:
            ClassFailed: if fewer than ``final`` images have a finite confidence.
        """
        rank = RobustRank(keep=self.final, draws=self.draws, view=self.view, batch=batch)
        return rank.rank(x_NCSS, label, target, rng)
