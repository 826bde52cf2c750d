"""What columns say about each other: ranks about shares of hits, judges about their mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from statistics import fmean
from typing import NamedTuple

from mibench.api.quantity import Quantity
from mibench.results.columns import quantity
from mibench.results.per_image import ROUNDING, gives
from mibench.results.record import MetricValue


class Contradiction(NamedTuple):
    """Two numbers that cannot both be true.

    Attributes:
        field: where the second stands, e.g. ``"accuracy@5.value"``.
        expected: what the first says, in words.
        got: the second.
    """

    field: str
    expected: str
    got: object


def ranks_agree(metrics: Mapping[str, MetricValue], failed: int | None = None) -> Iterator[Contradiction]:
    """Ranks of images determine the share of hits at any number of guesses.

    A share of hits may state in ``details["ranks"]`` how many classes its judge ranks before the right one, image by
    image and class after class; 0 is a hit. All columns of its family are compared.

    Args:
        metrics: columns of one place.
        failed: on how many classes the attack failed; ``None`` if that is not known.
    """
    for name, metric in metrics.items():
        at, ranks = quantity(name, metric), metric.details.get("ranks")
        if at.k is None or ranks is None:
            continue
        if not isinstance(ranks, list) or not all(type(rank) is int and rank >= 0 for rank in ranks):
            yield Contradiction(f"{name}.details.ranks", "whole numbers from 0 on", ranks)
        elif not ranks or len(ranks) != metric.n:
            yield Contradiction(f"{name}.n", f"{len(ranks)}, the number of its ranks", metric.n)
        else:
            for other, k in _family(metrics, at).items():
                hits = [float(rank < k) for rank in ranks]
                if not gives(metrics[other], hits, failed):
                    expected = f"{fmean(hits)} of its ranks, and its classes accordingly"
                    yield Contradiction(f"{other}.value", expected, metrics[other].value)


def judges_agree(metrics: Mapping[str, MetricValue]) -> Iterator[Contradiction]:
    """Attack accuracy without a judge's name is the mean over judges, in total and class by class.

    So is every share of hits with ``details["evaluators"]``, which holds the value of each judge.
    """
    for name, metric in metrics.items():
        at = quantity(name, metric)
        if at.k is None or at.evaluator:
            continue
        parts = _by_evaluator(metrics, at)
        if not parts or (at.role != "attack_accuracy" and "evaluators" not in metric.details):
            continue
        values = {judge: part.value for judge, part in sorted(parts.items())}
        mean = fmean(values.values())
        if abs(metric.value - mean) > ROUNDING:
            yield Contradiction(f"{name}.value", f"{mean}, the mean over {', '.join(values)}", metric.value)
        if metric.details.get("evaluators", values) != values:
            yield Contradiction(f"{name}.details.evaluators", str(values), metric.details["evaluators"])
        for label, (own, *others) in enumerate(
            zip(metric.per_class, *(p.per_class for p in parts.values()), strict=False)
        ):
            present = [value for value in others if value is not None]
            expected = fmean(present) if len(present) == len(others) else None
            if (own is None) != (expected is None) or abs((own or 0.0) - (expected or 0.0)) > ROUNDING:
                yield Contradiction(f"{name}.per_class.{label}", f"{expected}, the mean over {', '.join(values)}", own)


def _family(metrics: Mapping[str, MetricValue], at: Quantity) -> dict[str, int]:
    """Return the number of guesses of each column that counts hits among the same ranks, by name."""
    meant = {name: quantity(name, metric) for name, metric in metrics.items()}
    return {name: q.k for name, q in meant.items() if q.k is not None and q.family == at.family}


def _by_evaluator(metrics: Mapping[str, MetricValue], mean: Quantity) -> dict[str, MetricValue]:
    """Return the columns that a mean over evaluators is of, by evaluator."""
    meant = {name: quantity(name, metric) for name, metric in metrics.items()}
    return {
        q.evaluator: metrics[name]
        for name, q in meant.items()
        if q.evaluator and replace(q.named(), evaluator="") == mean.named()
    }
