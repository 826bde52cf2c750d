"""Accepted records of a protocol version; never imports torch."""

from mibench.leaderboard.add import RefusedError, add_records
from mibench.leaderboard.board import Board, load_board
from mibench.leaderboard.check import check_paths
from mibench.leaderboard.render import to_csv, to_json
from mibench.leaderboard.tables import to_markdown, to_table
from mibench.leaderboard.verify import verify

__all__ = [
    "Board",
    "RefusedError",
    "add_records",
    "check_paths",
    "load_board",
    "to_csv",
    "to_json",
    "to_markdown",
    "to_table",
    "verify",
]
