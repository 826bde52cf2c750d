"""A row against its own controls, in units of its headline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from mibench.results.families import smallest_difference
from mibench.results.intervals import Interval
from mibench.results.normalize import headline
from mibench.results.paired import ROUNDING, Comparison, compare
from mibench.results.people import scores_of
from mibench.results.record import Record


class Difference(NamedTuple):
    """A row's headline minus that of one of its controls, in units of the headline.

    Attributes:
        value: of the worst cases, without the bias of both maxima.
        ci95: 95 % interval; ``None`` with fewer than two people.
        p: two-sided p of no difference.
        p_above: one-sided p of "the row leaks no more than the control".
        bias: what was taken off.
        smallest: the smallest true difference that this comparison finds in four of five repetitions.
        attacks: the number of attacks behind it.
        people: the number of people.
        seeds: the seeds.
    """

    value: float
    ci95: Interval | None
    p: float | None
    p_above: float | None
    bias: float
    smallest: float | None
    attacks: int
    people: int
    seeds: tuple[int, ...]


def to_control(attacks: Mapping[str, Sequence[Record]], which: str) -> Difference | None:
    """Return how a row differs from a control (gold, floor, undefended, lookalike) under the same attacks and seeds.

    Args:
        attacks: the row's records by attack.
        which: the control.

    Returns:
        ``None`` if the row has no headline, or none of that control.
    """
    records = [record for group in attacks.values() for record in group]
    leads = [metric for record in records if (metric := headline(record))]
    if not leads:
        return None
    name = records[0].protocol.headline
    made = compare(scores_of(attacks, name), scores_of(attacks, name, which))
    return _in_units(made, -1.0 if leads[0].higher_is_better else 1.0) if made else None


def _in_units(made: Comparison, sign: float) -> Difference:
    ends = sorted(sign * end for end in made.ci95) if made.ci95 else None
    known = made.spread is not None and made.spread.error > ROUNDING
    return Difference(
        value=sign * made.value,
        ci95=(ends[0], ends[1]) if ends else None,
        p=made.p,
        p_above=made.p_above,
        bias=sign * made.bias,
        smallest=smallest_difference(made.spread) if made.spread and known else None,
        attacks=len(made.attacks),
        people=made.people,
        seeds=made.seeds,
    )
