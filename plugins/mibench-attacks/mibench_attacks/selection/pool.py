"""The pool of latents that all classes choose their starting points from.

Shapes: N latents of the pool, M chosen, L style layers, W size of a style vector, K classes, C channels, S = side.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
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
        size: how many latents are drawn.
        truncation: pull towards the mean latent; 1 is none, 0 is the mean.
        cutoff: number of first layers that are truncated; ``None`` truncates all. PPA truncates 8 of 18.
        score_with: ``"pool"`` scores the latent as drawn, as the released code does although an attack on a single w
            starts elsewhere; ``"single_w"`` scores the first layer repeated, which is where that attack starts.
        views: views over which the confidence is averaged.
        batch: latents rendered at once.
    """

    size: int = 2000
    truncation: float = 0.5
    cutoff: int | None = 8
    score_with: ScoreWith = "pool"
    views: tuple[View, ...] = (identity, hflip)
    batch: int = 50

    def fill(self, render: Renderer, rng: torch.Generator) -> ScoredPool:
        """Draw the latents and score them: ``size`` renders and ``size * len(views)`` forward passes.

        Args:
            render: of the prior to draw from; its target gives the scores.
            rng: CPU generator of the noise.
        """
        prior, target = render.prior, render.target
        noise_NZ = prior.sample(self.size, rng)

        def draw(rows: slice) -> Tensor:
            return prior.to_latent(noise_NZ[rows], truncation=self.truncation, cutoff=self.cutoff).cpu()

        def score(rows: slice) -> Tensor:
            latent_BLW = latents_NLW[rows].to(noise_NZ.device)
            x_BCSS = render(latent_BLW[:, :1] if self.score_with == "single_w" else latent_BLW, clamp=True)
            return torch.stack([target.logits(view(x_BCSS)).float().softmax(1) for view in self.views]).mean(0)

        with torch.no_grad():
            latents_NLW = in_batches(self.size, self.batch, draw)
            return ScoredPool(latents_NLW, in_batches(self.size, self.batch, score, target.ledger))
