"""Choosing the best candidates, by the target's own opinion and never by an evaluator's.

Shapes: N candidates, M of them chosen, C channels, S = side in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from mibench.api import ClassFailed, TargetView
from mibench_attacks.images.batching import AutoBatchSize, batches, in_batches
from mibench_attacks.views.transforms import Draw, RandomView

STRONG_VIEW = RandomView(scale=(0.5, 0.9), ratio=(0.8, 1.2), flip=0.5)
"""The views of PPA's final selection, much stronger than those of its optimisation."""


class Ranking(NamedTuple):
    """The chosen candidates, best first.

    Attributes:
        index_M: int64 positions of the chosen among the candidates, without repetition.
        scores_M: their scores, finite.
    """

    index_M: Tensor
    scores_M: Tensor


def best(scores_N: Tensor, keep: int, *, where: str) -> Ranking:
    """Return the ``keep`` highest finite scores, best first; among equals the earlier one wins.

    Args:
        scores_N: score of each candidate; candidates whose score is not finite are never chosen.
        keep: how many.
        where: how the error names the place, e.g. ``"class 7, final selection"``.

    Raises:
        ClassFailed: if fewer than ``keep`` scores are finite; the core marks the class as failed.
    """
    usable_N = torch.isfinite(scores_N)
    if int(usable_N.sum()) < keep:
        raise ClassFailed(
            f"{where}: expected {keep} candidates with a finite target confidence, got {int(usable_N.sum())} of"
            f" {len(scores_N)}. The target returns NaN or infinite logits for them; check the settings of the attack (a"
            " learning rate that is too large, say) and the defense's training."
        )
    ranked = torch.where(usable_N, scores_N, -torch.inf).sort(descending=True, stable=True)
    return Ranking(ranked.indices[:keep], ranked.values[:keep])


@dataclass(frozen=True, kw_only=True)
class RobustRank:
    """Keep candidates whose target confidence survives random views (PPA, Struppek et al., section 3: final selection).

    Attributes:
        keep: how many candidates stay.
        draws: over how many views the confidence is averaged.
        view: strong views, by default those of the paper.
        batch: images sent through the target at once.
    """

    keep: int = 50
    draws: int = 100
    view: RandomView = STRONG_VIEW
    batch: int = 50

    def rank(self, x_NCSS: Tensor, label: int, target: TargetView, rng: torch.Generator) -> Ranking:
        """Rank images in [0, 1] by their mean softmax confidence for ``label``; ``draws`` forward passes per image.

        Raises:
            ClassFailed: if fewer than ``keep`` images have a finite confidence.
        """
        confidence_N, fit = torch.zeros(len(x_NCSS), device=x_NCSS.device), AutoBatchSize(self.batch, target.ledger)
        with torch.no_grad():
            for _ in range(self.draws):
                draw = self.view.draw(len(x_NCSS), x_NCSS.shape[-1], rng)
                logits_NK = fit(partial(_logits_under, draw, x_NCSS, target))
                confidence_N += logits_NK.float().softmax(1)[:, label]
        return best(confidence_N / self.draws, self.keep, where=f"class {label}, final selection")


def _logits_under(draw: Draw, x_NCSS: Tensor, target: TargetView, batch: int) -> Tensor:
    slices = batches(len(x_NCSS), batch)
    return torch.cat([target.logits(draw.part(rows).apply(x_NCSS[rows])) for rows in slices])


def by_confidence(x_NCSS: Tensor, label: int, target: TargetView, *, keep: int, batch: int, where: str) -> Ranking:
    """Rank images by the target's softmax confidence for ``label``, as they are; one forward pass per image.

    Ranked by the log-odds in double precision, because after an attack most confidences are 1 in float32; scores are
    confidences.

    Raises:
        ClassFailed: if fewer than ``keep`` images have a finite confidence.
    """
    with torch.no_grad():
        logits_NK = in_batches(len(x_NCSS), batch, lambda rows: target.logits(x_NCSS[rows]).double(), target.ledger)
    rivals_NK = logits_NK.clone()
    rivals_NK[:, label] = -torch.inf
    ranking = best(logits_NK[:, label] - rivals_NK.logsumexp(1), keep, where=where)
    return Ranking(ranking.index_M, ranking.scores_M.sigmoid().float())
