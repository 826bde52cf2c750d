"""One sweep over ascending eps that shares its work: what breaks at a smaller eps is broken at every larger one.

Shapes: N images, B of a batch, C channels, H = W pixels, E values of eps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mibench_metrics.robust_accuracy.ensemble import Ensemble
from mibench_metrics.robust_accuracy.victims import EvalImages

Attack = Callable[[Tensor, Tensor], Tensor]
"""(x_BCHW, y_B) to the images it broke (B,)."""
Tick = Callable[[Mapping[str, float]], None]


@dataclass
class SweepResult:
    """What a sweep found.

    Attributes:
        robust_EN: which images are correct and unbroken at each eps; nested by construction.
        radii_N: FAB-T's smallest norm per image, [0, 1] units: 0 for misclassified images, infinite where it found
            nothing; ``None`` if FAB-T did not run.
        broken: for each eps, how many images each attack newly broke, in the order of the cascade.
    """

    robust_EN: Tensor
    radii_N: Tensor | None
    broken: list[dict[str, int]] = field(default_factory=list)


@dataclass(frozen=True)
class Sweep:
    """AutoAttack's cascade at several eps.

    Attributes:
        ensemble: the attacks.
        eps: ascending radii, [0, 1] units.
        assume_monotone: attack at the largest eps first and trust that what survives there survives below. A
            shortcut, not evidence: an attack that fails at a large eps may succeed at a small one.
        tick: called after each attack at each eps with ``eps`` and ``robust``.
    """

    ensemble: Ensemble
    eps: Sequence[float]
    assume_monotone: bool = False
    tick: Tick = lambda _: None

    def run(self, victims: EvalImages, correct_N: Tensor) -> SweepResult:
        """Attack the images that are classified correctly (mask ``correct_N``, on the CPU)."""
        radii_N = self._radii(victims, correct_N) if self.ensemble.budget.uses_fab else None
        spared_N = torch.zeros_like(correct_N)
        if self.assume_monotone:
            spared_N, _ = self._cascade(victims, correct_N, self.eps[-1], radii_N)
        alive_N, robust, broken = correct_N.clone(), [], []
        for eps in self.eps:
            left_N, counts = self._cascade(victims, alive_N & ~spared_N, eps, radii_N)
            alive_N = left_N | (alive_N & spared_N)
            robust.append(alive_N.clone())
            broken.append(counts)
        return SweepResult(torch.stack(robust), radii_N, broken)

    def stages(self) -> int:
        """Return how often ``tick`` is called."""
        per_eps = len(self._attacks(self.eps[0]))
        return int(self.ensemble.budget.uses_fab) + per_eps * (len(self.eps) + int(self.assume_monotone))

    def _cascade(
        self, victims: EvalImages, alive_N: Tensor, eps: float, radii_N: Tensor | None
    ) -> tuple[Tensor, dict[str, int]]:
        alive_N, counts = alive_N.clone(), {}
        for name, attack in self._attacks(eps).items():
            broken_N = torch.zeros_like(alive_N)
            if name == "fab-t" and radii_N is not None:
                broken_N = alive_N & (radii_N <= eps)
            else:
                for index_B, x_BCHW, y_B in victims.batches(alive_N):
                    broken_N[index_B] = attack(x_BCHW, y_B).cpu()
            counts[name] = int(broken_N.sum())
            alive_N &= ~broken_N
            self.tick({"eps": eps, "robust": alive_N.double().mean().item()})
        return alive_N, counts

    def _attacks(self, eps: float) -> dict[str, Attack]:
        attacks, budget, run = dict[str, Attack](), self.ensemble.budget, self.ensemble
        if budget.apgd_ce_iterations:
            attacks["apgd-ce"] = lambda x, y: run.apgd_ce(x, y, eps).broken_B
        if budget.uses_apgd_t:
            attacks["apgd-t"] = lambda x, y: run.apgd_t(x, y, eps).broken_B
        if budget.uses_fab:
            attacks["fab-t"] = lambda x, y: run.fab_radii(x, y) <= eps
        if budget.square_queries:
            attacks["square"] = lambda x, y: run.square(x, y, eps).broken_B
        return attacks

    def _radii(self, victims: EvalImages, correct_N: Tensor) -> Tensor:
        radii_N = torch.zeros(len(correct_N))
        for index_B, x_BCHW, y_B in victims.batches(correct_N):
            radii_N[index_B] = self.ensemble.fab_radii(x_BCHW, y_B).cpu()
        self.tick({"eps": self.eps[-1], "robust": (radii_N > self.eps[-1]).double().mean().item()})
        return radii_N
