"""Uncertainty over classes: would other private classes have given other numbers?

A class is the unit of resampling because images of one class are not independent. Where every class has the same value
the interval has no width: the bootstrap knows nothing beyond the classes it saw, so read it together with their number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mibench.api.quantity import Quantity
from mibench.results.record import MetricValue
from mibench.results.resampling import picks

DRAWS = 2000
CONFIDENCE = 0.95

Interval = tuple[float, float]


def class_interval(per_class: Sequence[float | None], *, draws: int = DRAWS) -> Interval | None:
    """Return the 95 % percentile bootstrap interval of the mean over classes.

    The random stream is the same for every call, so equal input has equal output and two metrics over the same
    classes resample the same classes.

    Args:
        per_class: one value per class; ``None`` entries are skipped.
        draws: number of resamples.

    Returns:
        ``(low, high)``, or ``None`` with fewer than two classes.

    >>> class_interval([0.0, 1.0])
    (0.0, 1.0)
    >>> class_interval([0.5, None]) is None
    True
    """
    values_K = np.array([value for value in per_class if value is not None], dtype=np.float64)
    if len(values_K) < 2:
        return None
    means_D = values_K[picks(draws, len(values_K))].mean(axis=1)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means_D, (tail, 1 - tail))
    return float(low), float(high)


def metric_value(measurement: Mapping[str, Any], group: str) -> MetricValue:
    """Turn a measurement into a record's metric, with its interval.

    Args:
        measurement: the fields of ``mibench.api.metric.Measurement``, e.g. ``dataclasses.asdict`` of one, or
            as read back from JSON; ``details`` and ``quantity`` may be absent.
        group: utility, leakage, robustness, dependency or cost (from the metric's spec).

    Raises:
        KeyError: if a field is missing.
    """
    per_class = [None if value is None else float(value) for value in measurement["per_class"]]
    return MetricValue(
        value=float(measurement["value"]),
        ci95=class_interval(per_class),
        n=int(measurement["n"]),
        unit=measurement["unit"],
        higher_is_better=bool(measurement["higher_is_better"]),
        group=group,
        per_class=per_class,
        details=dict(measurement.get("details", {})),
        quantity=Quantity(**measurement["quantity"]) if measurement.get("quantity") else None,
    )
