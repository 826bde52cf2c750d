"""Two groups that were assigned at random: the exact permutation test, Welch's test and Hedges' g.

Shapes: N units.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import comb, gamma, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Floats = NDArray[np.float64]
EXACT_UP_TO = 200_000
"""Assignments up to which all are gone through; 10 against 10 are 184 756."""
DRAWS = 100_000
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Permuted:
    """What exchanging assignments says.

    Attributes:
        p: two-sided p: share of assignments whose difference of means is at least as large.
        least: the smallest p that so many units can give.
        exact: whether all assignments were gone through.
    """

    p: float
    least: float
    exact: bool


def permutation_test(one: ArrayLike, other: ArrayLike) -> Permuted:
    """Test that assignment changes nothing, by the difference of means over assignments of the same sizes.

    Raises:
        ValueError: if a group is empty.
    """
    a, b = np.asarray(one, float), np.asarray(other, float)
    if not len(a) or not len(b):
        raise ValueError("a permutation test needs units in both groups")
    values_N = np.concatenate([a, b])
    total, size, number = values_N.sum(), len(a), len(values_N)
    rest = number - size

    def apart(sums: Floats) -> Floats:
        gaps: Floats = np.abs(sums / size - (total - sums) / rest)
        return gaps

    observed = float(apart(np.array([values_N[:size].sum()]))[0]) - _ROUNDING
    ways = comb(number, size)
    if ways <= EXACT_UP_TO:
        sums = np.array([values_N[list(chosen)].sum() for chosen in combinations(range(number), size)])
        least = (2 if size == rest else 1) / ways
        return Permuted(float((apart(sums) >= observed).mean()), least, True)
    generator = np.random.Generator(np.random.PCG64(20260101))
    keys = generator.random((DRAWS, number))
    chosen = np.argpartition(keys, size, axis=1)[:, :size]
    hits = int((apart(values_N[chosen].sum(axis=1)) >= observed).sum())
    return Permuted((hits + 1) / (DRAWS + 1), 1 / (DRAWS + 1), False)


@dataclass(frozen=True)
class Welch:
    """Welch's comparison of two means.

    Attributes:
        difference: first mean minus second.
        ci95: its interval; ``None`` where a group has one unit.
        p: two-sided; ``None`` likewise.
    """

    difference: float
    ci95: tuple[float, float] | None
    p: float | None


def welch(one: ArrayLike, other: ArrayLike) -> Welch:
    """Compare two means without assuming equal variances (Welch, 1947)."""
    a, b = np.asarray(one, float), np.asarray(other, float)
    difference = float(a.mean() - b.mean())
    if min(len(a), len(b)) < 2 or (a.var() == 0 and b.var() == 0):
        return Welch(difference, None, None)
    made = stats.ttest_ind(a, b, equal_var=False)
    low, high = made.confidence_interval(0.95)
    return Welch(difference, (float(low), float(high)), float(made.pvalue))


def hedges_g(one: ArrayLike, other: ArrayLike) -> float | None:
    """Return the standardised difference of two means, without the bias of small groups; ``None`` without variance.

    Source: Hedges, 1981, with the exact correction.
    """
    a, b = np.asarray(one, float), np.asarray(other, float)
    free = len(a) + len(b) - 2
    if free < 2:
        return None
    pooled = (
        sqrt(((len(a) - 1) * a.var(ddof=1) + (len(b) - 1) * b.var(ddof=1)) / free) if min(len(a), len(b)) > 1 else 0
    )
    if pooled == 0:
        return None
    correction = gamma(free / 2) / (sqrt(free / 2) * gamma((free - 1) / 2)) if free < 300 else 1.0
    return float((a.mean() - b.mean()) / pooled * correction)


def logit(values: ArrayLike) -> Floats:
    """Return log-odds of fractions that lie inside (0, 1)."""
    y = np.asarray(values, float)
    made: Floats = np.log(y / (1 - y))
    return made
