"""Records that are considered together: what boards hold already, and what these would add."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mibench.api.errors import UsageError
from mibench.base.files import write_atomic
from mibench.leaderboard.copies import other_copy
from mibench.leaderboard.finding import Finding, Problem
from mibench.leaderboard.layout import BoardFolder
from mibench.leaderboard.origins import Origins
from mibench.leaderboard.rules import check_record
from mibench.leaderboard.slot import differences, slot
from mibench.leaderboard.table_file import write_table
from mibench.leaderboard.withdrawal_rules import Barred, barred, comes_back
from mibench.protocol.load import LoadedProtocol, parse_protocol
from mibench.results.io import RecordError, file_name, save_record
from mibench.results.record import Record

Recheck = Callable[[Record, LoadedProtocol], Sequence[Finding]]
"""Further rules, which need more than a record and its protocol (see ``mibench.assemble.recheck``)."""

UNCHANGED = "a published number never changes: raise the component's version, or withdraw the old entry"
CORRECTED = (
    "a published number never changes: what a newer metric measures belongs on the board of a new version of the"
    " protocol (`mibench leaderboard regrade --protocol NAME@VERSION`)"
)
REPORT = "open an issue: that happens once in 2^48 cells"


class DamagedEntryError(RecordError):
    """An entry of a board is damaged, so that nothing can be compared with the board.

    Attributes:
        path: the entry.
    """

    def __init__(self, path: Path, text: str) -> None:
        super().__init__(text)
        self.path = path


class Batch:
    """Records that are considered together.

    Args:
        folder: the leaderboards folder.
        texts: YAML of protocols by ``name@version``, for boards that have none yet.
        recheck: rules that need the installed components; asked about records that break no other rule.
    """

    def __init__(self, folder: Path, texts: Mapping[str, str], recheck: Recheck | None) -> None:
        self._folder, self._texts, self._recheck = folder, texts, recheck
        self._protocols: dict[BoardFolder, LoadedProtocol | None] = {}
        self._taken: dict[BoardFolder, dict[str, tuple[Path, Record]]] = {}
        self._barred: dict[BoardFolder, Mapping[str, list[Barred]]] = {}
        self._origins = Origins(folder)

    def consider(self, record: Record) -> list[Finding]:
        """Return why a record cannot be accepted; nothing if it can.

        Raises:
            DamagedEntryError: for a damaged entry of its board.
            RecordError: for a damaged withdrawal.
        """
        try:
            board = BoardFolder(self._folder, record.protocol.name, record.protocol.version)
        except UsageError as error:
            return [Finding("MB300", Problem("protocol", str(error), "run an installed protocol"))]
        protocol = self._protocol(board)
        if protocol is None:
            text = f"{board.id} has no frozen protocol here, and its YAML was not given"
            return [Finding("MB300", Problem("protocol", text, "install the plugin that brings it"))]
        found = check_all(record, protocol, self._recheck) or self._origins.findings(record)
        return found or self._claim(board, record)

    def write(self, records: Sequence[Record]) -> list[Path]:
        """Write what is new, then refresh the tables."""
        for board in self._taken:
            protocol = self._protocols[board]
            if protocol and not board.protocol_file.exists():
                write_atomic(board.protocol_file, protocol.text)
        entries = [self._entry(record) for record in records]
        for path, accepted in entries:
            if not path.exists():
                save_record(accepted, path.parent)
        for board in self._taken:
            write_table(self._folder, board)
        return [path for path, _ in entries]

    def places(self, records: Sequence[Record]) -> list[Path]:
        """Return where :meth:`write` puts records that were accepted, or where they are."""
        return [self._entry(record)[0] for record in records]

    def _entry(self, record: Record) -> tuple[Path, Record]:
        board = BoardFolder(self._folder, record.protocol.name, record.protocol.version)
        return self._taken[board][slot(record)]

    def protocol_of(self, record: Record) -> LoadedProtocol | None:
        """Return the protocol by which a record is judged; ``None`` if there is none."""
        with contextlib.suppress(UsageError):
            return self._protocol(BoardFolder(self._folder, record.protocol.name, record.protocol.version))
        return None

    def _protocol(self, board: BoardFolder) -> LoadedProtocol | None:
        if board not in self._protocols:
            frozen = board.protocol()
            text = self._texts.get(board.id)
            self._protocols[board] = frozen or (parse_protocol(text, source=board.id) if text else None)
        return self._protocols[board]

    def _entries(self, board: BoardFolder) -> dict[str, tuple[Path, Record]]:
        """Return what a board holds, by slot and by key: all of it, or an error."""
        if board not in self._taken:
            taken: dict[str, tuple[Path, Record]] = {}
            for path in board.files():
                try:
                    old = board.read(path)
                except RecordError as error:
                    raise DamagedEntryError(path, str(error)) from None
                taken[slot(old)] = taken[old.cell.key] = (path, old)
            self._taken[board] = taken
        return self._taken[board]

    def _claim(self, board: BoardFolder, record: Record) -> list[Finding]:
        if board not in self._barred:
            self._barred[board] = barred(board)
        if found := comes_back(record, self._barred[board]):
            return found
        taken = self._entries(board)
        for path, old in list(taken.values())[:1]:
            if found := other_copy(record, old, path.name):
                return found
        existing = taken.get(slot(record)) or taken.get(record.cell.key)
        if existing is None:
            entry = board.entry_folder(record.cell.defense) / file_name(record)
            board.require_own(entry)
            if any(entry == path for path, _ in taken.values()):
                problem = Problem("cell.key", f"{entry.name} belongs to another cell whose key begins alike", REPORT)
                return [Finding("MB202", problem)]
            taken[slot(record)] = taken[record.cell.key] = (entry, record)
            return []
        taken.setdefault(slot(record), existing)
        differing = differences(existing[1], record)
        if not differing:
            return []
        text = f"{existing[0].name} holds the same cell with other numbers ({'; '.join(differing[:3])})"
        remedy = CORRECTED if _measured_otherwise(existing[1], record) else UNCHANGED
        return [Finding("MB203", Problem("metrics", text, remedy))]


def check_all(record: Record, protocol: LoadedProtocol, recheck: Recheck | None) -> list[Finding]:
    """Return the rules that a record breaks; those that need components are asked when it breaks no other."""
    return check_record(record, protocol) or list(recheck(record, protocol) if recheck else ())


def _measured_otherwise(old: Record, new: Record) -> bool:
    """Tell whether two records differ in the versions of their metrics."""
    versions = [
        {role: part.version for role, part in record.components.items() if role.startswith("metric:")}
        for record in (old, new)
    ]
    return versions[0] != versions[1]
