"""What a page needs to rank any choice of rows anew: the p of every pair, computed here and never in the browser."""

from __future__ import annotations

from collections.abc import Sequence

from mibench.leaderboard.differences import LEVEL
from mibench.leaderboard.ranks import p_of_more
from mibench.leaderboard.row import Row

MOST_ROWS = 150
"""Pairs grow with the square of the rows. Beyond this a page keeps the ranks of the whole board."""


def pairs(rows: Sequence[Row]) -> list[list[float]] | None:
    """Return, for each ranked row, the p of "it leaks as much" against each row before it.

    Correcting can only raise a p, so what is not below the level is 1. Six digits are kept.

    Args:
        rows: in the order of the board; those without a rank are left out.

    Returns:
        A triangle: as many lists as ranked rows, the first one empty; ``None`` for more than :data:`MOST_ROWS`.
    """
    ranked = [row for row in rows if not row.unranked]
    if len(ranked) > MOST_ROWS:
        return None
    return [[_short(p_of_more(row, anchor)) for anchor in ranked[:place]] for place, row in enumerate(ranked)]


def _short(p: float) -> float:
    return float(f"{p:.6g}") if p < LEVEL else 1.0
