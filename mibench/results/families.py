"""Several comparisons at once: Holm's correction, and the smallest difference that a comparison can see."""

from __future__ import annotations

from collections.abc import Sequence

from mibench.results.intervals import CONFIDENCE
from mibench.results.spread import Spread
from mibench.results.student import quantile

POWER = 0.8


def holm(p_values: Sequence[float], family: int | None = None) -> list[float]:
    """Return p values that may be compared with the level of the whole family, in the order given.

    Source: Holm, A simple sequentially rejective multiple test procedure, 1979.

    Args:
        p_values: of some comparisons.
        family: the number of comparisons that could have been these, if they were chosen by what was measured; the
            result is then at least Holm's over all of them.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    adjusted, largest, size = [0.0] * len(p_values), 0.0, family or len(p_values)
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        largest = max(largest, min(1.0, (size - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted


def smallest_difference(spread: Spread) -> float:
    """Return the smallest true difference that a two-sided test at 5 % finds in four of five repetitions."""
    return spread.error * (quantile((1 + CONFIDENCE) / 2, spread.df) + quantile(POWER, spread.df))
