"""Whether one value for each image, class after class, gives a column: its mean and those of its classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from statistics import fmean

from mibench.results.averages import image_counts
from mibench.results.record import MetricValue

ROUNDING = 1e-9


def gives(metric: MetricValue, values: Sequence[float], failed: int | None, blind: float = 0.0) -> bool:
    """Tell whether values of images are those of a column.

    Args:
        metric: the column.
        values: of at least one image.
        failed: on how many classes the attack failed; ``None`` if that is not known.
        blind: what a class counts as on which it failed, and which has no image.
    """
    stated = [value for value in metric.per_class if value is not None]
    without = sum(abs(value - blind) <= ROUNDING for value in stated)
    tried = [failed] if failed is not None else range(without + 1)
    return any(_fits(metric, stated, values, number, blind) for number in tried)


def _fits(metric: MetricValue, stated: list[float], values: Sequence[float], failed: int, blind: float) -> bool:
    """Tell whether values give a column and its classes, if the attack failed on that many."""
    delivered = len(stated) - failed
    if delivered < 1 or abs(metric.value - (fmean(values) * delivered + blind * failed) / len(stated)) > ROUNDING:
        return False
    counts = image_counts(metric)
    if counts is None and len(values) % delivered:  # as many images of each, up to one: which has more is not known
        return True
    sizes = [len(values) // delivered] * delivered if counts is None else [count for count in counts if count]
    if len(sizes) != delivered or sum(sizes) != len(values):
        return False
    means = [fmean(values[end - size : end]) for end, size in zip(accumulate(sizes), sizes, strict=True)]
    left = iter(stated)
    return all(_next(left, mean, blind) for mean in means) and all(abs(value - blind) <= ROUNDING for value in left)


def _next(left: Iterator[float], mean: float, blind: float) -> bool:
    """Go on to the class with that mean, past classes on which the attack may have failed."""
    for value in left:
        if abs(value - mean) <= ROUNDING:
            return True
        if abs(value - blind) > ROUNDING:
            break
    return False
