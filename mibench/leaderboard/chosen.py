"""Entries that somebody means: by file, or by the name or address of a row's page."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from mibench.api.errors import UsageError, unknown
from mibench.leaderboard.board import load_board
from mibench.leaderboard.layout import BoardFolder, boards, choose
from mibench.leaderboard.slug import row_slug
from mibench.leaderboard.withdrawals import withdrawals

_ADDRESS = re.compile(r"(?:.*/)?([a-z0-9][a-z0-9._+-]*)[/@](\d+\.\d+)/(?:rows/)?([a-z0-9._-]+?)(?:\.html)?")


def chosen_entries(asked: Sequence[str], folder: Path) -> Mapping[BoardFolder, list[Path]]:
    """Return the entries that are meant, by board.

    Args:
        asked: files of entries, gone ones too while their withdrawal has not come to its end; names of rows
            (``smallcnn-atat-3f2a9c1b8d7e``), with their board where several have such a row
            (``orl64@1.0/smallcnn-atat-…``), or addresses of their pages.
        folder: the leaderboards folder.

    Raises:
        UsageError: for a row or file that no board has, or a name that several boards or rows have.
        RecordError: for a damaged entry or withdrawal.
    """
    found: dict[BoardFolder, list[Path]] = {}
    for one in asked:
        board, entries = _entry(Path(one), folder) if one.endswith(".json") else _row(one, folder)
        own = found.setdefault(board, [])
        own += [path for path in entries if path not in own]
    return found


def _entry(path: Path, folder: Path) -> tuple[BoardFolder, list[Path]]:
    for board in boards(folder):
        for entry in board.files():
            if path.resolve() == entry.resolve():
                return board, [entry]
        if _was_cut_off(board, path.resolve()):
            return board, [path]
    raise UsageError(f"{path} is no entry of a board of {folder}; expected {folder}/<protocol>/<version>/entries/…")


def _was_cut_off(board: BoardFolder, path: Path) -> bool:
    """Tell whether an entry is gone by a withdrawal that did not come to its end."""
    home = (board.path / "entries").resolve()
    if not path.is_relative_to(home):
        return False
    begun = [one for one in withdrawals(board) if one.left_in(board)]
    return any(home / record.file == path for one in begun for record in one.kept)


def _row(asked: str, folder: Path) -> tuple[BoardFolder, list[Path]]:
    address = _ADDRESS.fullmatch(asked)
    places = choose(folder, f"{address[1]}@{address[2]}" if address else None)
    name = address[3] if address else asked.removesuffix(".html")
    rows = [(board, slug, entries) for board in places for slug, entries in _rows(board, folder)]
    found = [(board, entries) for board, slug, entries in rows if slug == name]
    if not found:
        raise unknown("row", name, sorted({slug for _, slug, _ in rows}))
    having = list(dict.fromkeys(board for board, _ in found))
    if len(having) > 1:
        listed = ", ".join(f"{board.id}/{name}" for board in having)
        raise UsageError(f"several boards have a row {name}; say which: {listed}")
    if len(found) > 1:
        home = having[0].path / "entries"
        raise UsageError(f"{having[0].id} has {len(found)} rows {name}; name the files of entries instead, in {home}")
    return found[0]


def _rows(board: BoardFolder, folder: Path) -> list[tuple[str, list[Path]]]:
    """Return the name of the page of each row of a board, and its entries."""
    places = {record.digest: path for path, record in board.records()}
    [section] = load_board(folder, board.id).sections
    return [(row_slug(row), [places[record.digest] for record in row.records]) for row in section.rows]
