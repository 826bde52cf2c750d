"""What columns say about each other: ranks about shares of hits, judges about their mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import accumulate
from statistics import fmean
from typing import NamedTuple

from mibench.results.averages import COUNTS
from mibench.results.columns import ATTACK_ACCURACY, top_k
from mibench.results.record import MetricValue

_ROUNDING = 1e-9


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

    A column ``base@k`` may state in ``details["ranks"]`` how many classes its judge ranks before the right one, image
    by image and class after class; 0 is a hit. All columns of that base and judge are compared.

    Args:
        metrics: columns of one place.
        failed: on how many classes the attack failed; ``None`` if that is not known.
    """
    for name, metric in metrics.items():
        at, ranks = top_k(name), metric.details.get("ranks")
        if at is None or ranks is None:
            continue
        if not isinstance(ranks, list) or not all(type(rank) is int and rank >= 0 for rank in ranks):
            yield Contradiction(f"{name}.details.ranks", "whole numbers from 0 on", ranks)
        elif not ranks or len(ranks) != metric.n:
            yield Contradiction(f"{name}.n", f"{len(ranks)}, the number of its ranks", metric.n)
        else:
            family = {other: there for other in metrics if (there := top_k(other)) and there[::2] == at[::2]}
            for other, there in family.items():
                yield from _hits_agree(other, metrics[other], [rank < there.k for rank in ranks], failed)


def judges_agree(metrics: Mapping[str, MetricValue]) -> Iterator[Contradiction]:
    """Attack accuracy without a judge's name is the mean over judges, in total and class by class.

    So is every column ``base@k`` with ``details["evaluators"]``, which holds the value of each judge.
    """
    for name, metric in metrics.items():
        at = top_k(name)
        if at is None or at.judge:
            continue
        parts = {t.judge: metrics[o] for o in metrics if (t := top_k(o)) and t[:2] == at[:2] and t.judge}
        if not parts or (at.base != ATTACK_ACCURACY and "evaluators" not in metric.details):
            continue
        values = {judge: part.value for judge, part in sorted(parts.items())}
        mean = fmean(values.values())
        if abs(metric.value - mean) > _ROUNDING:
            yield Contradiction(f"{name}.value", f"{mean}, the mean over {', '.join(values)}", metric.value)
        if metric.details.get("evaluators", values) != values:
            yield Contradiction(f"{name}.details.evaluators", str(values), metric.details["evaluators"])
        for label, (own, *others) in enumerate(
            zip(metric.per_class, *(p.per_class for p in parts.values()), strict=False)
        ):
            present = [value for value in others if value is not None]
            expected = fmean(present) if len(present) == len(others) else None
            if (own is None) != (expected is None) or abs((own or 0.0) - (expected or 0.0)) > _ROUNDING:
                yield Contradiction(f"{name}.per_class.{label}", f"{expected}, the mean over {', '.join(values)}", own)


def _hits_agree(name: str, metric: MetricValue, hits: list[bool], failed: int | None) -> Iterator[Contradiction]:
    share = sum(hits) / len(hits)
    stated = [value for value in metric.per_class if value is not None]
    tried = [failed] if failed is not None else range(sum(value == 0 for value in stated) + 1)
    if not any(_fits(metric, stated, hits, number) for number in tried):
        yield Contradiction(f"{name}.value", f"{share} of its ranks, and its classes accordingly", metric.value)


def _fits(metric: MetricValue, stated: list[float], hits: list[bool], failed: int) -> bool:
    """Tell whether hits give a value and its classes, if the attack failed on some: those have no images, and 0."""
    delivered = len(stated) - failed
    if delivered < 1:
        return False
    counts = metric.details.get(COUNTS)
    if counts is None and len(hits) % delivered:  # as many images of each class, up to one: which has more is not known
        return abs(metric.value - sum(hits) / len(hits) * delivered / len(stated)) <= _ROUNDING
    sizes = [count for count in counts if count] if counts else [len(hits) // delivered] * delivered
    if len(sizes) != delivered or sum(sizes) != len(hits):
        return False
    ends = list(accumulate(sizes))
    shares = [sum(hits[end - size : end]) / size for end, size in zip(ends, sizes, strict=True)]
    if abs(metric.value - sum(hits) / len(hits) * delivered / len(stated)) > _ROUNDING:
        return False
    left = iter(stated)
    return all(_next(left, value) for value in shares) and not any(left)


def _next(left: Iterator[float], share: float) -> bool:
    """Go on to the class with that share, past classes without a hit."""
    for value in left:
        if abs(value - share) <= _ROUNDING:
            return True
        if value != 0:
            break
    return False
