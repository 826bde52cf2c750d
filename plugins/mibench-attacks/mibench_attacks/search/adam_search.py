"""Descents of candidates by Adam, as parameters: the rate falls at milestones (PPA), or rises and falls (MIRROR)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt

from mibench.api import UsageError
from mibench_attacks.search.gradient_search import GradientSearch
from mibench_attacks.search.optimisers import adam, at_milestones, ramped


@dataclass(frozen=True, kw_only=True)
class AdamSearch:
    """Adam on each candidate by itself, with a learning rate that falls at milestones.

    Attributes:
        steps: updates of each candidate.
        lr: learning rate of Adam.
        betas: Adam's averages of gradient and squared gradient, each in [0, 1).
        milestones: steps after which the learning rate is multiplied by gamma; empty for a constant rate.
        gamma: factor at each milestone.

    Raises:
        UsageError: for impossible betas.
    """

    steps: Annotated[int, Ge(0)] = 50
    lr: Annotated[float, Gt(0)] = 0.005
    betas: tuple[float, float] = (0.9, 0.999)
    milestones: tuple[int, ...] = ()
    gamma: Annotated[float, Gt(0)] = 0.1

    def __post_init__(self) -> None:
        if not all(0 <= beta < 1 for beta in self.betas):
            raise UsageError(f"expected betas in [0, 1), got {self.betas}")

    def descent(self, *, batch: int) -> GradientSearch:
        """Return the search, ``batch`` candidates at once."""
        return GradientSearch(
            steps=self.steps,
            optimizer=adam(self.lr, self.betas),
            schedule=at_milestones(self.milestones, self.gamma),
            batch=batch,
        )


@dataclass(frozen=True, kw_only=True)
class RampedSearch:
    """Adam on each candidate by itself; its rate rises over the first 5 % of the steps and falls over the last 25 %.

    Attributes:
        steps: updates of each candidate.
        lr: highest learning rate of Adam.
    """

    steps: Annotated[int, Ge(0)] = 1000
    lr: Annotated[float, Gt(0)] = 0.1

    def descent(self, *, batch: int, keep: Literal["last", "best"] = "last") -> GradientSearch:
        """Return the search, ``batch`` candidates at once; ``keep`` says which point of each is its end."""
        return GradientSearch(steps=self.steps, optimizer=adam(self.lr), schedule=ramped(), keep=keep, batch=batch)
