"""Do two rows differ? Paired by person, seed and attack, with the maximum over attacks on both sides.

The interval is the difference of the two maxima, without the bias that resampling people and seeds finds in it, plus
and minus Student's t times the standard error of the difference between the two worst attacks
(``mibench.results.spread``). ``docs/statistics.md`` has how often it holds.

Shapes: A attacks, S seeds, P people.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mibench.results.intervals import Interval
from mibench.results.people import Flags, Floats, Scores
from mibench.results.spread import Spread, spread
from mibench.results.student import upper_tail
from mibench.results.worst_case import on_most_people, resampled_means

ROUNDING = 1e-9
"""Differences below this are none, and standard errors below this are rounding."""


@dataclass(frozen=True)
class Comparison:
    """One row's leakage minus another's, in the direction of leakage: positive means that the first leaks more.

    Attributes:
        value: difference of the worst cases over the common attacks, less the bias of both maxima.
        bias: what was taken off.
        spread: its uncertainty; ``None`` with fewer than two people.
        attacks: the attacks that both met with as many people as any.
        seeds: the seeds that the two worst attacks have in common, or that one of the two has where there are none.
        people: the number of people in both.
    """

    value: float
    bias: float
    spread: Spread | None
    attacks: tuple[str, ...]
    seeds: tuple[int, ...]
    people: int

    @property
    def ci95(self) -> Interval | None:
        """The 95 % interval of the difference."""
        if self.spread is None:
            return None
        half = self.spread.half_width
        return self.value - half, self.value + half

    @property
    def p(self) -> float | None:
        """Two-sided p of no difference; ``None`` with fewer than two people."""
        above = self.p_above
        return None if above is None else min(1.0, 2 * min(above, 1 - above))

    @property
    def p_above(self) -> float | None:
        """One-sided p of "the first leaks no more than the second"; ``None`` with fewer than two people."""
        if self.spread is None:
            return None
        if self.spread.error > ROUNDING:
            return upper_tail(self.value / self.spread.error, self.spread.df)
        # All people differ by the same: t would be infinite, and signs are all that so few people can say.
        least = 0.5**self.people
        return 0.5 if abs(self.value) <= ROUNDING else least if self.value > 0 else 1 - least


def compare(one: Scores, other: Scores) -> Comparison | None:
    """Compare two rows on the attacks, seeds and people that both have; ``None`` if there are none.

    An attack that met fewer of these people than another, as after one fold of two, is left out. Where the two worst
    attacks have other seeds, they are compared on those of each person that both have, if there are any.
    """
    both = common(one, other)
    if both is None:
        return None
    ours, theirs = both
    mine_AP, their_AP = ours.people_AP, theirs.people_AP
    best, their_best = mine_AP.mean(axis=1).argmax(), their_AP.mean(axis=1).argmax()
    bias = 0.0
    if len(ours.attacks) > 1:
        maxima = [resampled_means(scores).max(axis=0).mean() for scores in both]
        bias = float(maxima[0] - maxima[1]) - float(mine_AP[best].mean() - their_AP[their_best].mean())
    mine_SP, theirs_SP = _shared(ours.values_ASP[best], theirs.values_ASP[their_best])
    raw = float(np.nanmean(mine_SP, axis=0).mean() - np.nanmean(theirs_SP, axis=0).mean())
    met_S: Flags = np.logical_or.reduce(~np.isnan(mine_SP) | ~np.isnan(theirs_SP), axis=1)
    return Comparison(
        value=raw - bias,
        bias=bias,
        spread=_spread(ours, mine_SP, theirs_SP),
        attacks=ours.attacks,
        seeds=tuple(seed for seed, met in zip(ours.seeds, met_S, strict=True) if met),
        people=len(ours.people),
    )


def common(one: Scores, other: Scores) -> tuple[Scores, Scores] | None:
    """Return both rows on what they have in common, in the first one's order; ``None`` if that is nothing."""
    attacks = [attack for attack in one.attacks if attack in other.attacks]
    seeds = [seed for seed in one.seeds if seed in other.seeds]
    people = [person for person in one.people if person in other.people]
    if not (attacks and seeds and people):
        return None
    mine_ASP, theirs_ASP = (_part(scores, attacks, seeds, people) for scores in (one, other))
    absent_ASP = np.isnan(mine_ASP) | np.isnan(theirs_ASP)
    made = [
        on_most_people(_with_seeds(attacks, seeds, people, np.where(absent_ASP, np.nan, values_ASP)))
        for values_ASP in (mine_ASP, theirs_ASP)
    ]
    return (made[0], made[1]) if made[0].people else None


def _part(scores: Scores, attacks: list[str], seeds: list[int], people: list[int]) -> Floats:
    where = ((scores.attacks, attacks), (scores.seeds, seeds), (scores.people, people))
    return scores.values_ASP[np.ix_(*(_places(all_, some) for all_, some in where))]


def _places(everything: tuple[object, ...], some: list[str] | list[int]) -> list[int]:
    place = {one: index for index, one in enumerate(everything)}
    return [place[one] for one in some]


def _with_seeds(attacks: list[str], seeds: list[int], people: list[int], values_ASP: Floats) -> Scores:
    """Make scores without the seeds that no attack has."""
    kept_S: Flags = np.logical_or.reduce(~np.isnan(values_ASP), axis=(0, 2))
    left = tuple(seed for seed, kept in zip(seeds, kept_S, strict=True) if kept)
    return Scores(tuple(attacks), left, tuple(people), values_ASP[:, kept_S])


def _shared(mine_SP: Floats, theirs_SP: Floats) -> tuple[Floats, Floats]:
    """Return what two attacks met both; everything if they have no seed of some person in common."""
    absent_SP = np.isnan(mine_SP) | np.isnan(theirs_SP)
    if absent_SP.all(axis=0).any():
        return mine_SP, theirs_SP
    return np.where(absent_SP, np.nan, mine_SP), np.where(absent_SP, np.nan, theirs_SP)


def _spread(scores: Scores, mine_SP: Floats, theirs_SP: Floats) -> Spread | None:
    """Return the uncertainty of the difference between two attacks, person by person.

    Where the two did not meet the same seeds, people have their means over all of them, and seeds tell nothing.
    """
    difference_SP = mine_SP - theirs_SP
    if not np.isnan(difference_SP).all(axis=0).any():
        return spread(difference_SP, Scores(("",), scores.seeds, scores.people, difference_SP[None]).strata)
    means_P = np.nanmean(mine_SP, axis=0) - np.nanmean(theirs_SP, axis=0)
    return spread(means_P[None], Scores(("",), (0,), scores.people, means_P[None, None]).strata)
