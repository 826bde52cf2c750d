"""How far a mean over people and seeds may be from the truth: variance components and their degrees of freedom.

A value of person p at seed s is a mean, an effect of the person, one of the seed, and a rest. A mean over P people and
S seeds then has variance people/P + seeds/S + rest/(P S). People are many, so their part is estimated well; seeds are
few, so theirs is not, and Student's t with Satterthwaite's degrees of freedom stands for that.

Shapes: S seeds, P people.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import NamedTuple

import numpy as np

from mibench.results.intervals import CONFIDENCE
from mibench.results.people import Floats, Stratum
from mibench.results.student import quantile


class Spread(NamedTuple):
    """The uncertainty of a mean.

    Attributes:
        error: its standard error.
        df: degrees of freedom of that.
    """

    error: float
    df: float

    @property
    def half_width(self) -> float:
        """Half the width of the 95 % interval."""
        return self.error * quantile((1 + CONFIDENCE) / 2, self.df)


def spread(values_SP: Floats, strata: Sequence[Stratum]) -> Spread | None:
    """Return the uncertainty of the mean over people of their means over seeds.

    Where a fold has one seed alone the other folds tell how much seeds matter; where all have, nothing does, and the
    chance in training is left out.

    Args:
        values_SP: the values; NaN is not measured.
        strata: seeds and people of each fold.

    Returns:
        ``None`` with fewer than two people in every fold.
    """
    people = sum(len(stratum.people) for stratum in strata)
    df_people = people - len(strata)
    if df_people < 1:
        return None
    between = sum(_between_people(values_SP, stratum) for stratum in strata) / df_people / people
    df_seeds = sum(len(stratum.seeds) - 1 for stratum in strata)
    if df_seeds < 1:
        return Spread(sqrt(between), float(df_people))
    share = sum((len(stratum.people) / people) ** 2 / len(stratum.seeds) for stratum in strata)
    sums = [_between_seeds(values_SP, stratum) for stratum in strata]
    raw, rest = (share / df_seeds * sum(part) for part in zip(*sums, strict=True))
    # The rest is in `between` already. To take all of it off is right on average, but leaves nothing so often that the
    # intervals are too narrow; to take off nothing makes them too wide. Half holds its promise (docs/statistics.md).
    part = max(0.0, raw - rest / 2)
    variance = between + part
    if variance == 0:
        return Spread(0.0, float(df_people))
    return Spread(sqrt(variance), degrees(variance, (between, df_people), (raw, df_seeds)))


def degrees(variance: float, *parts: tuple[float, int]) -> float:
    """Return Satterthwaite's degrees of freedom of a sum of variances, less what was taken off it.

    A sum has no fewer than the part that has fewest. What is taken off makes it smaller and its parts no better known,
    so the formula alone goes below that, down to 0: there it counts as known like that part.

    Args:
        variance: the sum, above 0.
        parts: size and degrees of freedom of each.
    """
    shares = [(part / variance, df) for part, df in parts]
    return max(1 / sum(share * share / df for share, df in shares), min(df for _, df in parts))


def _between_people(values_SP: Floats, stratum: Stratum) -> float:
    """Return the sum of squares between people of a fold, of their means over seeds."""
    means_P = np.nanmean(values_SP[np.ix_(stratum.seeds, stratum.people)], axis=0)
    return float(((means_P - means_P.mean()) ** 2).sum())


def _between_seeds(values_SP: Floats, stratum: Stratum) -> tuple[float, float]:
    """Return the sum of squares between seeds of their means over people, and what the rest alone would add to it."""
    part_SP = values_SP[np.ix_(stratum.seeds, stratum.people)]
    part_SP = part_SP[:, ~np.isnan(part_SP).any(axis=0)]
    seeds, people = part_SP.shape
    if seeds < 2 or people < 2:
        return 0.0, 0.0
    means_S, means_P = part_SP.mean(axis=1), part_SP.mean(axis=0)
    rest_SP = part_SP - means_S[:, None] - means_P + part_SP.mean()
    rest = float((rest_SP**2).sum()) / ((seeds - 1) * (people - 1))
    return float(((means_S - part_SP.mean()) ** 2).sum()), (seeds - 1) * rest / people
