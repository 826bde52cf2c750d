"""Check boards as they lie in their folders: entries that came by a pull request passed no ``add``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from mibench.leaderboard.attestation_rules import check_attestations
from mibench.leaderboard.batch import Recheck, check_all
from mibench.leaderboard.copies import other_copy
from mibench.leaderboard.finding import Finding, Problem
from mibench.leaderboard.layout import BoardFolder, choose
from mibench.leaderboard.origins import Origins
from mibench.leaderboard.slot import slot
from mibench.leaderboard.table_file import table_is_current
from mibench.leaderboard.withdrawal_rules import barred, check_withdrawn, comes_back
from mibench.protocol.load import LoadedProtocol
from mibench.results.io import RecordError
from mibench.results.record import Record

NO_RECORD, BEYOND_NUMBERS, UNREADABLE = "MB100", "MB615", "MB901"


class Checked(NamedTuple):
    """A file that was checked.

    Attributes:
        path: the file.
        findings: the rules that it breaks; empty if it is sound.
    """

    path: Path
    findings: Sequence[Finding]


def verify(folder: Path, protocol: str | None = None, recheck: Recheck | None = None) -> Iterator[Checked]:
    """Yield every file of the boards with what is wrong about it.

    Args:
        folder: the leaderboards folder.
        protocol: ``name@version``, or ``name`` for its newest version; ``None`` for all.
        recheck: rules that need the installed components; asked about records that break no other rule.

    Raises:
        UsageError: if there is no board, or none of that name.
    """
    for board in choose(folder, protocol):
        yield from _verify_one(folder, board, recheck)


def unreadable(error: RecordError, path: Path) -> Finding:
    """Return the finding of a file that is no record."""
    text = str(error).removeprefix(f"{path} ")
    return Finding(NO_RECORD, Problem("file", text, "add the file that the run wrote"))


def _verify_one(folder: Path, board: BoardFolder, recheck: Recheck | None) -> Iterator[Checked]:
    loaded = board.protocol()
    if loaded is None:  # choose() lists boards by this very file
        return
    taken: dict[str, Path] = {}
    origins = Origins(folder)
    first: tuple[Path, Record] | None = None
    withdrawn = [Checked(*one) for one in check_withdrawn(board)]
    gone = {} if any(one.findings for one in withdrawn) else barred(board)
    readable = computable = True
    published = {old.record.digest: old.record for place in gone.values() for old in place}
    for path in board.files():
        try:
            record = board.read(path)
        except RecordError as error:
            readable = False
            yield Checked(path, [unreadable(error, path)])
        else:
            first = first or (path, record)
            published[record.digest] = record
            found = _findings(path, record, loaded, taken, recheck)
            computable &= all(finding.id != BEYOND_NUMBERS for finding in found)
            found += comes_back(record, gone)
            found += [] if found else origins.findings(record)
            yield Checked(path, found + other_copy(record, first[1], first[0].name))
    yield from withdrawn
    if not readable or any(one.findings for one in withdrawn):
        return  # what was said of a damaged record cannot be told from what was said of nothing
    said = [Checked(path, found) for path, found in check_attestations(board, loaded, published)]
    yield from said
    if computable and not any(finding.id == UNREADABLE for one in said for finding in one.findings):
        yield Checked(board.table_file, _table(folder, board))


def _findings(
    path: Path, record: Record, loaded: LoadedProtocol, taken: dict[str, Path], recheck: Recheck | None
) -> list[Finding]:
    found = check_all(record, loaded, recheck)
    if slot(record) in taken:
        problem = Problem("cell", f"{taken[slot(record)].name} holds the same cell", "remove one of them")
        found.append(Finding("MB801", problem))
    taken.setdefault(slot(record), path)
    return found


def _table(folder: Path, board: BoardFolder) -> list[Finding]:
    if table_is_current(folder, board):
        return []
    remedy = f"`mibench leaderboard tables {board.id}` makes it again"
    return [Finding("MB802", Problem("file", "it is not made from the entries", remedy))]
