"""Rows against each other and against their own controls, paired by person and seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from mibench.leaderboard.met import Attacks
from mibench.leaderboard.variants import attack_digest
from mibench.results.display import difference
from mibench.results.families import smallest_difference
from mibench.results.intervals import Interval
from mibench.results.paired import ROUNDING, Comparison, compare
from mibench.results.people import Scores, scores_of
from mibench.results.record import Flag, Record

NOT_ABOVE = "not-above-lookalike"
"""Flag of a row that no attack lifts above public images that happen to look alike."""
LEVEL = 0.05


class Difference(NamedTuple):
    """A row's headline minus that of its undefended control, in units of the headline.

    Attributes:
        value: of the worst cases, without the bias of both maxima.
        ci95: 95 % interval; ``None`` with fewer than two people.
        p: two-sided p of no difference.
        bias: what was taken off.
        smallest: the smallest true difference that this comparison finds in four of five repetitions.
        attacks: the number of attacks behind it.
        people: the number of people.
        seeds: the seeds.
    """

    value: float
    ci95: Interval | None
    p: float | None
    bias: float
    smallest: float | None
    attacks: int
    people: int
    seeds: tuple[int, ...]


def scores_by_identity(attacks: Attacks, headline: str, which: str | None = None) -> Scores:
    """Return what leaked under a row's attacks, in their order; they are named by settings, as in every other row.

    Args:
        attacks: records by the row's own names of the attacks.
        headline: the column.
        which: a control of the records instead of their own numbers.
    """
    return scores_of({_identity(group): group for group in attacks.values()}, headline, which)


def to_undefended(attacks: Attacks, *, higher_is_better: bool) -> Difference | None:
    """Return how a row differs from plain training under its own attacks and seeds; ``None`` without that control."""
    made = _beside(attacks, "undefended")
    return _difference(made, higher_is_better=higher_is_better) if made else None


def not_above_lookalike(attacks: Attacks, *, higher_is_better: bool) -> Flag | None:
    """Return the flag of a row that is not above the lookalikes (paired, one-sided at 5 %); ``None`` without any."""
    made = _beside(attacks, "lookalike")
    if made is None or (made.p_above is not None and made.p_above < LEVEL):
        return None
    shown = _difference(made, higher_is_better=higher_is_better)
    text = difference(shown.value, shown.ci95)
    return Flag(id=NOT_ABOVE, text=f"no attack lifts it above public images that look alike ({text})")


def _beside(attacks: Attacks, which: str) -> Comparison | None:
    """Compare a row with one of its own controls."""
    first = next(iter(attacks.values()))[0]
    own, theirs = (scores_by_identity(attacks, first.protocol.headline, one) for one in (None, which))
    return compare(own, theirs)


def smallest_seen(found: Sequence[Difference | None]) -> float | None:
    """Return the median over rows of the smallest difference to the undefended target that a row can show."""
    sizes = sorted(one.smallest for one in found if one and one.smallest)
    return sizes[len(sizes) // 2] if sizes else None


def _difference(made: Comparison, *, higher_is_better: bool) -> Difference:
    sign = -1.0 if higher_is_better else 1.0
    ends = sorted(sign * end for end in made.ci95) if made.ci95 else None
    return Difference(
        value=sign * made.value,
        ci95=(ends[0], ends[1]) if ends else None,
        p=made.p,
        bias=sign * made.bias,
        smallest=smallest_difference(made.spread) if made.spread and made.spread.error > ROUNDING else None,
        attacks=len(made.attacks),
        people=made.people,
        seeds=made.seeds,
    )


def _identity(records: Sequence[Record]) -> str:
    return f"{records[0].cell.attack_label} {attack_digest(records[0])}"
