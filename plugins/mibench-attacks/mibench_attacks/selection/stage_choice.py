"""Which stage of IF-GMI is delivered for a class.

Shapes: N candidates, C channels, S = protocol's side.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mibench.api import AttackContext, ClassFailed, TargetView, resize
from mibench_attacks.images.batching import batches
from mibench_attacks.selection.robust import RobustSelection
from mibench_attacks.selection.robust_rank import Ranking

Shown = dict[int, Tensor]
"""By stage, the images (N, C, S, S) of all candidates after its last update."""


@dataclass(frozen=True, kw_only=True)
class StageChoice:
    """Chooses the stage whose candidates are most robust, or the most accurate one by an evaluator.

    Attributes:
        selection: ranks the candidates of a stage.
        by_evaluator: let ``ctx.evaluator`` choose, which must be there then.
        batch: images processed at once.
    """

    selection: RobustSelection
    by_evaluator: bool
    batch: int

    def choose(self, shown: Shown, label: int, target: TargetView, ctx: AttackContext) -> tuple[int, Ranking]:
        """Return a stage, the earliest among equals, and the ranking of its candidates; all stages see equal views.

        Raises:
            ClassFailed: if no stage has enough candidates with a finite confidence.
        """
        if self.by_evaluator:
            accuracy = {stage: self._accuracy(x_NCSS, label, ctx) for stage, x_NCSS in shown.items()}
            stage = max(accuracy, key=lambda stage: accuracy[stage])
            shown = {stage: shown[stage]}
        rankings: dict[int, Ranking] = {}
        failed: list[ClassFailed] = []
        for stage, x_NCSS in shown.items():
            try:
                seen_NCSS, rng = resize(x_NCSS, ctx.size), ctx.rng("class", label, "select")
                rankings[stage] = self.selection.rank(seen_NCSS, label, target, rng, batch=self.batch)
            except ClassFailed as reason:
                failed.append(reason)  # another stage may have enough finite candidates
        if not rankings:
            raise failed[0]
        stage = max(rankings, key=lambda stage: rankings[stage].scores_M.mean().item())
        return stage, rankings[stage]

    def _accuracy(self, x_NCSS: Tensor, label: int, ctx: AttackContext) -> float:
        assert ctx.evaluator is not None  # noqa: S101 - the attack checks it before it begins
        with torch.no_grad():
            right = [ctx.evaluator(x_NCSS[rows]).argmax(1) == label for rows in batches(len(x_NCSS), self.batch)]
        return torch.cat(right).float().mean().item()
