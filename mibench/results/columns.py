"""Finding numbers by what they are: accuracies, attack accuracies by evaluator, robust accuracies by radius."""

from __future__ import annotations

from collections.abc import Mapping

from mibench.api.column_names import read_name
from mibench.api.quantity import Quantity, Role, radius_text
from mibench.base.scalars import finite
from mibench.results.record import MetricValue


def quantity(name: str, metric: MetricValue | None = None) -> Quantity:
    """Return what a column is: what its record states, else what its name says.

    Args:
        name: the column's name.
        metric: its number, if there is one.
    """
    return metric.quantity if metric and metric.quantity else read_name(name)


def is_share(name: str, metric: MetricValue) -> bool:
    """Tell whether a column is a share of images: hits among some guesses, or images that withstand an attack."""
    meant = quantity(name, metric)
    return meant.k is not None or (meant.role == "robust_accuracy" and meant.radius is not None)


def radius(name: str, metric: MetricValue) -> float | None:
    """Return the radius of a robust accuracy in [0, 1] units; ``None`` for other columns, and without one.

    The metric's own ``details["eps"]`` is exact and comes first; names hold four digits.
    """
    meant = quantity(name, metric)
    if meant.role != "robust_accuracy" or meant.radius is None:
        return None
    stated = finite(metric.details.get("eps"))
    return meant.radius if stated is None else stated


def robust_columns(metrics: Mapping[str, MetricValue]) -> dict[str, MetricValue]:
    """Return robust accuracies by radius, smallest first; keys are the radius times 255 as text, e.g. ``"0.25"``."""
    radii = {name: radius(name, metrics[name]) for name in _with_role(metrics, "robust_accuracy")}
    found = [(eps, metrics[name]) for name, eps in radii.items() if eps is not None]
    return {radius_text(eps): value for eps, value in sorted(found, key=lambda item: item[0])}


def clean_accuracy(metrics: Mapping[str, MetricValue]) -> MetricValue | None:
    """Return the target's accuracy on clean held-out images; ``None`` if it was not measured."""
    found = (metrics[name] for name, meant in _with_role(metrics, "accuracy").items() if meant.k == 1)
    return next(found, None)


def attack_accuracies(metrics: Mapping[str, MetricValue]) -> dict[str, MetricValue]:
    """Return the top-1 attack accuracy under each evaluator; their mean, named ``""``, where it is all there is."""
    columns = _with_role(metrics, "attack_accuracy").items()
    found = {meant.evaluator: metrics[name] for name, meant in columns if meant.k == 1}
    return {judge: value for judge, value in found.items() if judge} or found


def _with_role(metrics: Mapping[str, MetricValue], role: Role) -> dict[str, Quantity]:
    """Return the columns of a role that are over the usual images and the whole ensemble of attacks."""
    meant = {name: quantity(name, metric) for name, metric in metrics.items()}
    return {name: q for name, q in meant.items() if q.role == role and not q.part and not q.attack}
