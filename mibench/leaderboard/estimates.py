"""Numbers of several records together: mean over seeds, interval over classes, worst case over attacks and judges."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import NamedTuple

from mibench.results.columns import attack_accuracies, robust_columns
from mibench.results.intervals import Interval, pooled_interval
from mibench.results.normalize import control
from mibench.results.record import MetricValue, Record


class Estimate(NamedTuple):
    """A number with its 95 % interval over classes.

    Attributes:
        value: mean over seeds.
        ci95: bootstrap over classes of the seed averages; ``None`` if it cannot be formed.
    """

    value: float
    ci95: Interval | None


def estimate(metrics: Sequence[MetricValue]) -> Estimate | None:
    """Return the mean over seeds with its interval; ``None`` without any value."""
    if not metrics:
        return None
    return Estimate(
        fmean(metric.value for metric in metrics), pooled_interval([metric.per_class for metric in metrics])
    )


def worst_attack_accuracy(attacks: Iterable[Sequence[Record]]) -> Estimate | None:
    """Return the highest accuracy of any judge under any attack; each item holds the records of one attack."""
    found = []
    for records in attacks:
        judged: defaultdict[str, list[MetricValue]] = defaultdict(list)
        for record in records:
            for judge, metric in attack_accuracies(record.metrics).items():
                judged[judge].append(metric)
        found += [made for metrics in judged.values() if (made := estimate(metrics))]
    return max(found, key=lambda made: made.value, default=None)


def robust_accuracies(records: Sequence[Record]) -> dict[str, Estimate]:
    """Return robust accuracy by radius times 255, smallest radius first."""
    by_eps: defaultdict[str, list[MetricValue]] = defaultdict(list)
    for record in records:
        for eps, metric in robust_columns(record.metrics).items():
            by_eps[eps].append(metric)
    return {eps: made for eps in sorted(by_eps, key=float) if (made := estimate(by_eps[eps]))}


def mean_control(records: Sequence[Record], name: str) -> float | None:
    """Return the mean of a control of the headline; ``None`` if no record has it."""
    values = [metric.value for record in records if (metric := control(record, name))]
    return fmean(values) if values else None
