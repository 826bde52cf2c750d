"""A leaderboard: the accepted records of protocol versions, summarised, sorted and ranked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mibench.leaderboard.layout import BoardFolder, choose
from mibench.leaderboard.rows import Row, flag_fewer, make_rows


@dataclass(frozen=True)
class ProtocolBoard:
    """The board of one protocol version.

    Attributes:
        protocol: ``name@version``.
        digest: digest of the frozen protocol.
        summary: one line about the protocol.
        headline: the leakage metric that ranks.
        seeds: seeds of a complete entry.
        rows: ranked rows, least leakage first.
    """

    protocol: str
    digest: str
    summary: str
    headline: str
    seeds: tuple[int, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Board:
    """One or more sections, each with its own ranking: numbers of different protocols are not comparable."""

    sections: tuple[ProtocolBoard, ...]

    @property
    def rows(self) -> tuple[Row, ...]:
        """The rows of all sections."""
        return tuple(row for section in self.sections for row in section.rows)


def load_board(folder: Path, protocol: str | None = None, *, by_attack: bool = False) -> Board:
    """Read the boards below a leaderboards folder.

    Args:
        folder: the leaderboards folder.
        protocol: ``name@version``, or ``name`` for its newest version; ``None`` for all that there are.
        by_attack: a row for each attack, baselines included, and no ranks.

    Raises:
        UsageError: if there is no board, or none of that name (with a suggestion).
        RecordError: for a damaged entry.
    """
    return Board(tuple(_section(board, by_attack) for board in choose(folder, protocol)))


def rank(rows: Sequence[Row]) -> list[Row]:
    """Sort rows, least leakage first, and give them ranks.

    A row shares the rank of the group's first row if their intervals overlap: read apart, the two do not say which
    leaks less, though paired by class they may (``scripts/paired_difference.py``). A row without an interval counts as
    a point. The next group's rank skips as many.
    Rows that are no result of a working defense within its threat model come last and keep rank 0.
    """
    ordered = sorted(
        rows,
        key=lambda row: (bool(row.unranked), _low_is_good(row.leakage.value, row), row.model, row.defense, row.note),
    )
    ranked: list[Row] = []
    leader: Row | None = None
    for place, row in enumerate(ordered, start=1):
        if row.unranked:
            ranked.append(row)
            continue
        if leader is None or not _overlap(leader, row):
            leader = replace(row, rank=place)
        ranked.append(replace(row, rank=leader.rank))
    return ranked


def _section(board: BoardFolder, by_attack: bool) -> ProtocolBoard:
    loaded = board.protocol()
    if loaded is None:  # choose() lists boards by this very file
        raise FileNotFoundError(board.protocol_file)
    protocol = loaded.protocol
    records = [record for _, record in board.records()]
    if by_attack:
        rows = [replace(row, rank=0) for row in rank(make_rows(records, each_attack=True))]
    else:
        rows = rank(flag_fewer(make_rows(records, protocol.attacks)))
    return ProtocolBoard(board.id, loaded.digest, protocol.summary, protocol.headline, protocol.seeds, tuple(rows))


def _low_is_good(value: float, row: Row) -> float:
    return -value if row.higher_is_better else value


def _overlap(one: Row, other: Row) -> bool:
    (low, high), (other_low, other_high) = (row.leakage.ci95 or (row.leakage.value,) * 2 for row in (one, other))
    return low <= other_high and other_low <= high
