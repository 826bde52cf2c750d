"""Descent by Adam from several starting points of a class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt
from torch import Tensor

from mibench.api import AttackContext, Ledger
from mibench_attacks.search.gradient_search import GradientSearch
from mibench_attacks.search.latent_search import FoundNoise, NoiseLoss
from mibench_attacks.search.optimisers import adam


@dataclass(frozen=True, kw_only=True)
class MultiStartSearch:
    """Each starting point descends on its own.

    Attributes:
        restarts: starting points per class.
        steps: updates of each.
        lr: learning rate of Adam.
    """

    restarts: Annotated[int, Ge(1)] = 5
    steps: Annotated[int, Ge(0)] = 600
    lr: Annotated[float, Gt(0)] = 0.1

    def run(
        self, start_NZ: Tensor, loss: NoiseLoss, label: int, ctx: AttackContext, *, batch: int, ledger: Ledger
    ) -> FoundNoise:
        """Minimise the loss, which spends what is in ``ledger``, ``batch`` noises at once."""

        def evaluate(variables: Sequence[Tensor], rows: slice, step: int) -> Tensor:
            return loss(variables[0], rows, step)

        search = GradientSearch(steps=self.steps, optimizer=adam(self.lr), batch=batch)
        found = search.run([start_NZ], evaluate, where=f"class {label}", report=ctx.progress, ledger=ledger)
        return FoundNoise(found.variables[0], found.trace)
