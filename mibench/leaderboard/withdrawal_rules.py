"""Rules about what was withdrawn (MB81x): notices are whole, records lie beside them, and none comes back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from mibench.leaderboard.finding import Finding, Problem
from mibench.leaderboard.layout import BoardFolder
from mibench.leaderboard.slot import differences, slot
from mibench.leaderboard.withdrawals import ENTRIES, NOTICE, Notice, Withdrawal, all_records, folders, read_notice
from mibench.results.display import printable
from mibench.results.io import RecordError, load_record, verify_digest
from mibench.results.record import Record

RESTORE = "restore what `mibench leaderboard withdraw` wrote, e.g. with git checkout"
CORRECT = "correct what was wrong, and run it again; other numbers for the cell are accepted"


class Barred(NamedTuple):
    """A withdrawn record, which does not come back."""

    record: Record
    notice: Notice


def barred(board: BoardFolder) -> Mapping[str, list[Barred]]:
    """Return the withdrawn records of a board by the place that they had on it.

    Raises:
        RecordError: for a damaged notice or record.
    """
    found: dict[str, list[Barred]] = {}
    for one, record in all_records(board):
        found.setdefault(slot(record), []).append(Barred(record, one.notice))
    return found


def comes_back(record: Record, known: Mapping[str, list[Barred]]) -> list[Finding]:
    """Say that a record was withdrawn: it, or another run of its cell with the same numbers; nothing if it was not.

    Args:
        record: what is, or is to be, on the board.
        known: see :func:`barred`.
    """
    for old in known.get(slot(record), ()):
        if old.record.digest == record.digest or not differences(old.record, record):
            notice = old.notice
            said = f"it was withdrawn on {notice.date} by {printable(notice.by, 80)}: {printable(notice.reason, 300)}"
            return [Finding("MB812", Problem("digest", said, CORRECT))]
    return []


def check_withdrawn(board: BoardFolder) -> Iterator[tuple[Path, list[Finding]]]:
    """Yield every notice of a board with what is wrong about it and its records."""
    for folder in folders(board):
        path = folder / NOTICE
        try:
            made = read_notice(board, folder)
        except RecordError as error:
            yield path, [Finding("MB810", Problem("file", str(error).removeprefix(f"{path} "), RESTORE))]
        else:
            yield path, list(_records(board, made))


def _records(board: BoardFolder, made: Withdrawal) -> Iterator[Finding]:
    for one in made.notice.records:
        path = made.place(one.file)
        board.require_own(path)
        try:
            record = load_record(path)
        except RecordError as error:
            yield Finding("MB811", Problem("records", str(error), RESTORE))
            continue
        if record.digest != one.digest or not verify_digest(record):
            yield Finding("MB811", Problem("records", f"{one.file} is not the record that the notice names", RESTORE))
    stated = {one.file for one in made.notice.records}
    there = {path.relative_to(made.folder / ENTRIES).as_posix() for path in (made.folder / ENTRIES).rglob("*.json")}
    for file in sorted(there - stated):
        yield Finding("MB811", Problem("records", f"the notice does not name {printable(file)}", RESTORE))
