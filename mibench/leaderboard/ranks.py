"""Ranks: groups of rows that paired tests cannot tell from the best row of their group."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from mibench.leaderboard.differences import LEVEL
from mibench.leaderboard.row import Row
from mibench.results.families import holm
from mibench.results.paired import compare


def rank(rows: Sequence[Row]) -> list[Row]:
    """Sort rows, least leakage first, and give them ranks.

    The row with the least leakage is an anchor. Every row that a paired test on the attacks of both does not find to
    leak more (two-sided, 5 % by Holm over all pairs of the rows that are left) shares its rank. The best of the others
    is the next anchor, and its rank skips as many. Two rows of one rank were compared with the anchor, and not with
    each other; what has no attack in common cannot be told apart. All pairs count, and not the comparisons with the
    anchor alone, because any row might have become the anchor: the lowest of twenty equal rows is low by chance.
    Rows that are no result of a working defense within its threat model, or are incomplete, come last and keep rank 0.
    """
    ordered = in_order(rows)
    left = [row for row in ordered if not row.unranked]
    ranked: list[Row] = []
    while left:
        place = len(ranked) + 1
        apart = _apart(left[0], left[1:])
        ranked += [replace(row, rank=place) for row in left if not any(row is other for other in apart)]
        left = apart
    return [*ranked, *(row for row in ordered if row.unranked)]


def in_order(rows: Iterable[Row]) -> list[Row]:
    """Sort rows, least leakage first, and after all others those that have no rank."""
    return sorted(rows, key=_place)


def _apart(anchor: Row, others: Sequence[Row]) -> list[Row]:
    """Return the rows that leak more than the anchor, which is the lowest of them all."""
    p_values, number = [p_of_more(row, anchor) for row in others], len(others) + 1
    return [row for row, p in zip(others, holm(p_values, number * (number - 1) // 2), strict=True) if p < LEVEL]


def p_of_more(row: Row, anchor: Row) -> float:
    """Return the two-sided p of a row that leaks more than another; 1 if it does not, or nothing can tell."""
    made = compare(row.scores, anchor.scores)
    return 1.0 if made is None or made.p is None or made.value <= 0 else made.p


def _place(row: Row) -> tuple[bool, float, str, str, str]:
    value = -row.leakage.value if row.higher_is_better else row.leakage.value
    return bool(row.unranked), value, row.model, row.defense, row.note
