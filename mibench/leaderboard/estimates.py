"""Numbers of several records together: mean over seeds, interval over people, worst case over attacks and judges."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from mibench.results.columns import attack_accuracies, robust_columns
from mibench.results.intervals import Interval
from mibench.results.normalize import control
from mibench.results.people import fold_mean, make_scores, values_of
from mibench.results.record import MetricValue, Record
from mibench.results.worst_case import max_interval

Column = Callable[[Record], MetricValue | None]


class Estimate(NamedTuple):
    """A number with its 95 % interval over people.

    Attributes:
        value: mean over seeds.
        ci95: bootstrap over people of their means over seeds; ``None`` if it cannot be formed.
    """

    value: float
    ci95: Interval | None


def estimate(records: Iterable[Record], column: Column) -> Estimate | None:
    """Return the mean of a column over records of different seeds, with its interval; ``None`` without any value."""
    found = {record.cell.seed: (record, metric) for record in records if (metric := column(record)) is not None}
    if not found:
        return None
    scores = make_scores({"": {seed: dict(values_of(*one)) for seed, one in found.items()}})
    return Estimate(
        fold_mean({seed: metric.value for seed, (_, metric) in found.items()}, scores), max_interval(scores)
    )


def worst_attack_accuracy(attacks: Iterable[Sequence[Record]]) -> Estimate | None:
    """Return the highest accuracy of any judge under any attack; each item holds the records of one attack."""
    found = []
    for records in attacks:
        judges = dict.fromkeys(judge for record in records for judge in attack_accuracies(record.metrics))
        found += [made for judge in judges if (made := estimate(records, _attack_accuracy(judge)))]
    return max(found, key=lambda made: made.value, default=None)


def robust_accuracies(records: Sequence[Record]) -> dict[str, Estimate]:
    """Return robust accuracy by radius times 255, smallest radius first."""
    radii = sorted({eps for record in records for eps in robust_columns(record.metrics)}, key=float)
    return {eps: made for eps in radii if (made := estimate(records, _robust_accuracy(eps)))}


def mean_control(records: Sequence[Record], name: str) -> float | None:
    """Return the mean of a control of the headline; ``None`` if no record has it."""
    made = estimate(records, lambda record: control(record, name))
    return made.value if made else None


def _attack_accuracy(judge: str) -> Column:
    return lambda record: attack_accuracies(record.metrics).get(judge)


def _robust_accuracy(eps: str) -> Column:
    return lambda record: robust_columns(record.metrics).get(eps)
