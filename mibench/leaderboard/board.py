"""A leaderboard: the accepted records of protocol versions, summarised, sorted and ranked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mibench.leaderboard.access import Access, narrowed
from mibench.leaderboard.attestation import attestations
from mibench.leaderboard.differences import smallest_seen
from mibench.leaderboard.layout import BoardFolder, choose
from mibench.leaderboard.ranks import in_order, rank
from mibench.leaderboard.row import Row
from mibench.leaderboard.rows import flag_fewer, make_rows
from mibench.leaderboard.standing import Attested
from mibench.leaderboard.withdrawals import Withdrawal, withdrawals
from mibench.protocol.load import LoadedProtocol
from mibench.results.record import Record


@dataclass(frozen=True)
class ProtocolBoard:
    """The board of one protocol version.

    Attributes:
        protocol: ``name@version``.
        digest: digest of the frozen protocol.
        summary: one line about the protocol.
        headline: the leakage metric that ranks.
        seeds: seeds of a complete entry.
        suite: attacks that a complete entry has met; empty if the protocol requires none.
        undefended: the defense that rows are compared with.
        smallest: the smallest true difference to it that a row can show with a power of 80 %, as a median over rows;
            ``None`` if that is not known.
        rows: ranked rows, least leakage first, then those without a rank.
        withdrawn: what was withdrawn from the board, oldest first.
        newer: ``name@version`` of the newest board of the protocol; empty if it is this one.
    """

    protocol: str
    digest: str
    summary: str
    headline: str
    seeds: tuple[int, ...]
    suite: tuple[str, ...]
    undefended: str
    smallest: float | None
    rows: tuple[Row, ...]
    withdrawn: tuple[Withdrawal, ...] = ()
    newer: str = ""

    @property
    def worst_case_over(self) -> str:
        """The attacks over which the worst case of a row is taken, in words."""
        if not self.suite:
            return "the attacks that each row met"
        return f"the required attack{'s' if self.suite[1:] else ''} ({', '.join(self.suite)})"


@dataclass(frozen=True)
class Board:
    """One or more sections, each with its own ranking: numbers of different protocols are not comparable."""

    sections: tuple[ProtocolBoard, ...]

    @property
    def rows(self) -> tuple[Row, ...]:
        """The rows of all sections."""
        return tuple(row for section in self.sections for row in section.rows)


def load_board(
    folder: Path, protocol: str | None = None, *, by_attack: bool = False, access: Access | None = None
) -> Board:
    """Read the boards below a leaderboards folder.

    Args:
        folder: the leaderboards folder.
        protocol: ``name@version``, or ``name`` for its newest version; ``None`` for all that there are.
        by_attack: a row for each attack, baselines included, and no ranks.
        access: rank what attackers achieve who see no more than this; ``None`` for all attackers.

    Raises:
        UsageError: if there is no board, or none of that name (with a suggestion).
        RecordError: for a damaged entry.
    """
    return Board(tuple(_section(board, by_attack, access) for board in choose(folder, protocol)))


def _section(board: BoardFolder, by_attack: bool, access: Access | None) -> ProtocolBoard:
    loaded = board.protocol()
    if loaded is None:  # choose() lists boards by this very file
        raise FileNotFoundError(board.protocol_file)
    records = [record for _, record in board.records()]
    section = section_of(records, loaded, by_attack=by_attack, access=access)
    rows = _attested(section.rows, Attested(attestations(board)))
    newest = choose(board.root, board.name)[0].id
    newer = newest if newest != board.id else ""
    return replace(section, rows=tuple(rows), withdrawn=tuple(withdrawals(board)), newer=newer)


def section_of(
    records: Sequence[Record], loaded: LoadedProtocol, *, by_attack: bool = False, access: Access | None = None
) -> ProtocolBoard:
    """Return the board that some records of a protocol would be. Arguments as for :func:`load_board`."""
    protocol = loaded.protocol
    if access:
        records, protocol = narrowed(records, protocol, access)
    if by_attack:
        rows = in_order(make_rows(records, protocol, each_attack=True))
    else:
        made = make_rows(records, protocol)
        rows = rank(made if protocol.suite else flag_fewer(made))
    return ProtocolBoard(
        protocol=loaded.id,
        digest=loaded.digest,
        summary=protocol.summary,
        headline=protocol.headline,
        seeds=protocol.seeds,
        suite=() if by_attack else protocol.suite,
        undefended=protocol.undefended.name,
        smallest=smallest_seen([row.difference for row in rows if row.defense != protocol.undefended.name]),
        rows=tuple(rows),
    )


def _attested(rows: Sequence[Row], attested: Attested) -> list[Row]:
    """Say how well rows are attested, and flag those that somebody disputes."""
    made = [(row, attested.standing(row.records)) for row in rows]
    return [
        replace(row, standing=standing, flags=(*row.flags, *([standing.flag] if standing.flag else [])))
        for row, standing in made
    ]
