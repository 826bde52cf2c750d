"""Covariance matrix adaptation (CMA-ES) from several starting points side by side, by the library ``cmaes``.

Source: Hansen, "The CMA Evolution Strategy: A Tutorial", 2016; with a diagonal covariance, Ros and Hansen, "A Simple
Modification in CMA-ES Achieving Linear Time and Space Complexity", PPSN 2008.
Shapes: R restarts, P points of a population, N = R * P points of a generation, D coordinates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Protocol

import cmaes
import numpy as np
import torch
from annotated_types import Ge, Gt
from numpy.typing import NDArray
from torch import Tensor

from mibench_attacks.search.best_points import BestPoints
from mibench_attacks.search.gradient_search import Report

Evaluate = Callable[[Tensor, int], Tensor]
"""``evaluate(points_ND, generation)`` returns the losses (N,), float64 on the CPU."""
Points = NDArray[np.float64]

_WORST = 1e30  # a loss that is not finite: strategies compare losses, and subtract them


class Strategy(Protocol):
    """What the library's strategies offer."""

    def ask(self) -> Points:
        """Draw a point (D,)."""

    def tell(self, solutions: list[tuple[Points, float]]) -> None:
        """Learn from a population."""

    def should_stop(self) -> bool:
        """Whether it has come to rest."""


@dataclass(frozen=True, kw_only=True)
class EvolutionSearch:
    """An evolution strategy from each starting point; the populations of all are evaluated together.

    A strategy draws a population from a Gaussian, and moves its mean, length of step and covariance towards the better
    half. Only the order of losses matters. Points outside the box are moved to its border, and learnt from there. A
    strategy that has come to rest begins again at its best point, so the number of queries is always the same.

    Attributes:
        generations: populations of each restart.
        population: points of a population.
        sigma: standard deviation of the first population.
        covariance: what is learnt: the 'diagonal' (time linear in the coordinates), or 'full' (cubic, and slow to
            learn: for few coordinates and many generations; its last digits change with the number of threads).
        keep: best points of each restart that the final selection chooses among.
    """

    generations: Annotated[int, Ge(0)] = 100
    population: Annotated[int, Ge(4)] = 20
    sigma: Annotated[float, Gt(0)] = 0.5
    covariance: Literal["diagonal", "full"] = "diagonal"
    keep: Annotated[int, Ge(1)] = 5

    def queries(self, restarts: int) -> int:
        """Return how many points are evaluated: the starting points, and all populations."""
        return restarts * (1 + self.generations * self.population)

    def run(
        self, start_RD: Tensor, evaluate: Evaluate, *, seeds: Sequence[int], bound: float, report: Report
    ) -> tuple[BestPoints, dict[str, list[float]]]:
        """Minimise within ``[-bound, bound]``.

        Args:
            start_RD: first means, moved into the box; evaluated too, so that nothing worse is found.
            evaluate: the loss.
            seeds: one of each restart, in [0, 2^32).
            bound: of each coordinate.
            report: progress callback.

        Returns:
            The best points of each restart, and per generation the mean over restarts of the lowest ``loss`` so far,
            and the ``spread`` of the points around their population's mean (standard deviation of a coordinate).
        """
        start_RD = start_RD.double().cpu().clamp(-bound, bound)
        best = BestPoints(self.keep, start_RD[:, None], evaluate(start_RD, 0)[:, None])
        strategies = [self._strategy(start, seed) for start, seed in zip(start_RD, seeds, strict=True)]
        trace: dict[str, list[float]] = {"loss": [], "spread": []}
        for generation in range(self.generations):
            points_RPD = torch.from_numpy(np.stack([self._population(one) for one in strategies])).clamp(-bound, bound)
            loss_RP = evaluate(points_RPD.flatten(0, 1), generation).view(points_RPD.shape[:2])
            best.note(points_RPD, loss_RP)
            for r, strategy in enumerate(strategies):
                _tell(strategy, points_RPD[r], loss_RP[r])
                if strategy.should_stop():
                    strategies[r] = self._strategy(best.points_RkD[r, 0], (seeds[r] + generation + 1) % 2**32)
            trace["loss"].append(best.mean_best())
            trace["spread"].append(float(points_RPD.std(1, correction=0).square().mean().sqrt()))
            report(generation + 1, self.generations, "generations", {"loss": trace["loss"][-1]})
        return best, trace

    def _strategy(self, mean_D: Tensor, seed: int) -> Strategy:
        kind = cmaes.SepCMA if self.covariance == "diagonal" else cmaes.CMA
        mean = mean_D.numpy().copy()  # the strategy moves it in place
        strategy: Strategy = kind(mean=mean, sigma=self.sigma, seed=seed, population_size=self.population)
        return strategy

    def _population(self, strategy: Strategy) -> Points:
        return np.stack([strategy.ask() for _ in range(self.population)])


def _tell(strategy: Strategy, points_PD: Tensor, loss_P: Tensor) -> None:
    losses = torch.where(loss_P.isfinite(), loss_P, _WORST).tolist()
    strategy.tell(list(zip(points_PD.numpy(), losses, strict=True)))
