"""Who leaks how much under which attack and seed: records as one array, matched by identity and not by class number.

Shapes: A attacks, S seeds, P people.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mibench.results.record import MetricValue, Record

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


class Stratum(NamedTuple):
    """Seeds and people that were measured together: everything there is, or one fold of a protocol with several.

    Attributes:
        seeds: their places.
        people: their places.
    """

    seeds: tuple[int, ...]
    people: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Scores:
    """What leaked of each person.

    Attributes:
        attacks: names of attacks, or what else identifies them.
        seeds: target seeds, rising.
        people: identities.
        values_ASP: the values; larger is more leakage, NaN is not measured.
    """

    attacks: tuple[str, ...]
    seeds: tuple[int, ...]
    people: tuple[int, ...]
    values_ASP: Floats

    @property
    def people_AP(self) -> Floats:
        """Each person's mean over the seeds that have it; NaN without any."""
        present_ASP = ~np.isnan(self.values_ASP)
        counts_AP = present_ASP.sum(axis=1)
        sums_AP = np.where(present_ASP, self.values_ASP, 0.0).sum(axis=1)
        return np.where(counts_AP > 0, sums_AP / np.maximum(counts_AP, 1), np.nan)

    @property
    def strata(self) -> tuple[Stratum, ...]:
        """Seeds that share people, with their people; one for each fold."""
        met_SP: Flags = np.logical_or.reduce(~np.isnan(self.values_ASP), axis=0)
        left, found = list(range(len(self.seeds))), []
        while left:
            seeds = [left.pop(0)]
            for seed in seeds:  # it grows while others join
                joined = [other for other in left if (met_SP[other] & met_SP[seed]).any()]
                seeds += joined
                left = [other for other in left if other not in joined]
            people_P: Flags = np.logical_or.reduce(met_SP[seeds], axis=0)
            if people_P.any():
                found.append(Stratum(tuple(sorted(seeds)), tuple(map(int, np.flatnonzero(people_P)))))
        return tuple(found)

    def only(self, attacks: Sequence[str]) -> Scores:
        """Return the scores of some attacks, in that order."""
        places = [self.attacks.index(attack) for attack in attacks]
        return Scores(tuple(attacks), self.seeds, self.people, self.values_ASP[places])


def make_scores(values: Mapping[str, Mapping[int, Mapping[int, float]]]) -> Scores:
    """Make scores of values by attack, seed and person; people stand in the order of first sight, seeds rising."""
    seeds = sorted({seed for runs in values.values() for seed in runs})
    people = list(dict.fromkeys(p for runs in values.values() for seed in sorted(runs) for p in runs[seed]))
    place = {person: index for index, person in enumerate(people)}
    values_ASP = np.full((len(values), len(seeds), len(people)), np.nan)
    for a, runs in enumerate(values.values()):
        for seed, found in runs.items():
            for person, value in found.items():
                values_ASP[a, seeds.index(seed), place[person]] = value
    return Scores(tuple(values), tuple(seeds), tuple(people), values_ASP)


def fold_mean(values: Mapping[int, float], scores: Scores) -> float:
    """Return the mean of values by seed; where folds have different people, each counts by their number."""
    folds = [stratum for stratum in scores.strata if any(scores.seeds[seed] in values for seed in stratum.seeds)]
    if len(folds) < 2:
        return fmean(values.values())
    means = [fmean(values[scores.seeds[seed]] for seed in one.seeds if scores.seeds[seed] in values) for one in folds]
    return fmean(means, weights=[len(one.people) for one in folds])


def scores_of(attacks: Mapping[str, Sequence[Record]], metric: str, control: str | None = None) -> Scores:
    """Return the scores of records, by attack, in a column.

    Args:
        attacks: records of each attack; one of a seed that comes later replaces an earlier one.
        metric: name of the column; a record without it has no values.
        control: the column of this control (gold, floor, undefended, lookalike) instead of the record's own.
    """
    return make_scores(
        {
            name: {record.cell.seed: dict(_leaks(record, found)) for record in records
                   if (found := _column(record, metric, control))}
            for name, records in attacks.items()
        }
    )  # fmt: skip


def _column(record: Record, metric: str, control: str | None) -> MetricValue | None:
    places: Mapping[str, Mapping[str, MetricValue]] = {str(key): values for key, values in record.controls.items()}
    return (places.get(control, {}) if control else record.metrics).get(metric)


def _leaks(record: Record, metric: MetricValue) -> Iterator[tuple[int, float]]:
    return ((who, -value if metric.higher_is_better else value) for who, value in values_of(record, metric))


def values_of(record: Record, metric: MetricValue) -> Iterator[tuple[int, float]]:
    """Yield identity and value of each class that has one; a class without identity keeps a number of its own, < 0."""
    for label, value in enumerate(metric.per_class):
        if value is not None:
            yield record.classes.get(str(label), -1 - label), value
