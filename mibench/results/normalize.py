"""Leakage on a scale that means the same everywhere: 0 is what the prior alone gives, 1 the private photographs."""

from __future__ import annotations

from mibench.results.record import MetricValue, Record


def normalized_leakage(value: float, floor: float, gold: float, *, higher_is_better: bool = False) -> float | None:
    """Return ``(value - floor) / (gold - floor)``; values outside [0, 1] stay as they are.

    Args:
        value: leakage that an attack reached.
        floor: the same metric on prior samples that nobody optimised.
        gold: the same metric on held-out private images.
        higher_is_better: true for metrics where less leakage is a larger number, such as a distance.

    Returns:
        ``None`` if gold does not leak more than floor: the metric then cannot tell an attack from chance.

    >>> normalized_leakage(0.75, floor=0.5, gold=1.0)
    0.5
    >>> normalized_leakage(0.75, floor=0.5, gold=0.5) is None
    True
    """
    sign = -1.0 if higher_is_better else 1.0
    span = sign * (gold - floor)
    return sign * (value - floor) / span if span > 0 else None


def headline(record: Record) -> MetricValue | None:
    """Return the leakage metric that ranks; ``None`` if the record lacks it (a failed cell)."""
    return record.metrics.get(record.protocol.headline)


def control(record: Record, name: str) -> MetricValue | None:
    """Return the headline metric of a control (``gold``, ``floor`` or ``undefended``); ``None`` if it is absent."""
    return {str(key): values for key, values in record.controls.items()}.get(name, {}).get(record.protocol.headline)


def record_leakage(record: Record) -> float | None:
    """Return a record's headline between its own floor and gold; ``None`` if anything is missing."""
    value, floor, gold = headline(record), control(record, "floor"), control(record, "gold")
    if value is None or floor is None or gold is None:
        return None
    return normalized_leakage(value.value, floor.value, gold.value, higher_is_better=value.higher_is_better)
