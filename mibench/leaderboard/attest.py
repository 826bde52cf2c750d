"""Write attestations beside a board's entries: who ran them, and what somebody found who measured or ran them again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from mibench.api.errors import UsageError
from mibench.leaderboard.add import RefusedError
from mibench.leaderboard.agreement import RULES, statement
from mibench.leaderboard.attestation import Attestation, Kind, Party, Statement, attestations, save_attestation
from mibench.leaderboard.attestation_rules import findings
from mibench.leaderboard.layout import BoardFolder
from mibench.leaderboard.rules import check_record
from mibench.leaderboard.standing import Attested
from mibench.leaderboard.table_file import write_table
from mibench.results.io import label, load_record
from mibench.results.record import Record
from mibench.results.reports import EnvironmentReport
from mibench.store.locks import Locks

Found = tuple[Record, Record]
"""A published record, and what somebody found."""
Written = list[tuple[Path, Attestation]]
Judges = Literal["", "bundle", "own"]


@dataclass(frozen=True)
class Witness:
    """Who says something.

    Attributes:
        by: a name, and where to find them.
        party: what they have to do with the records.
        date: YYYY-MM-DD.
        note: what else there is to say.
    """

    by: str
    party: Party
    date: str
    note: str = ""


def repeated(paths: Iterable[Path], folder: Path) -> list[Found]:
    """Return records that somebody ran again, each after the entry of the same cell.

    Raises:
        UsageError: if a cell is not published, or if a file is the entry itself.
        RefusedError: if a record breaks a rule of the boards.
        RecordError: if a file is no record.
    """
    entries: dict[BoardFolder, dict[str, Record]] = {}
    pairs = []
    for path in paths:
        found = load_record(path)
        board = board_of(found, folder)
        if board not in entries:
            entries[board] = {record.cell.key: record for _, record in board.records()}
        published = entries[board].get(found.cell.key)
        if published is None:
            raise UsageError(
                f"{path}: its cell is not on the board of {board.id} in {folder}; there is nothing to repeat"
            )
        if found == published:
            raise UsageError(f"{path} is the entry itself, down to its timings; run its command again: {found.command}")
        loaded = board.protocol()
        if loaded and (broken := check_record(found, loaded)):
            raise RefusedError(f"{path}: {broken[0].id} {broken[0].text}")
        pairs.append((published, found))
    return pairs


def attest(
    kind: Literal["regraded", "reproduced"],
    pairs: Sequence[Found],
    folder: Path,
    who: Witness,
    *,
    judges: Judges = "",
) -> Written:
    """Compare what was found with what is published and write what came out, whatever it is.

    Args:
        kind: measured again, or run again.
        pairs: published records and what was found.
        folder: the leaderboards folder.
        who: who found it.
        judges: where judges came from.

    Returns:
        The attestations with their files, one for each board.

    Raises:
        RefusedError: if an attestation would break a rule; then none is written.
        UsageError: if there is no such board.
    """
    groups: defaultdict[BoardFolder, list[Found]] = defaultdict(list)
    for published, found in pairs:
        groups[board_of(published, folder)].append((published, found))
    made = {}
    for board, group in groups.items():
        said = [statement(kind, *pair) for pair in group]
        made[board] = _attestation(kind, board, said, who, judges, _environment([found for _, found in group]))
    return _write(made, folder)


def attest_ran(records: Sequence[Record], folder: Path, who: Witness) -> Written:
    """Write who ran some entries.

    Raises:
        RefusedError: if one of them is no entry.
    """
    groups: defaultdict[BoardFolder, list[Statement]] = defaultdict(list)
    for record in records:
        said = Statement(record=record.digest, cell=label(record)[:200])
        groups[board_of(record, folder)].append(said)
    made = {board: _attestation("ran", board, group, who, "", EnvironmentReport()) for board, group in groups.items()}
    return _write(made, folder)


def board_of(record: Record, folder: Path) -> BoardFolder:
    """Return the board that a record belongs to."""
    return BoardFolder(folder, record.protocol.name, record.protocol.version)


def _attestation(
    kind: Kind,
    board: BoardFolder,
    statements: Sequence[Statement],
    who: Witness,
    judges: Judges,
    environment: EnvironmentReport,
) -> Attestation:
    loaded = board.protocol()
    if loaded is None:
        raise UsageError(f"there is no board of {board.id} in {board.root}; name its leaderboards folder with --board")
    try:
        return Attestation(
            kind=kind,
            protocol=board.id,
            protocol_digest=loaded.digest,
            by=who.by,
            party=who.party,
            date=who.date,
            judges=judges,
            rule=RULES[kind],
            statements=list(statements),
            environment=environment,
            note=who.note,
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(f"--{'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def _environment(found: Sequence[Record]) -> EnvironmentReport:
    """Return what results were computed with: that of the first, marked if others had another one."""
    first, *others = [record.environment for record in found]
    if all(one == first for one in others):
        return first
    return first.model_copy(update={"note": "of the first record; others were computed otherwise"})


def _write(made: Mapping[BoardFolder, Attestation], folder: Path) -> Written:
    with Locks(folder).hold(".lock"):
        for board, one in made.items():
            loaded = board.protocol()
            entries = {record.digest: record for _, record in board.records()}
            attested = Attested([*attestations(board), one])
            broken = findings(one.file_name, one, loaded, entries, attested) if loaded else []
            if broken:
                told = "\n".join(f"{board.id}: {found.id} {found.text}" for found in broken[:5])
                raise RefusedError(f"nothing was attested:\n{told}")
        written = [(save_attestation(one, board), one) for board, one in made.items()]
        for board in made:
            write_table(folder, board)
    return written
