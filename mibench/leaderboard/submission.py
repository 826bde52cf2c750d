"""What records would be on the boards: the rules that continuous integration has, rows with their ranks, new files.

Nothing is written but in a temporary copy of the boards, and their older versions, that the records are for.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mibench.leaderboard.batch import Batch, Recheck
from mibench.leaderboard.board import ProtocolBoard, load_board, section_of
from mibench.leaderboard.check import record_files
from mibench.leaderboard.finding import Finding
from mibench.leaderboard.gaps import Gaps, gaps
from mibench.leaderboard.layout import BoardFolder, boards
from mibench.leaderboard.row import Row
from mibench.leaderboard.slug import row_slug
from mibench.leaderboard.verify import Checked, unreadable, verify
from mibench.protocol.load import LoadedProtocol
from mibench.results.io import RecordError, label, load_record
from mibench.results.record import Flag, Record

TAKEN = "MB203"


@dataclass(frozen=True)
class SubmittedRow:
    """A row that the records make, or belong to.

    Attributes:
        slug: its name in addresses.
        row: as it would be.
        before: as it is on the board without them; ``None`` for a new row.
        gaps: what it lacks.
        flags: those that the records bring.
    """

    slug: str
    row: Row
    before: Row | None
    gaps: Gaps
    flags: tuple[Flag, ...]


@dataclass(frozen=True)
class SubmittedBoard:
    """A board that records are for.

    Attributes:
        section: the board as it would be.
        rows: rows that the records make or belong to, in the order of the board.
        moved: other rows whose rank would change: name, rank before and after, 0 for none.
    """

    section: ProtocolBoard
    rows: tuple[SubmittedRow, ...]
    moved: tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class Submission:
    """Records and what they would be on the boards.

    Attributes:
        records: those that are submitted.
        refused: files that break a rule, with the rules; then there are no boards and no files.
        boards: the boards that they are for.
        files: new and changed files by path below the leaderboards folder, with slashes.
        present: how many of the records lie on the board already.
        left_out: undefended controls that a board has with other numbers, of another machine say.
    """

    records: tuple[Record, ...]
    refused: tuple[Checked, ...]
    boards: tuple[SubmittedBoard, ...] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)
    present: int = 0
    left_out: tuple[str, ...] = ()

    @property
    def incomplete(self) -> bool:
        """Whether a row lacks something."""
        return any(row.gaps for board in self.boards for row in board.rows)


def prepare(
    paths: Sequence[Path], folder: Path, texts: Mapping[str, str], recheck: Recheck | None = None
) -> Submission:
    """Look at records as a pull request would bring them.

    Args:
        paths: record files, or folders of them.
        folder: the leaderboards folder; nothing in it changes.
        texts: YAML of installed protocols by ``name@version``, for boards that do not exist yet.
        recheck: rules that need the installed components.

    Raises:
        UsageError: for a folder without any record.
        RecordError: for a damaged entry of a board.
    """
    found, refused = _read(paths)
    with tempfile.TemporaryDirectory() as made:
        stage, asked = Path(made), {(one.protocol.name, one.protocol.version) for _, one in found}
        for board in boards(folder):
            if board.name in {name for name, _ in asked}:  # entries are carried over from older versions
                shutil.copytree(board.path, stage / board.name / board.version)
        batch = Batch(stage, texts, recheck)
        kept, left_out = [], []
        for path, record in found:
            findings = batch.consider(record)
            if findings and _is_spare_control(record, findings, batch):
                left_out.append(f"{label(record)}: {findings[0].problem.text}")
            elif findings:
                refused.append(Checked(path, findings))
            else:
                kept.append(record)
        if refused:
            return Submission(tuple(kept), tuple(refused), left_out=tuple(left_out))
        entries = batch.write(kept) if kept else []
        asked_for = [board for board in boards(stage) if (board.name, board.version) in asked]
        refused = [one for board in asked_for for one in verify(stage, board.id) if one.findings]
        return Submission(
            records=tuple(kept),
            refused=tuple(refused),
            boards=tuple(_boards(asked_for, {record.digest for record in kept})) if not refused else (),
            files=dict(_new_files(stage, folder)) if not refused else {},
            present=sum((folder / entry.relative_to(stage)).is_file() for entry in dict.fromkeys(entries)),
            left_out=tuple(left_out),
        )


def _read(paths: Sequence[Path]) -> tuple[list[tuple[Path, Record]], list[Checked]]:
    """Read records, each once; what is none is refused."""
    found: dict[str, tuple[Path, Record]] = {}
    refused = []
    for path in dict.fromkeys(file for asked in paths for file in record_files(asked)):
        try:
            record = load_record(path)
        except RecordError as error:
            refused.append(Checked(path, [unreadable(error, path)]))
        else:
            found.setdefault(record.digest or str(path), (path, record))
    return list(found.values()), refused


def _is_spare_control(record: Record, findings: Sequence[Finding], batch: Batch) -> bool:
    """Tell whether a record is an undefended control that the board has already: every run makes one beside its own."""
    loaded = batch.protocol_of(record)
    plain = loaded is not None and record.cell.defense == loaded.protocol.undefended.name
    return plain and {finding.id for finding in findings} == {TAKEN}


def _boards(asked_for: Sequence[BoardFolder], digests: set[str]) -> Iterator[SubmittedBoard]:
    for board in asked_for:
        loaded = board.protocol()
        [section] = load_board(board.root, board.id).sections
        if loaded is not None:
            others = [record for _, record in board.records() if record.digest not in digests]
            yield _board(section, section_of(others, loaded), loaded, digests)


def _board(now: ProtocolBoard, before: ProtocolBoard, loaded: LoadedProtocol, digests: set[str]) -> SubmittedBoard:
    old = {row_slug(row): row for row in before.rows}
    rows, moved = [], []
    for row in now.rows:
        slug = row_slug(row)
        was = old.get(slug)
        if digests & {record.digest for record in row.records}:
            known = {flag.id for flag in was.flags} if was else set()
            lacking = gaps(row, digests, loaded.protocol, new=was is None)
            flags = tuple(flag for flag in row.flags if flag.id not in known)
            rows.append(SubmittedRow(slug, row, was, lacking, flags))
        elif was is not None and was.rank != row.rank:
            name = f"{row.defense} ({row.note})" if row.note else row.defense
            moved.append((name, was.rank, row.rank))
    return SubmittedBoard(now, tuple(rows), tuple(moved))


def _new_files(stage: Path, folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(stage.rglob("*")):
        name = path.relative_to(stage).as_posix()
        if not path.is_file() or any(part.startswith(".") for part in path.relative_to(stage).parts):
            continue
        content, there = path.read_bytes(), folder / name
        if not there.is_file() or there.read_bytes() != content:
            yield name, content
