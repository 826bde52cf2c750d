"""Entries and a newer version of their protocol: carried over, measured again, or left where they are.

What becomes of them is the class that the version declares, after it was compared with the files. The older board is
only read. Doing it again adds what has come since.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

from mibench.api.errors import UsageError
from mibench.leaderboard.batch import Batch, Recheck
from mibench.leaderboard.finding import Problem
from mibench.leaderboard.layout import BoardFolder
from mibench.leaderboard.met import completing_command
from mibench.leaderboard.slot import slot
from mibench.leaderboard.variants import component_digest
from mibench.protocol.changes import Difference, declared, differences, told
from mibench.protocol.follows import ChangeClass
from mibench.protocol.load import LoadedProtocol
from mibench.results.io import load_record
from mibench.results.record import Origin, Record
from mibench.store.locks import Locks

NO_ORIGIN = "measure the bundle of an entry again: mibench leaderboard regrade"


class Carrier(Protocol):
    """What knows the installed components (``mibench.assemble.carry``)."""

    def carry(self, record: Record) -> Record | Problem:
        """Return a record as one of the newer version, or why it is none."""

    def stands(self, record: Record) -> Problem | None:
        """Say why target or reconstructions of a record do not stand under the newer version."""


class Left(NamedTuple):
    """An entry, or a file, that did not come along.

    Attributes:
        path: its file.
        problem: why.
    """

    path: Path
    problem: Problem


@dataclass
class Migration:
    """What a version means for the entries of the one before.

    Attributes:
        old: ``name@version`` before.
        new: ``name@version`` now.
        change: the declared class.
        why: the declared reason.
        differences: the fields that differ.
        carried: entries that came onto the new board, or would in a dry run, with what they were.
        there: entries of the new board that were on it already.
        left: what did not come along.
        regrade: entries whose reconstructions stand and are to be measured again.
        commands: what fills the new board with what was neither carried nor can be measured again.
    """

    old: str
    new: str
    change: ChangeClass
    why: str
    differences: list[Difference]
    carried: dict[Path, Path] = field(default_factory=dict)
    there: dict[Path, Path] = field(default_factory=dict)
    left: list[Left] = field(default_factory=list)
    regrade: list[Path] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)


def older_version(root: Path, new: LoadedProtocol, stated: str | None) -> LoadedProtocol:
    """Return the frozen protocol of the board that a version follows.

    Args:
        root: the leaderboards folder.
        new: the newer version.
        stated: ``name@version`` that the user gave; ``None`` for what the version declares.

    Raises:
        UsageError: if neither says it, or there is no such board.
    """
    follows = new.protocol.follows
    wanted = stated or (follows.protocol if follows else "")
    if not wanted:
        raise UsageError(
            f"{new.protocol.id} does not say what it follows. Name a version with --from, and the message will say what"
            " its file needs"
        )
    name, _, version = wanted.partition("@")
    old = BoardFolder(root, name, version).protocol()
    if old is None:
        raise UsageError(f"{root} has no board of {wanted}, so there is nothing to migrate")
    return old


def migrate(
    root: Path,
    old: LoadedProtocol,
    new: LoadedProtocol,
    carrier: Carrier,
    *,
    recheck: Recheck | None = None,
    regraded: Sequence[Path] = (),
    dry_run: bool = False,
) -> Migration:
    """Take the entries of a board to a newer version of its protocol, by the class of the change.

    Args:
        root: the leaderboards folder.
        old: the frozen protocol of the older board.
        new: the newer version.
        carrier: plans cells under both.
        recheck: rules that need the installed components.
        regraded: records that measured reconstructions of the older board again under the newer version; they are
            linked with the entries that they come from, and added.
        dry_run: only say what would happen.

    Raises:
        UsageError: if the declaration does not fit what differs, or the new board has another protocol of that name.
        RecordError: for a damaged entry, or a file that is no record.
    """
    follows, found = declared(old, new)
    _require_same(root, new)
    done = Migration(old.protocol.id, new.protocol.id, follows.change, follows.why, found)
    entries = list(_folder(root, old).records())
    if regraded and follows.change != "regradable":
        raise UsageError(f"{done.new} declares its change as {follows.change}; nothing is measured again for it")
    if dry_run:
        batch = Batch(root, {done.new: new.text}, recheck)
        _place(done, _consider(done, entries, new, carrier, regraded, batch), batch.places, _folder(root, new))
        return done
    root.mkdir(parents=True, exist_ok=True)
    with Locks(root).hold(".lock"):
        batch = Batch(root, {done.new: new.text}, recheck)
        _place(done, _consider(done, entries, new, carrier, regraded, batch), batch.write, _folder(root, new))
    return done


def _consider(
    done: Migration,
    entries: Sequence[tuple[Path, Record]],
    new: LoadedProtocol,
    carrier: Carrier,
    regraded: Sequence[Path],
    batch: Batch,
) -> list[tuple[Path, Record]]:
    """Return what would come onto the new board, and note what becomes of the rest."""
    made = _sort(done, entries, new, carrier, lambda record: [one.problem for one in batch.consider(record)])
    return made + _linked(done, entries, regraded, batch)


def _place(
    done: Migration,
    made: Sequence[tuple[Path, Record]],
    place: Callable[[Sequence[Record]], Sequence[Path]],
    board: BoardFolder,
) -> None:
    """Note which of them are new on the board; ``place`` writes them, or says where they would be."""
    before = set(board.files())
    for (path, _), entry in zip(made, place([record for _, record in made]), strict=True):
        (done.there if entry in before else done.carried)[path] = entry
    done.regrade = [path for path in done.regrade if path not in done.carried and path not in done.there]


def _sort(
    done: Migration,
    entries: Sequence[tuple[Path, Record]],
    new: LoadedProtocol,
    carrier: Carrier,
    refused: Callable[[Record], Sequence[Problem]],
) -> list[tuple[Path, Record]]:
    """Return the entries that carry over, and note what becomes of the others."""
    made, again = [], []
    for path, record in entries:
        if done.change == "rerun":
            again.append(record)
        elif done.change == "regradable":
            if problem := carrier.stands(record):
                done.left.append(Left(path, problem))
                again.append(record)
            else:
                done.regrade.append(path)
        else:
            carried = carrier.carry(record)
            problems = [carried] if isinstance(carried, Problem) else refused(carried)
            done.left += [Left(path, problem) for problem in problems[:1]]
            if isinstance(carried, Record) and not problems:
                made.append((path, carried))
            else:
                again.append(record)
    done.commands = _commands(again, new)
    return made


def _linked(
    done: Migration, entries: Sequence[tuple[Path, Record]], regraded: Sequence[Path], batch: Batch
) -> list[tuple[Path, Record]]:
    """Return records that were measured again with a link to the entry that each comes from."""
    origins = {(slot(record), *_evidence(record)): (path, record) for path, record in entries}
    made = []
    for file in regraded:
        record = load_record(file)
        origin = origins.get((slot(record), *_evidence(record)))
        if origin is None:
            text = f"no entry of {done.old} has this cell, target and reconstructions"
            done.left.append(Left(file, Problem("inputs.reconstructions", text, NO_ORIGIN)))
            continue
        path, entry = origin
        was = Origin(protocol=done.old, digest=entry.digest, change="regradable")
        linked = record.model_copy(update={"origins": [*entry.origins, was]})
        problems = batch.consider(linked)
        done.left += [Left(file, one.problem) for one in problems[:1]]
        made += [] if problems else [(path, linked)]
    return made


def _evidence(record: Record) -> tuple[str, str]:
    return record.inputs.get("target", ""), record.inputs.get("reconstructions", "")


def _commands(records: Sequence[Record], new: LoadedProtocol) -> list[str]:
    """Return the commands that make cells like those of some records: one for each model and defense."""
    rows: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        parts = (record.cell.model, record.cell.defense, component_digest(record, "defense"))
        rows.setdefault(parts, []).append(record)
    return [_command(row, new) for row in rows.values()]


def _command(row: Sequence[Record], new: LoadedProtocol) -> str:
    attacks = {record.cell.attack_label for record in row} | set(new.protocol.suite)
    missing: Mapping[str, tuple[int, ...]] = dict.fromkeys(sorted(attacks), new.protocol.seeds)
    return completing_command(row[0], missing, new.protocol.id)


def _folder(root: Path, protocol: LoadedProtocol) -> BoardFolder:
    return BoardFolder(root, protocol.protocol.name, protocol.protocol.version)


def _require_same(root: Path, new: LoadedProtocol) -> None:
    frozen = _folder(root, new).protocol()
    if frozen is not None and frozen.digest != new.digest:
        raise UsageError(
            f"the board of {new.protocol.id} has a protocol with digest {frozen.digest[:12]}…, and the one that is"
            f" installed has {new.digest[:12]}… (they differ in {told(differences(frozen, new))})."
            " Install the one of the board, or give yours a version of its own"
        )
