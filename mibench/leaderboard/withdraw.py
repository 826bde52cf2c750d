"""Take entries from a board, in the open: they move beside a notice that says who did it, when and why."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from mibench.api.errors import UsageError
from mibench.base.files import sync_folder, write_atomic
from mibench.leaderboard.layout import BoardFolder
from mibench.leaderboard.table_file import write_table
from mibench.leaderboard.withdrawals import FOLDER, NOTICE, Notice, Withdrawal, WithdrawnFile, withdrawals
from mibench.store.locks import Locks


def withdraw(
    folder: Path, board: BoardFolder, entries: Sequence[Path], *, reason: str, by: str, date: str
) -> Withdrawal:
    """Move entries of one board to its withdrawn ones, and make its table anew.

    Copies and notice appear together, before anything is removed, so a crash loses nothing; the same call again ends
    it.

    Args:
        folder: the leaderboards folder.
        board: one of its boards.
        entries: files below the board's ``entries/``.
        reason: why, at most 2 000 letters.
        by: who withdraws them.
        date: ``YYYY-MM-DD``.

    Raises:
        UsageError: for entries that are not the board's, none at all, or a reason, name or date that will not do.
        RecordError: for a damaged entry or withdrawal.
    """
    with Locks(folder).hold(".lock"):
        files = sorted({_inside(board, path) for path in entries})
        made = _begun(board, files, (date, by, reason)) or _new(board, files, date=date, by=by, reason=reason)
        for one in made.left_in(board):
            (board.path / "entries" / one.file).unlink()
        write_table(folder, board)
    return made


def _begun(board: BoardFolder, files: Sequence[str], words: tuple[str, str, str]) -> Withdrawal | None:
    """Return a withdrawal in these words whose copies hold all of these entries as they are or were."""
    for made in withdrawals(board):
        notice = made.notice
        if (notice.date, notice.by, notice.reason) != words:
            continue
        kept = {one.file: one.digest for one in made.kept}
        if files and all(file in kept and _digest(board, file) in (None, kept[file]) for file in files):
            return made
    return None


def _digest(board: BoardFolder, file: str) -> str | None:
    """Return the digest of an entry; ``None`` if it is gone."""
    path = board.path / "entries" / file
    return board.read(path).digest if path.exists() else None


def _new(board: BoardFolder, files: Sequence[str], *, date: str, by: str, reason: str) -> Withdrawal:
    """Write copies and notice into a hidden folder, which then takes its name."""
    records = {file: board.read(board.path / "entries" / file) for file in files}
    stated = [WithdrawnFile(file=file, digest=record.digest) for file, record in records.items()]
    try:
        notice = Notice(date=date, by=by, reason=reason, records=tuple(stated))
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(f"a withdrawal's {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    made = Withdrawal(board.path / FOLDER / notice.id, notice)
    hidden = Withdrawal(made.folder.with_name(f".{notice.id}"), notice)
    for file in files:
        write_atomic(hidden.place(file), (board.path / "entries" / file).read_bytes())
    write_atomic(hidden.folder / NOTICE, notice.model_dump_json(indent=1) + "\n")
    hidden.folder.rename(made.folder)
    sync_folder(made.folder.parent)
    return made


def _inside(board: BoardFolder, path: Path) -> str:
    """Return an entry's path below ``entries/``."""
    home = (board.path / "entries").resolve()
    whole = path.resolve()
    if not whole.is_relative_to(home):
        raise UsageError(f"{path} is no entry of {board.id}; its entries lie in {board.path / 'entries'}")
    return whole.relative_to(home).as_posix()
