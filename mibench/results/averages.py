"""Means over images, computed again from the means of classes."""

from __future__ import annotations

from typing import NamedTuple

from mibench.results.record import MetricValue

COUNTS = "images_per_class"
"""Detail of a metric: how many images each class has. Metrics state it where the numbers differ by more than one."""


class Average(NamedTuple):
    """What per-class values say about a mean over images.

    Attributes:
        low: the least that it can be.
        high: the most that it can be.
    """

    low: float
    high: float

    @property
    def exact(self) -> bool:
        """Whether the mean is determined."""
        return self.high - self.low <= 1e-12 * max(1.0, abs(self.low))


def image_counts(metric: MetricValue) -> list[int] | None:
    """Return how many images each class has, as a metric states it; nothing in the list if that cannot be so.

    Returns:
        ``None`` if the metric does not state it.
    """
    stated = metric.details.get(COUNTS)
    if stated is None:
        return None
    counts = stated if isinstance(stated, list) else []
    fits = len(counts) == len(metric.per_class) and all(type(count) is int and count >= 0 for count in counts)
    return counts if fits and sum(counts) == metric.n else []


def average_of(metric: MetricValue) -> Average | None:
    """Return the mean over images that per-class values give.

    Where counts are not stated, classes have as many images as each other, up to one; the mean is determined if the
    number of images is a multiple of that of the classes. A class with a value and without an image (the attack failed
    on it) counts with as many images as the others have on average.

    Returns:
        ``None`` without a class, or if the stated counts do not fit.
    """
    counts = image_counts(metric)
    if counts is not None:
        return _weighted(metric, counts)
    present = sorted(value for value in metric.per_class if value is not None)
    if not present or metric.n < 1:
        return None
    rest = metric.n % len(present)
    if rest == 0:
        mean = sum(present) / len(present)
        return Average(mean, mean)
    base, total = metric.n // len(present), sum(present)
    low, high = base * total + sum(present[:rest]), base * total + sum(present[-rest:])
    return Average(low / metric.n, high / metric.n)


def _weighted(metric: MetricValue, counts: list[int]) -> Average | None:
    if not counts or metric.n < 1:
        return None
    pairs = [(value, count) for value, count in zip(metric.per_class, counts, strict=True) if value is not None]
    if sum(count for _, count in pairs) != metric.n:  # images of a class without a value
        return None
    delivered = sum(count > 0 for _, count in pairs)
    without = sum(value for value, count in pairs if not count)  # what classes count as that the attack failed on
    mean = (sum(value * count for value, count in pairs) / metric.n * delivered + without) / len(pairs)
    return Average(mean, mean)
