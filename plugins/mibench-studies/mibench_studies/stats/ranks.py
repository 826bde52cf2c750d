"""Rank correlation with an interval."""

from __future__ import annotations

from dataclasses import dataclass
from math import atanh, sqrt, tanh

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats


@dataclass(frozen=True)
class Spearman:
    """Spearman's rank correlation.

    Attributes:
        value: in [-1, 1].
        interval: of the level that was asked for; ``None`` with fewer than four pairs, or where one side is constant.
        pairs: how many there are.
    """

    value: float
    interval: tuple[float, float] | None
    pairs: int


def spearman(x: ArrayLike, y: ArrayLike, *, level: float = 0.95) -> Spearman:
    """Return the rank correlation with the interval of Bonett and Wright (2000): Fisher's z, variance (1 + r²/2)/(n -
    3).

    Args:
        x: one side.
        y: the other; pairs with a value that is not a number are left out.
        level: of the interval.
    """
    a, b = np.asarray(x, float), np.asarray(y, float)
    kept = np.isfinite(a) & np.isfinite(b)
    a, b = a[kept], b[kept]
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return Spearman(0.0, None, len(a))
    value = float(stats.spearmanr(a, b).statistic)
    if len(a) < 4:
        return Spearman(value, None, len(a))
    z = atanh(min(max(value, -1 + 1e-12), 1 - 1e-12))
    half = float(stats.norm.ppf((1 + level) / 2)) * sqrt((1 + value**2 / 2) / (len(a) - 3))
    return Spearman(value, (tanh(z - half), tanh(z + half)), len(a))


def mean_interval(values: ArrayLike, level: float = 0.95) -> tuple[float, float] | None:
    """Return Student's interval of a mean; ``None`` with fewer than two values."""
    y = np.asarray(values, float)
    if len(y) < 2:
        return None
    half = float(stats.t.ppf((1 + level) / 2, len(y) - 1) * y.std(ddof=1) / sqrt(len(y)))
    return float(y.mean()) - half, float(y.mean()) + half
