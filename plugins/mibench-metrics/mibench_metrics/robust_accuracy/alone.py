"""Each attack on its own: what it breaks of all correctly classified images, and how much it raises the loss.

Nothing is shared between attacks and nothing between eps (but for FAB-T, which does not know eps), so that numbers can
be laid beside those of AutoAttack's ``run_standard_evaluation_individual``. An image that an attack does not break, or
that is misclassified already, counts as itself: its loss does not change.

Shapes: N images, B of a batch, C channels, H = W pixels, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from mibench_metrics.robust_accuracy.ensemble import Attempt, Ensemble
from mibench_metrics.robust_accuracy.victims import EvalImages


@dataclass(frozen=True)
class Alone:
    """What one attack did at one eps.

    Attributes:
        robust_N: images that are correct and that it did not break.
        rise_N: cross-entropy of what it delivers less that of the clean image, float64, in nats.
    """

    robust_N: Tensor
    rise_N: Tensor


def run_alone(
    ensemble: Ensemble, eps: Sequence[float], victims: EvalImages, correct_N: Tensor, tick: Callable[[], None]
) -> list[dict[str, Alone]]:
    """Attack the correctly classified images with one attack after the other; a dictionary by attack for each eps.

    Args:
        ensemble: the attacks.
        eps: radii, [0, 1] units.
        victims: the images.
        correct_N: which are classified correctly, on the CPU.
        tick: called after each batch.
    """
    names, nothing_N = _names(ensemble), torch.zeros(len(correct_N), dtype=torch.float64)
    found = [{name: Alone(correct_N.clone(), nothing_N.clone()) for name in names} for _ in eps]
    for index_B, x_BCHW, y_B in victims.batches(correct_N):
        clean_B = _losses(ensemble, x_BCHW, y_B)
        for place, name, attempt in _attempts(ensemble, eps, x_BCHW, y_B):
            rise_B = (_losses(ensemble, attempt.x_adv, y_B) - clean_B).masked_fill(~attempt.broken_B, 0.0)
            found[place][name].robust_N[index_B] = ~attempt.broken_B.cpu()
            found[place][name].rise_N[index_B] = rise_B.cpu()
        tick()
    return found


def together(alone: Mapping[str, Alone]) -> Tensor:
    """Return the rise of the loss (N,) if each image is delivered by the first attack, in this order, that broke it."""
    attacks = list(alone.values())
    rise_N, left_N = torch.zeros_like(attacks[0].rise_N), torch.ones_like(attacks[0].robust_N)
    for attack in attacks:
        rise_N = torch.where(left_N, attack.rise_N, rise_N)
        left_N = left_N & attack.robust_N
    return rise_N


def _names(run: Ensemble) -> list[str]:
    budget = run.budget
    used = {
        "apgd-ce": budget.apgd_ce_iterations > 0,
        "apgd-t": budget.uses_apgd_t,
        "fab-t": budget.uses_fab,
        "square": budget.square_queries > 0,
    }
    return [name for name, runs in used.items() if runs]


def _attempts(run: Ensemble, eps: Sequence[float], x_BCHW: Tensor, y_B: Tensor) -> Iterator[tuple[int, str, Attempt]]:
    budget = run.budget
    for place, radius in enumerate(eps):
        if budget.apgd_ce_iterations:
            yield place, "apgd-ce", run.apgd_ce(x_BCHW, y_B, radius)
        if budget.uses_apgd_t:
            yield place, "apgd-t", run.apgd_t(x_BCHW, y_B, radius)
    if budget.uses_fab:
        runs = list(run.fab_runs(x_BCHW, y_B))
        for place, radius in enumerate(eps):
            yield place, "fab-t", _first_within(runs, radius, x_BCHW)
    if budget.square_queries:
        for place, radius in enumerate(eps):
            yield place, "square", run.square(x_BCHW, y_B, radius)


def _first_within(runs: Sequence[tuple[Tensor, Tensor]], eps: float, x_BCHW: Tensor) -> Attempt:
    """Return the first run's images that are near enough, as the authors' loop over target classes does."""
    x_adv, broken_B = x_BCHW.clone(), torch.zeros(len(x_BCHW), dtype=torch.bool, device=x_BCHW.device)
    for norm_B, x_run in runs:
        new_B = (norm_B <= eps) & ~broken_B
        x_adv[new_B], broken_B = x_run[new_B], broken_B | new_B
    return Attempt(broken_B, x_adv)


def _losses(ensemble: Ensemble, x_BCHW: Tensor, y_B: Tensor) -> Tensor:
    with torch.no_grad():
        return cross_entropy(ensemble.model(x_BCHW).double(), y_B, reduction="none")
