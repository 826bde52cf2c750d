"""What a defense costs and what it buys: leakage against accuracy, and who is better in both."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mibench.leaderboard.row import Row
from mibench.leaderboard.rows import make_rows
from mibench.results.intervals import Interval
from mibench.results.record import Record


@dataclass(frozen=True)
class Point:
    """One defense in the plane of leakage and accuracy.

    Attributes:
        protocol: ``name@version``.
        model: architecture.
        defense: name, with its parameters where the same defense occurs more than once.
        leakage: headline, worst case over attacks, mean over seeds.
        accuracy: clean accuracy.
        robust: robust accuracy by radius times 255.
        leakage_saved: undefended leakage minus this one's, paired, without the bias of the maxima; positive is better,
            whichever way the headline runs.
        saved_ci95: its 95 % interval.
        dominated: whether another point of the same protocol and model is at least as good in both and better in one.
    """

    protocol: str
    model: str
    defense: str
    leakage: float
    accuracy: float
    robust: dict[str, float]
    leakage_saved: float | None
    saved_ci95: Interval | None
    dominated: bool


def trade_off(records: Iterable[Record]) -> list[Point]:
    """Return a point for each defense that has leakage and accuracy, least leakage first."""
    rows = [row for row in make_rows(records) if row.accuracy]
    rows.sort(key=lambda row: (row.protocol, row.model, _leak(row), -_accuracy(row)))
    return [_point(row, rows) for row in rows]


def _point(row: Row, rows: Sequence[Row]) -> Point:
    rivals = [other for other in rows if (other.protocol, other.model) == (row.protocol, row.model)]
    sign, gap = (1 if row.higher_is_better else -1), row.difference
    ends = sorted(sign * end for end in gap.ci95) if gap and gap.ci95 else None
    return Point(
        protocol=row.protocol,
        model=row.model,
        defense=f"{row.defense} ({row.note})" if row.note else row.defense,
        leakage=row.leakage.value,
        accuracy=_accuracy(row),
        robust={eps: made.value for eps, made in row.robust.items()},
        leakage_saved=sign * gap.value if gap else None,
        saved_ci95=(ends[0], ends[1]) if ends else None,
        dominated=any(_dominates(other, row) for other in rivals),
    )


def _dominates(one: Row, other: Row) -> bool:
    ours, theirs = (_leak(one), -_accuracy(one)), (_leak(other), -_accuracy(other))
    return ours != theirs and all(a <= b for a, b in zip(ours, theirs, strict=True))


def _leak(row: Row) -> float:
    return -row.leakage.value if row.higher_is_better else row.leakage.value


def _accuracy(row: Row) -> float:
    return row.accuracy.value if row.accuracy else 0.0
