"""Student's t distribution with any number of degrees of freedom, also fractions, by quadrature."""

from __future__ import annotations

from functools import lru_cache
from math import atan, exp, inf, lgamma, pi, sqrt
from statistics import NormalDist

import numpy as np

_NORMAL_FROM = 2000.0
"""Degrees of freedom from which the normal distribution stands in: the two differ by less than 0.1 % at 5 %."""
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(200)


def upper_tail(t: float, df: float) -> float:
    """Return the probability that Student's t exceeds ``t``.

    With t = sqrt(df) tan(angle) the density is cos(angle)^(df - 1) over a bounded range.

    Args:
        t: the statistic.
        df: degrees of freedom, above 0; infinity is the normal distribution.

    >>> round(upper_tail(1.0, 1), 6)
    0.25
    """
    if df >= _NORMAL_FROM:
        return NormalDist().cdf(-t)
    if t < 0:
        return 1.0 - upper_tail(-t, df)
    low = atan(t / sqrt(df))
    angles = low + (pi / 2 - low) * (_NODES + 1) / 2
    integral = float((_WEIGHTS * np.cos(angles) ** (df - 1)).sum()) * (pi / 2 - low) / 2
    return min(0.5, exp(lgamma((df + 1) / 2) - lgamma(df / 2)) / sqrt(pi) * integral)


@lru_cache(maxsize=4096)
def quantile(probability: float, df: float) -> float:
    """Return the value that Student's t does not exceed with that probability, by halving.

    Args:
        probability: at least 0.5 and below 1.
        df: degrees of freedom, above 0; infinity is the normal distribution.

    >>> round(quantile(0.975, 19), 3)
    2.093
    """
    if df >= _NORMAL_FROM or df == inf:
        return NormalDist().inv_cdf(probability)
    low, high = 0.0, 1.0
    while upper_tail(high, df) > 1 - probability:
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if upper_tail(middle, df) > 1 - probability else (low, middle)
    return (low + high) / 2
