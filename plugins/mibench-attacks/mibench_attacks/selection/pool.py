"""The pool of latents that all classes choose their starting points from.

Shapes: N latents of the pool, M chosen, L style layers, W size of a style vector, K classes, C channels, S = side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import torch
from annotated_types import Ge, Le
from torch import Tensor

from mibench_attacks.images.batching import in_batches
from mibench_attacks.images.rendering import Renderer
from mibench_attacks.selection.robust_rank import best
from mibench_attacks.views.transforms import hflip, identity

ScoreWith = Literal["pool", "single_w"]
View = Callable[[Tensor], Tensor]


class Chosen(NamedTuple):
    """Latents chosen for one class, best first.

    Attributes:
        index_M: their positions in the pool, without repetition.
        latents_MLW: the latents, untouched by the scoring switch.
        scores_M: the target's mean confidence in them.
    """

    index_M: Tensor
    latents_MLW: Tensor
    scores_M: Tensor


@dataclass(frozen=True)
class ScoredPool:
    """A filled pool.

    Attributes:
        latents_NLW: all latents, in main memory: MIRROR's 100 000 with 18 style layers are 3.7 GB.
        scores_NK: mean softmax over views, for each latent and class, where the target is.
    """

    latents_NLW: Tensor
    scores_NK: Tensor

    def select(self, label: int, keep: int) -> Chosen:
        """Return the ``keep`` latents that the target likes best as ``label``; classes may share latents.

        Raises:
            ClassFailed: if fewer latents have a finite score.
        """
        index_M, scores_M = best(self.scores_NK[:, label], keep, where=f"class {label}, candidate pool")
        return Chosen(index_M, self.latents_NLW[index_M.cpu()].to(index_M.device), scores_M)


@dataclass(frozen=True, kw_only=True)
class CandidatePool:
    """Samples of the prior, scored once for all classes (PPA, Struppek et al., section 3: initial latents).

    Attributes:
        size: latents drawn and scored once for all classes.
        candidates: latents taken per class, those that the target likes best.
        truncation: pull of the latents towards the mean; 1 is none, 0 is the mean.
        cutoff: number of first layers that are truncated; None truncates all. PPA truncates 8 of 18.
    """

    size: Annotated[int, Ge(1)] = 2000
    candidates: Annotated[int, Ge(1)] = 200
    truncation: Annotated[float, Ge(0), Le(1)] = 0.5
    cutoff: Annotated[int | None, Ge(0)] = 8

    def fill(
        self, render: Renderer, rng: torch.Generator, *, batch: int, views: Sequence[View] = (identity, hflip)
    ) -> ScoredPool:
        """Draw the latents and score them: ``size`` renders and ``size * len(views)`` forward passes.

        Args:
            render: of the prior to draw from; its target gives the scores.
            rng: CPU generator of the noise.
            batch: latents rendered at once; does not change results.
            views: views over which the confidence is averaged.
        """
        prior, target = render.prior, render.target
        noise_NZ = prior.sample(self.size, rng)

        def draw(rows: slice) -> Tensor:
            return prior.to_latent(noise_NZ[rows], truncation=self.truncation, cutoff=self.cutoff).cpu()

        def score(rows: slice) -> Tensor:
            x_BCSS = render(self.scored(latents_NLW[rows].to(noise_NZ.device)), clamp=True)
            return torch.stack([target.logits(view(x_BCSS)).float().softmax(1) for view in views]).mean(0)

        with torch.no_grad():
            latents_NLW = in_batches(self.size, batch, draw)
            return ScoredPool(latents_NLW, in_batches(self.size, batch, score, target.ledger))

    def scored(self, latents_BLW: Tensor) -> Tensor:
        """Return the latents as they are rendered to be scored."""
        return latents_BLW

    def starts(self, pool: ScoredPool, label: int) -> Tensor:
        """Return the latents from which a class is searched, best first.

        Raises:
            ClassFailed: if fewer than ``candidates`` latents have a finite score.
        """
        return pool.select(label, self.candidates).latents_MLW


@dataclass(frozen=True, kw_only=True)
class StylePool(CandidatePool):
    """A pool for searches of style vectors: one for all layers, or one per layer.

    Attributes:
        single_w: optimise one style vector for all layers, begun at the first layer's; otherwise one per layer.
        score_with: 'pool' scores latents as drawn, as the released code does although an attack on a single w starts
            elsewhere; 'single_w' scores the first layer repeated, which is where that attack starts.
    """

    single_w: bool = True
    score_with: ScoreWith = "pool"

    def scored(self, latents_BLW: Tensor) -> Tensor:
        """Return the latents as drawn, or their first layer for all."""
        return latents_BLW[:, :1] if self.score_with == "single_w" else latents_BLW

    def starts(self, pool: ScoredPool, label: int) -> Tensor:
        """Return the best latents, or the first layer of each."""
        latents_NLW = super().starts(pool, label)
        return latents_NLW[:, :1] if self.single_w else latents_NLW
