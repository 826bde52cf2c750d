"""The worst case over attacks: how much of it is luck, and which attack is the best one.

The largest of several noisy means is on average above the largest of their true values. Resampling the people and seeds
tells by how much (E[max of resamples] - max), and how often each attack is the best.

Shapes: A attacks, D draws, S seeds, P people.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from mibench.results.intervals import CONFIDENCE, DRAWS, Interval
from mibench.results.people import Flags, Floats, Scores
from mibench.results.resampling import people_counts, seed_counts


@dataclass(frozen=True)
class WorstCase:
    """A maximum over attacks.

    Attributes:
        value: the largest mean.
        bias: by how much resampling raises it: an estimate of by how much it is too high.
        best: share of resamples in which each attack is the best.
        ci95: 95 % percentile interval over people of the maximum; ``None`` with fewer than two people.
    """

    value: float
    bias: float
    best: Mapping[str, float]
    ci95: Interval | None

    @property
    def corrected(self) -> float:
        """The value without its bias: 2 max - E[max of resamples]."""
        return self.value - self.bias


def worst_case(scores: Scores, draws: int = DRAWS) -> WorstCase | None:
    """Return the worst case over the attacks that met as many people as any of them; ``None`` without a value.

    The interval is over people, as those of records are; bias and shares are over people and seeds.
    """
    scores = on_most_people(scores)
    if not scores.attacks or not scores.people:
        return None
    value = float(scores.people_AP.mean(axis=1).max())
    means_AD = resampled_means(scores, draws)
    chosen_D = means_AD.argmax(axis=0)
    return WorstCase(
        value=value,
        bias=float(means_AD.max(axis=0).mean()) - value if len(scores.attacks) > 1 else 0.0,
        best={attack: float((chosen_D == place).mean()) for place, attack in enumerate(scores.attacks)},
        ci95=max_interval(scores, draws),
    )


def max_interval(scores: Scores, draws: int = DRAWS) -> Interval | None:
    """Return the 95 % percentile bootstrap interval over people of the largest mean of an attack.

    Of one attack under one seed it is that of records (``intervals.class_interval``). ``None`` with fewer than two
    people.
    """
    scores = on_most_people(scores)
    if len(scores.people) < 2:
        return None
    maxima_D = (people_counts(scores, draws) @ scores.people_AP.T / len(scores.people)).max(axis=1)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(maxima_D, (tail, 1 - tail))
    return float(low), float(high)


def on_most_people(scores: Scores) -> Scores:
    """Return the attacks that met the most people, with the people that all of those met.

    In a protocol with folds an attack that met one fold alone says nothing about a worst case over all people.
    """
    met_AP: Flags = np.logical_or.reduce(~np.isnan(scores.values_ASP), axis=1)
    if not met_AP.any():
        return Scores((), scores.seeds, (), np.empty((0, len(scores.seeds), 0)))
    kept_A = met_AP.sum(axis=1) == met_AP.sum(axis=1).max()
    people_P = met_AP[kept_A].all(axis=0)
    names = [name for name, kept in zip(scores.attacks, kept_A, strict=True) if kept]
    people = tuple(person for person, kept in zip(scores.people, people_P, strict=True) if kept)
    return Scores(tuple(names), scores.seeds, people, scores.values_ASP[kept_A][:, :, people_P])


def resampled_means(scores: Scores, draws: int = DRAWS) -> Floats:
    """Return each attack's mean in each resample of people and seeds, ``(A, D)``; all attacks share the resamples.

    A person whose seeds are not in a resample, as for an attack that met few of them, keeps its mean over all.
    """
    weights_DP, weights_DS = people_counts(scores, draws), seed_counts(scores, draws)
    present_ASP = ~np.isnan(scores.values_ASP)
    values_ASP = np.where(present_ASP, scores.values_ASP, 0.0)
    mean = partial(_mean, weights_DS=weights_DS, weights_DP=weights_DP)
    whole_AP = scores.people_AP
    return np.stack([mean(*parts) for parts in zip(values_ASP, present_ASP, whole_AP, strict=True)])


def _mean(values_SP: Floats, present_SP: Floats, whole_P: Floats, weights_DS: Floats, weights_DP: Floats) -> Floats:
    taken_DP = weights_DS @ present_SP
    sums_DP = weights_DS @ values_SP
    people_DP = np.where(taken_DP > 0, sums_DP / np.maximum(taken_DP, 1), whole_P)
    means_D: Floats = (weights_DP * people_DP).sum(axis=1) / len(whole_P)
    return means_D
