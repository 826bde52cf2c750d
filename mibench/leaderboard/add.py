"""Accept records onto a board: all of them or none, each checked, nothing ever overwritten."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from mibench.api.errors import MibenchError
from mibench.base.files import write_atomic
from mibench.leaderboard.board import load_board
from mibench.leaderboard.copies import other_copy
from mibench.leaderboard.finding import Finding
from mibench.leaderboard.layout import BoardFolder
from mibench.leaderboard.render import to_csv
from mibench.leaderboard.rules import check_record
from mibench.leaderboard.variants import component_digest
from mibench.protocol.load import LoadedProtocol, parse_protocol
from mibench.results.display import printable
from mibench.results.io import file_name, load_record, save_record
from mibench.results.record import MetricValue, Record
from mibench.store.locks import Locks


class RefusedError(MibenchError):
    """Records that a board does not accept; one line for each file and broken rule."""


Recheck = Callable[[Record, LoadedProtocol], Sequence[Finding]]
"""Further rules, which need more than a record and its protocol (see ``mibench.assemble.recheck``)."""


def add_records(
    paths: Sequence[Path],
    folder: Path,
    protocol_texts: Mapping[str, str] | None = None,
    recheck: Recheck | None = None,
) -> list[Path]:
    """Check records and put them on their boards.

    A record whose numbers are already there is left alone. One whose cell is there with other numbers is refused.

    Args:
        paths: record files.
        folder: the leaderboards folder; it is made if need be.
        protocol_texts: YAML of protocols by ``name@version``; frozen beside the first entry of each.
        recheck: rules that need the installed components; asked about records that break no other rule.

    Returns:
        The entry of each record, in the order of ``paths``.

    Raises:
        RefusedError: if any record breaks a rule; then nothing was written.
        RecordError: if a file is not a record.
    """
    records = [(path, load_record(path)) for path in paths]
    folder.mkdir(parents=True, exist_ok=True)
    with Locks(folder).hold(".lock"):
        batch = _Batch(folder, protocol_texts or {}, recheck)
        problems = [
            f"{path}: {printable(problem, 500)}" for path, record in records for problem in batch.consider(record)
        ]
        if problems:
            raise RefusedError("nothing was added:\n" + "\n".join(problems))
        return batch.write([record for _, record in records])


class _Batch:
    """Records that are considered together: what boards hold already, and what this batch would add."""

    def __init__(self, folder: Path, texts: Mapping[str, str], recheck: Recheck | None) -> None:
        self._folder, self._texts, self._recheck = folder, texts, recheck
        self._protocols: dict[BoardFolder, LoadedProtocol | None] = {}
        self._taken: dict[BoardFolder, dict[str, tuple[Path, Record]]] = {}

    def consider(self, record: Record) -> Iterable[str]:
        """Return why a record cannot be accepted; nothing if it can."""
        board = BoardFolder(self._folder, record.protocol.name, record.protocol.version)
        protocol = self._protocol(board)
        if protocol is None:
            return [f"MB300 {board.id} has no frozen protocol here, and its YAML was not given"]
        found: Sequence[Finding] = check_record(record, protocol)
        if not found and self._recheck:
            found = self._recheck(record, protocol)
        if found:
            return [f"{finding.id} {finding.text}" for finding in found]
        return self._claim(board, record)

    def write(self, records: Sequence[Record]) -> list[Path]:
        """Write what is new, then refresh the tables."""
        entries = []
        for board in self._taken:
            protocol = self._protocols[board]
            if protocol and not board.protocol_file.exists():
                write_atomic(board.protocol_file, protocol.text)
        for record in records:
            board = BoardFolder(self._folder, record.protocol.name, record.protocol.version)
            path, accepted = self._taken[board][slot(record)]
            if not path.exists():
                save_record(accepted, path.parent)
            entries.append(path)
        for board in self._taken:
            write_atomic(board.table_file, to_csv(load_board(self._folder, board.id)))
        return entries

    def _protocol(self, board: BoardFolder) -> LoadedProtocol | None:
        if board not in self._protocols:
            frozen = board.protocol()
            text = self._texts.get(board.id)
            self._protocols[board] = frozen or (parse_protocol(text, source=board.id) if text else None)
        return self._protocols[board]

    def _claim(self, board: BoardFolder, record: Record) -> list[str]:
        taken = self._taken.setdefault(board, {})
        if not taken:
            for path, old in board.records():
                taken[slot(old)] = taken[old.cell.key] = (path, old)
        if taken and (told := other_copy(record, (first := next(iter(taken.values())))[1], first[0].name)):
            return [told]
        existing = taken.get(slot(record)) or taken.get(record.cell.key)
        if existing is None:
            entry = board.entry_folder(record.cell.defense) / file_name(record)
            board.require_own(entry)
            if any(entry == path for path, _ in taken.values()):
                return [f"MB202 {entry.name} belongs to another cell whose key begins alike"]
            taken[slot(record)] = taken[record.cell.key] = (entry, record)
            return []
        taken.setdefault(slot(record), existing)
        differing = _differences(existing[1], record)
        if not differing:
            return []
        return [
            f"MB203 {existing[0].name} holds the same cell with other numbers ({'; '.join(differing[:3])}). A "
            "published number never changes: raise the component's version, or withdraw the old entry"
        ]


def slot(record: Record) -> str:
    """What a board has room for once: a second run of it is a repetition, however its key came about."""
    cell = record.cell
    parts = [cell.model, *(component_digest(record, role) for role in ("model", "defense", "attack")), str(cell.seed)]
    return "/".join(parts)


def _differences(old: Record, new: Record) -> list[str]:
    before, after = _numbers(old), _numbers(new)
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return [f"{name} {before.get(name)} there, {after.get(name)} here" for name in names]


def _numbers(record: Record) -> dict[str, float]:
    parts: dict[str, Mapping[str, MetricValue]] = {"": record.metrics}
    parts.update({f"{name}: ": metrics for name, metrics in record.controls.items()})
    return {f"{prefix}{name}": metric.value for prefix, metrics in parts.items() for name, metric in metrics.items()}
