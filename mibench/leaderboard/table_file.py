"""``board.csv``: the table of a board as a file, made from its entries."""

from __future__ import annotations

from pathlib import Path

from mibench.base.files import write_atomic
from mibench.leaderboard.board import load_board
from mibench.leaderboard.layout import BoardFolder, choose
from mibench.leaderboard.render import to_csv
from mibench.store.locks import Locks


def table_is_current(root: Path, board: BoardFolder) -> bool:
    """Tell whether the file says what the entries say; ends of lines do not count."""
    stated = board.table_file.read_bytes() if board.table_file.is_file() else b""
    return stated.splitlines() == _text(root, board).encode("utf-8").splitlines()


def write_table(root: Path, board: BoardFolder) -> None:
    """Make the file from the entries; whoever calls holds the lock of the leaderboards folder."""
    write_atomic(board.table_file, _text(root, board))


def refresh_tables(root: Path, protocol: str | None = None) -> list[Path]:
    """Make the tables of boards again where they are out of date, and return those files.

    Entries are believed: `mibench leaderboard check` is what judges them.

    Args:
        root: the leaderboards folder.
        protocol: ``name@version``, or the newest version of ``name``; all boards by default.

    Raises:
        UsageError: if there is no such board.
        RecordError: for a damaged entry.
    """
    with Locks(root).hold(".lock"):
        stale = [board for board in choose(root, protocol) if not table_is_current(root, board)]
        for board in stale:
            write_table(root, board)
    return [board.table_file for board in stale]


def _text(root: Path, board: BoardFolder) -> str:
    return to_csv(load_board(root, board.id))
