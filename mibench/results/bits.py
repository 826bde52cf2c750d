"""Identity bits: what the places of the right person among so many determine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import lgamma, log, log2

from mibench.base.scalars import finite
from mibench.results.agreement import Contradiction
from mibench.results.per_image import ROUNDING, gives
from mibench.results.record import MetricValue
from mibench.results.words import AMONG

PLACES, TIED = "own_ranks", "own_tied"
"""Details of a measurement in bits: the place of the right person for each image, class after class, 1 for the first;
and how many others share it, where anybody does: the place is the middle one then, and counts as any of theirs."""


def bits_agree(metrics: Mapping[str, MetricValue], failed: int | None = None) -> Iterator[Contradiction]:
    """Bits are at most log2 of the people among whom the right one is looked for, and those of its places.

    A class on which an attack failed counts as a blind guess. Columns in bits that state no number of people are
    something else.

    Args:
        metrics: columns of one place.
        failed: on how many classes the attack failed; ``None`` if that is not known.
    """
    for name, metric in metrics.items():
        if metric.unit == "bits" and AMONG in metric.details:
            yield from _bits_agree(name, metric, failed)


def _bits_agree(name: str, metric: MetricValue, failed: int | None) -> Iterator[Contradiction]:
    people = metric.details[AMONG]
    if type(people) is not int or people < 1:
        yield Contradiction(f"{name}.details.{AMONG}", "a number of people", people)
        return
    values = [metric.value, *(value for value in metric.per_class if value is not None)]
    beyond = [value for value in values if not -ROUNDING <= value <= log2(people) + ROUNDING]
    if beyond:
        yield Contradiction(name, f"bits from 0 to {log2(people)}, which tell {people} people apart", beyond[0])
    elif PLACES in metric.details:
        yield from _places_agree(name, metric, people, failed)


def _places_agree(name: str, metric: MetricValue, people: int, failed: int | None) -> Iterator[Contradiction]:
    stated = metric.details[PLACES]
    places = stated if isinstance(stated, list) else []
    tied = metric.details.get(TIED, [0] * len(places))
    if not isinstance(tied, list) or len(tied) != len(places):
        yield Contradiction(f"{name}.details.{TIED}", f"{len(places)} numbers of people, one for each place", tied)
        return
    bits = [_bits(place, others, people) for place, others in zip(places, tied, strict=True)]
    known = [value for value in bits if value is not None]
    if stated is not places or len(known) != len(bits):
        expected = f"places from 1 to {people}, halves only where an odd number of others is tied ({TIED})"
        yield Contradiction(f"{name}.details.{PLACES}", expected, stated)
    elif not known or len(known) != metric.n:
        yield Contradiction(f"{name}.n", f"{len(known)}, the number of its places", metric.n)
    elif not gives(metric, known, failed, _mean_bits(1, people, people)):
        expected = f"{sum(known) / len(known)} of its places, and its classes accordingly"
        yield Contradiction(f"{name}.value", expected, metric.value)


def _bits(place: object, tied: object, people: int) -> float | None:
    """Return what a place is worth; ``None`` if it is none."""
    middle = finite(place)
    if middle is None or type(tied) is not int or not 0 <= tied < people:
        return None
    first = middle - tied / 2
    if not first.is_integer() or not 1 <= first <= people - tied:
        return None
    return _mean_bits(int(first), int(first) + tied, people)


def _mean_bits(first: int, last: int, people: int) -> float:
    """Return the mean of log2(people) - log2(place) over places."""
    if first == last:
        return log2(people) - log2(first)
    return log2(people) - (lgamma(last + 1) - lgamma(first)) / log(2) / (last - first + 1)
