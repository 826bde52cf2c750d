"""Student's t distribution with one degree of freedom or more, also fractions, by quadrature."""

from __future__ import annotations

from functools import lru_cache
from math import asinh, exp, expm1, inf, log1p, sqrt, tanh
from statistics import NormalDist

import numpy as np

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(200)
_FOLDS = 40.0
"""The density is followed until it has fallen by a factor of e as often as this; what is left is below rounding."""


def upper_tail(t: float, df: float) -> float:
    """Return the probability that Student's t exceeds ``t``.

    With t = sqrt(df) sinh(u) the density is cosh(u)^-df, which falls as fast as an exponential.

    Args:
        t: the statistic.
        df: degrees of freedom, at least 1; infinity is the normal distribution.

    Raises:
        ValueError: for fewer degrees of freedom, or if that is not a number.

    >>> round(upper_tail(1.0, 1), 6)
    0.25
    """
    _check(df)
    if df == inf:
        return NormalDist().cdf(-t)
    if t < 0:
        return 1.0 - upper_tail(-t, df)
    scaled = t / sqrt(df)
    return exp(-df / 2 * log1p(scaled * scaled)) * _beyond(tanh(asinh(scaled)), df) / _beyond(0.0, df) / 2


@lru_cache(maxsize=4096)
def quantile(probability: float, df: float) -> float:
    """Return the value that Student's t does not exceed with that probability, by halving.

    Args:
        probability: at least 0.5 and below 1.
        df: degrees of freedom, at least 1; infinity is the normal distribution.

    Raises:
        ValueError: for fewer degrees of freedom, or if that is not a number.

    >>> round(quantile(0.975, 19), 3)
    2.093
    """
    _check(df)
    if df == inf:
        return NormalDist().inv_cdf(probability)
    low, high = 0.0, 1.0
    while upper_tail(high, df) > 1 - probability:
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if upper_tail(middle, df) > 1 - probability else (low, middle)
    return (low + high) / 2


def _check(df: float) -> None:
    if not df >= 1:
        raise ValueError(f"expected at least one degree of freedom, got {df}; are the numbers behind it finite?")


def _beyond(slope: float, df: float) -> float:
    """Return the integral of (cosh(u) / cosh(low))^-df from ``low`` on, where tanh(low) is ``slope``."""
    rise = expm1(_FOLDS / df)
    # The rise from low on is no less than that from 0 on, where cosh(reach) is exp(_FOLDS / df).
    reach = log1p(rise + sqrt(rise * (rise + 2)))
    if slope * reach * df > _FOLDS:
        reach = _FOLDS / df / slope
    steps = reach * (_NODES + 1) / 2
    rises = 2 * np.sinh(steps / 2) ** 2 + slope * np.sinh(steps)
    return float((_WEIGHTS * np.exp(-df * np.log1p(rises))).sum()) * reach / 2
