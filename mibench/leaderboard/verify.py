"""Check boards as they lie in their folders: entries that came by a pull request passed no ``add``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mibench.leaderboard.add import Recheck, slot
from mibench.leaderboard.board import load_board
from mibench.leaderboard.copies import other_copy
from mibench.leaderboard.layout import BoardFolder, choose
from mibench.leaderboard.render import to_csv
from mibench.leaderboard.rules import check_record
from mibench.protocol.load import LoadedProtocol
from mibench.results.record import Record


def verify(folder: Path, protocol: str | None = None, recheck: Recheck | None = None) -> Iterator[tuple[Path, str]]:
    """Yield every file of the boards with what is wrong about it; an empty text if nothing is.

    Args:
        folder: the leaderboards folder.
        protocol: ``name@version``, or ``name`` for its newest version; ``None`` for all.
        recheck: rules that need the installed components; asked about records that break no other rule.

    Raises:
        UsageError: if there is no board, or none of that name.
        RecordError: for a file that is no record.
    """
    for board in choose(folder, protocol):
        yield from _verify_one(folder, board, recheck)


def _verify_one(folder: Path, board: BoardFolder, recheck: Recheck | None) -> Iterator[tuple[Path, str]]:
    loaded = board.protocol()
    if loaded is None:  # choose() lists boards by this very file
        return
    taken: dict[str, Path] = {}
    first: tuple[Path, Record] | None = None
    for path, record in board.records():
        problems = _problems(record, loaded, recheck)
        if slot(record) in taken:
            problems.append(f"MB801 {taken[slot(record)].name} holds the same cell; remove one of them")
        taken.setdefault(slot(record), path)
        first = first or (path, record)
        problems += [told] if (told := other_copy(record, first[1], first[0].name)) else []
        yield path, "; ".join(problems)
    stated = board.table_file.read_text(encoding="utf-8") if board.table_file.is_file() else ""
    made = to_csv(load_board(folder, board.id))
    fits = stated.splitlines() == made.splitlines()
    yield board.table_file, "" if fits else "MB802 it is not made from the entries; `mibench leaderboard add` makes it"


def _problems(record: Record, loaded: LoadedProtocol, recheck: Recheck | None) -> list[str]:
    found = list(check_record(record, loaded))
    if not found and recheck:
        found = list(recheck(record, loaded))
    return [f"{finding.id} {finding.text}" for finding in found]
