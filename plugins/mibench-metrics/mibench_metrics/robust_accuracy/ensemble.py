"""The four attacks of AutoAttack, each as a function from a batch to perturbed images or radii.

The attack classes are the authors'. Their single runs are called one by one instead of ``perturb``, so that FAB-T's
norms survive over all targets, and so that random starts belong to images (see ``draws``). Whatever an attack
returns is checked again: in [0, 1], in the ball, and misclassified.

Shapes: B images of a batch, C channels, H = W pixels, K classes. Every eps is an L-infinity radius in [0, 1] units.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from mibench_metrics.robust_accuracy.budget import AttackBudget
from mibench_metrics.robust_accuracy.draws import SquareDraws, digests, starts_in_ball
from mibench_metrics.robust_accuracy.metered import MeteredModel
from mibench_metrics.robust_accuracy.package import AttackPackage

_ROUNDING = 1.2e-7
"""Two units in the last place of a float32 near 1: what ``x + eps`` may be off by."""


class Attempt(NamedTuple):
    """What one attack made of a batch.

    Attributes:
        broken_B: which images it broke.
        x_adv: its images (B, C, H, W); meaningful where it broke one.
    """

    broken_B: Tensor
    x_adv: Tensor


@dataclass(frozen=True)
class Ensemble:
    """The attacks on one model.

    Attributes:
        model: the model under attack, frozen and in evaluation mode.
        package: the authors' classes.
        budget: fitted to the number of classes.
        seed: of all random starts.
        device: where to compute.
    """

    model: MeteredModel
    package: AttackPackage
    budget: AttackBudget
    seed: int
    device: torch.device

    def apgd_ce(self, x_BCHW: Tensor, y_B: Tensor, eps: float) -> Attempt:
        """Run APGD on the cross-entropy, one restart."""
        run = self.package.apgd(
            self.model, n_iter=self.budget.apgd_ce_iterations, loss="ce", **self._common(eps), logger=self.package.quiet
        )
        return self._apgd(run, x_BCHW, y_B, eps, "apgd-ce")

    def apgd_t(self, x_BCHW: Tensor, y_B: Tensor, eps: float) -> Attempt:
        """Run APGD on the targeted DLR loss for each of the likeliest wrong classes, until an image is broken."""
        run = self.package.apgd_targeted(
            self.model, n_iter=self.budget.apgd_t_iterations, **self._common(eps), logger=self.package.quiet
        )
        with torch.no_grad():
            order_BK = self.model(x_BCHW).sort(dim=1)[1]
        broken_B, x_adv = torch.zeros_like(y_B, dtype=torch.bool), x_BCHW.clone()
        for rank in range(2, self.budget.apgd_t_targets + 2):
            left = (~broken_B).nonzero().flatten()
            if len(left) == 0:
                break
            run.y_target = order_BK[left, -rank]
            broken_B[left], x_adv[left] = self._apgd(run, x_BCHW[left], y_B[left], eps, f"apgd-t-{rank}")
        return Attempt(broken_B, x_adv)

    def fab_radii(self, x_BCHW: Tensor, y_B: Tensor) -> Tensor:
        """Run FAB-T and return the smallest L-infinity norm that changed each image's class, over all targets (B,).

        Infinite where it found nothing. FAB-T without random restarts does not know eps, so this one pass serves every
        eps of a sweep.
        """
        radii_B = torch.full(y_B.shape, torch.inf, device=x_BCHW.device)
        for norm_B, _ in self.fab_runs(x_BCHW, y_B):
            radii_B = torch.minimum(radii_B, norm_B)
        return radii_B

    def fab_runs(self, x_BCHW: Tensor, y_B: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Run FAB-T towards one class after the other; yield L-infinity norms (B,) and images (B, C, H, W).

        The norm is infinite where the run found nothing.
        """
        run = self.package.fab(self.model, n_iter=self.budget.fab_iterations, targeted=True, **self._common(1.0))
        for rank in range(2, self.budget.fab_targets + 2):
            run.target_class = rank
            x_adv = run.attack_single_run(x_BCHW, y_B, use_rand_start=False, is_targeted=True)
            norm_B = (x_adv - x_BCHW).abs().flatten(1).amax(1)
            yield norm_B.masked_fill(~self._broken(x_BCHW, x_adv, y_B, eps=1.0), torch.inf), x_adv

    def square(self, x_BCHW: Tensor, y_B: Tensor, eps: float) -> Attempt:
        """Run the Square attack, one restart, which reads scores only."""
        run = self.package.square(
            self.model, n_queries=self.budget.square_queries, p_init=0.8, resc_schedule=False, **self._common(eps)
        )
        draws = SquareDraws(digests(x_BCHW), self.seed, self.device)
        run.random_choice, run.random_int = draws.choice, draws.integer
        run.init_hyperparam(x_BCHW)
        _, x_adv = run.attack_single_run(x_BCHW, y_B)
        return Attempt(self._broken(x_BCHW, x_adv, y_B, eps), x_adv)

    def _apgd(self, run: object, x_BCHW: Tensor, y_B: Tensor, eps: float, purpose: str) -> Attempt:
        run.init_hyperparam(x_BCHW)  # type: ignore[attr-defined]
        start = starts_in_ball(x_BCHW, digests(x_BCHW), eps, self.seed, purpose)
        with torch.no_grad():  # the package switches gradients on where it needs them
            *_, x_adv = run.attack_single_run(x_BCHW, y_B, x_init=start)  # type: ignore[attr-defined]
        return Attempt(self._broken(x_BCHW, x_adv, y_B, eps), x_adv)

    def _broken(self, x_BCHW: Tensor, x_adv: Tensor, y_B: Tensor, eps: float) -> Tensor:
        with torch.no_grad():
            wrong_B = self.model(x_adv).argmax(1) != y_B
        delta_BD, pixels_BD = (x_adv - x_BCHW).abs().flatten(1), x_adv.flatten(1)
        valid_B = (delta_BD.amax(1) <= eps + _ROUNDING) & (pixels_BD.amin(1) >= 0) & (pixels_BD.amax(1) <= 1)
        return wrong_B & valid_B

    def _common(self, eps: float) -> dict[str, object]:
        return {"norm": "Linf", "n_restarts": 1, "eps": eps, "seed": 0, "verbose": False, "device": self.device}
