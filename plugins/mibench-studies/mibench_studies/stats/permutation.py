"""Two groups that were assigned at random: the exact permutation test, an interval of the difference, and Hedges' g.

Where the assignment was drawn within blocks of units that are alike, so is everything here: units are exchanged within
their block, and what blocks differ by is taken out. The difference is that of least squares with a constant for each
block: the mean of the blocks' differences, weighted by n1 n0 / (n1 + n0). A block that holds one group alone says
nothing of it and is left out.

Shapes: N units, one group before the other; B blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from itertools import combinations
from math import comb, gamma, prod, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
EXACT_UP_TO = 200_000
"""Assignments up to which all are gone through; 10 against 10 in one block are 184 756."""
DRAWS = 100_000
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Groups:
    """Two groups of units, each unit in a block.

    Attributes:
        values_N: outcomes.
        first_N: whether the unit is of the first group.
        block_N: which block, from 0.
    """

    values_N: Floats
    first_N: Bools
    block_N: NDArray[np.int64]

    @classmethod
    def of(cls, one: ArrayLike, other: ArrayLike, blocks: ArrayLike = ()) -> Groups:
        """Put two groups together, with a block's label for each unit of ``one``, then of ``other``.

        Without labels all units are alike.

        Raises:
            ValueError: if a group is empty, if blocks are of other units, or if no block holds units of both groups.
        """
        a, b = np.asarray(one, float), np.asarray(other, float)
        if not len(a) or not len(b):
            raise ValueError("a comparison of groups needs units in both groups")
        labels = np.asarray(blocks, str) if np.size(blocks) else np.full(len(a) + len(b), "")
        if len(labels) != len(a) + len(b):
            raise ValueError(f"{len(a) + len(b)} units, but {len(labels)} labels of blocks")
        both = np.isin(labels, np.intersect1d(labels[: len(a)], labels[len(a) :]))
        if not both.any():
            raise ValueError("no block holds units of both groups")
        first = np.arange(len(labels)) < len(a)
        return cls(np.concatenate([a, b])[both], first[both], np.unique(labels[both], return_inverse=True)[1].ravel())

    @property
    def sizes_B(self) -> tuple[tuple[int, int], ...]:
        """Units of the first group, and all units, of each block."""
        blocks = range(int(self.block_N.max()) + 1)
        return tuple((int(self.first_N[self.block_N == b].sum()), int((self.block_N == b).sum())) for b in blocks)

    @property
    def weights_B(self) -> Floats:
        """How much the difference within each block counts."""
        return np.array([first * (number - first) / number for first, number in self.sizes_B])

    @property
    def dummies_NB(self) -> Floats:
        """One column for each block."""
        made: Floats = (self.block_N[:, None] == np.arange(len(self.sizes_B))).astype(float)
        return made

    @property
    def difference(self) -> float:
        """First group minus second, within blocks."""
        inside = [self.block_N == block for block in range(len(self.sizes_B))]
        parts = [_weighted(self.values_N[units], self.first_N[units][None])[0] for units in inside]
        return float(sum(parts) / self.weights_B.sum())


def _weighted(values_n: Floats, first_Dn: Bools) -> Floats:
    """Return the weighted difference within one block, for each of D assignments."""
    number, size = len(values_n), int(first_Dn[0].sum())
    sums = first_Dn @ values_n
    made: Floats = (sums / size - (values_n.sum() - sums) / (number - size)) * size * (number - size) / number
    return made


@dataclass(frozen=True)
class Permuted:
    """What exchanging assignments says.

    Attributes:
        p: two-sided p: share of assignments whose difference is at least as large.
        least: the smallest p that so many units can give.
        exact: whether all assignments were gone through.
    """

    p: float
    least: float
    exact: bool


def permutation_test(groups: Groups) -> Permuted:
    """Test that assignment changes nothing, by the difference over assignments of the same sizes in each block."""
    observed = abs(groups.difference) * groups.weights_B.sum() - _ROUNDING
    blocks = [(groups.values_N[groups.block_N == block], *sizes) for block, sizes in enumerate(groups.sizes_B)]
    ways = prod(comb(number, size) for _, size, number in blocks)
    if ways <= EXACT_UP_TO:
        every = [_weighted(values, _assignments(size, number)) for values, size, number in blocks]
        sums = reduce(lambda some, more: np.add.outer(some, more).ravel(), every)
        least = (2 if all(2 * size == number for _, size, number in blocks) else 1) / ways
        return Permuted(float((np.abs(sums) >= observed).mean()), least, True)
    generator = np.random.Generator(np.random.PCG64(20260101))
    drawn = np.zeros(DRAWS)
    for values, size, number in blocks:
        order = np.argsort(generator.random((DRAWS, number)), axis=1)
        drawn += _weighted(values, order < size)
    return Permuted((int((np.abs(drawn) >= observed).sum()) + 1) / (DRAWS + 1), 1 / (DRAWS + 1), False)


def _assignments(size: int, number: int) -> Bools:
    every = np.array(list(combinations(range(number), size)))
    made = np.zeros((len(every), number), bool)
    made[np.arange(len(every))[:, None], every] = True
    return made


@dataclass(frozen=True)
class Apart:
    """By how much two groups differ.

    Attributes:
        difference: first mean minus second.
        ci95: its interval; ``None`` where a group has one unit, or nothing varies.
        p: two-sided; ``None`` likewise.
    """

    difference: float
    ci95: tuple[float, float] | None
    p: float | None


def apart(groups: Groups) -> Apart:
    """Compare two groups without assuming equal variances.

    In one block this is Welch's test (1947); in more, least squares with a constant for each block and errors that are
    robust against unequal variances (HC2, which in one block is Welch's), by Student's t.
    """
    values, first = groups.values_N, groups.first_N
    free = len(values) - len(groups.sizes_B) - 1
    if len(groups.sizes_B) == 1:
        return welch(values[first], values[~first])
    design = np.column_stack([first.astype(float), groups.dummies_NB])
    spread = np.linalg.pinv(design.T @ design)
    residuals = values - design @ (spread @ design.T @ values)
    leverage = np.einsum("nk,kl,nl->n", design, spread, design)
    if free < 1 or (leverage > 1 - _ROUNDING).any() or (np.abs(residuals) < _ROUNDING).all():
        return Apart(groups.difference, None, None)
    pull = (spread @ design.T)[0]
    error = sqrt(float((pull**2 * residuals**2 / (1 - leverage)).sum()))
    half = float(stats.t.ppf(0.975, free)) * error
    p = float(2 * stats.t.sf(abs(groups.difference) / error, free))
    return Apart(groups.difference, (groups.difference - half, groups.difference + half), p)


def welch(one: ArrayLike, other: ArrayLike) -> Apart:
    """Compare two means without assuming equal variances (Welch, 1947)."""
    a, b = np.asarray(one, float), np.asarray(other, float)
    difference = float(a.mean() - b.mean())
    if min(len(a), len(b)) < 2 or (a.var() == 0 and b.var() == 0):
        return Apart(difference, None, None)
    made = stats.ttest_ind(a, b, equal_var=False)
    low, high = made.confidence_interval(0.95)
    return Apart(difference, (float(low), float(high)), float(made.pvalue))


def hedges_g(groups: Groups) -> float | None:
    """Return the standardised difference within blocks, without the bias of small groups; ``None`` without variance.

    The standard deviation is that within groups and blocks, pooled.

    Source: Hedges, 1981, with the exact correction.
    """
    design = np.column_stack([groups.first_N.astype(float), groups.dummies_NB])
    free = len(groups.values_N) - design.shape[1]
    if free < 2:
        return None
    fitted = design @ np.linalg.lstsq(design, groups.values_N, rcond=None)[0]
    squares = float(((groups.values_N - fitted) ** 2).sum())
    if squares <= _ROUNDING**2 * len(groups.values_N):
        return None
    correction = gamma(free / 2) / (sqrt(free / 2) * gamma((free - 1) / 2)) if free < 300 else 1.0
    return groups.difference / sqrt(squares / free) * correction


def logit(values: ArrayLike) -> Floats:
    """Return log-odds of fractions that lie inside (0, 1)."""
    y = np.asarray(values, float)
    made: Floats = np.log(y / (1 - y))
    return made
