"""Relations between numbers that hold whatever was measured. A violation is a sentence; no violation, no sentence."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import pairwise

from mibench.api.quantity import Quantity
from mibench.base.scalars import finite
from mibench.results.columns import clean_accuracy, quantity, robust_columns
from mibench.results.record import MetricValue

_ROUNDING = 1e-9


def accuracy_order(metrics: Mapping[str, MetricValue]) -> Iterator[str]:
    """More guesses never hit less: accuracy@1 <= accuracy@5 for the same metric and judge."""
    families: defaultdict[Quantity, list[tuple[int, str]]] = defaultdict(list)
    for name, metric in metrics.items():
        at = quantity(name, metric)
        if at.k is not None:
            families[at.family].append((at.k, name))
    for family in families.values():
        for (_, few), (_, many) in pairwise(sorted(family)):
            if metrics[few].value > metrics[many].value + _ROUNDING:
                yield f"{few} = {metrics[few].value:.4g} is above {many} = {metrics[many].value:.4g}"


def robust_order(metrics: Mapping[str, MetricValue]) -> Iterator[str]:
    """A larger radius contains the smaller one: robust accuracy never rises with it."""
    for (small, before), (large, after) in pairwise(robust_columns(metrics).items()):
        if after.value > before.value + _ROUNDING:
            yield (
                f"robust accuracy rises from {before.value:.4g} at eps {small}/255 to {after.value:.4g} at eps "
                f"{large}/255; an attack failed where it must succeed"
            )


def robust_below_clean(metrics: Mapping[str, MetricValue]) -> Iterator[str]:
    """A point that is misclassified unperturbed is not robust: robust accuracy <= accuracy on the same images.

    The robust metric states that accuracy in ``details["clean_accuracy"]``. Clean accuracy counts too where it was
    measured on as many held-out images; numbers from different images are not compared.
    """
    clean = clean_accuracy(metrics)
    for eps, robust in robust_columns(metrics).items():
        stated = finite(robust.details.get("clean_accuracy"))
        limits = [] if stated is None else [stated]
        if clean and clean.n == robust.n and robust.details.get("split", "heldout") == "heldout":
            limits.append(clean.value)
        if limits and robust.value > min(limits) + _ROUNDING:
            yield f"robust accuracy {robust.value:.4g} at eps {eps}/255 is above clean accuracy {min(limits):.4g}"
