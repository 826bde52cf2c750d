"""What a metric's name says: ``base@k/judge`` is top-k under a judge, ``robust_acc@2`` has the radius 2/255."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from mibench.base.scalars import finite
from mibench.results.record import MetricValue

ATTACK_ACCURACY = "attack_acc"
ROBUST_ACCURACY = "robust_acc"
CLEAN_ACCURACY = "accuracy"
_TOP_K = re.compile(r"(?P<base>[^@]+)@(?P<k>\d{1,6})(?P<judge>/.*)?", re.DOTALL)
_ROBUST = re.compile(
    ROBUST_ACCURACY + r"@(?:eps=)?(?P<over>\d{1,6}(?:\.\d{1,12})?(?:e-?\d{1,2})?)(?:/(?P<under>\d{1,6}))?"
)


class TopK(NamedTuple):
    """A top-k column.

    Attributes:
        base: the metric, e.g. ``"attack_acc"``.
        k: how many guesses the judge has.
        judge: who judges, e.g. ``"resnet"``; empty if the name has none.
    """

    base: str
    k: int
    judge: str


def top_k(name: str) -> TopK | None:
    """Read a top-k column name; ``None`` for other names. ``accuracy`` alone is top-1.

    >>> top_k("attack_acc@5/resnet")
    TopK(base='attack_acc', k=5, judge='resnet')
    """
    if name == CLEAN_ACCURACY:
        return TopK(name, 1, "")
    found = _TOP_K.fullmatch(name)
    if not found or found["base"] == ROBUST_ACCURACY:
        return None
    return TopK(found["base"], int(found["k"]), (found["judge"] or "")[1:])


def epsilon(name: str, metric: MetricValue | None = None) -> float | None:
    """Return the radius of a robust-accuracy column in [0, 1] units; ``None`` for other columns.

    The metric's own ``details["eps"]`` is exact and comes first; the name is read as multiples of 1/255
    (``robust_acc@2``) or as a fraction (``robust_acc@eps=2/255``).
    """
    found = _ROBUST.fullmatch(name)
    if not found:
        return None
    stated = finite(metric.details.get("eps")) if metric else None
    if stated is not None:
        return stated
    return radius_in_name(name)


def radius_in_name(name: str) -> float | None:
    """Return the radius that a robust-accuracy column's name states, in [0, 1] units; ``None`` for other columns.

    >>> radius_in_name("robust_acc@eps=1/2")
    0.5
    """
    found = _ROBUST.fullmatch(name)
    return float(found["over"]) / (int(found["under"] or 255) or 255) if found else None


def robust_columns(metrics: Mapping[str, MetricValue]) -> dict[str, MetricValue]:
    """Return robust accuracies by radius, smallest first; keys are the radius times 255 as text, e.g. ``"0.25"``."""
    found = [(eps, value) for name, value in metrics.items() if (eps := epsilon(name, value)) is not None]
    return {f"{eps * 255:.4g}": value for eps, value in sorted(found, key=lambda item: item[0])}


def clean_accuracy(metrics: Mapping[str, MetricValue]) -> MetricValue | None:
    """Return the target's accuracy on clean held-out images; ``None`` if it was not measured."""
    return metrics.get(CLEAN_ACCURACY) or metrics.get(f"{CLEAN_ACCURACY}@1")


def attack_accuracies(metrics: Mapping[str, MetricValue]) -> dict[str, MetricValue]:
    """Return the top-1 attack accuracy under each evaluator; their mean, named ``""``, where it is all there is."""
    parsed = [(top_k(name), value) for name, value in metrics.items()]
    found = {at.judge: value for at, value in parsed if at and at.base == ATTACK_ACCURACY and at.k == 1}
    return {judge: value for judge, value in found.items() if judge} or found
