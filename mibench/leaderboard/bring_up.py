"""Record files of an older form, rewritten in place as records of this one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from mibench.base.files import write_atomic
from mibench.leaderboard.board import load_board
from mibench.leaderboard.check import record_files
from mibench.leaderboard.layout import BoardFolder, boards
from mibench.leaderboard.render import to_csv
from mibench.results.io import RecordError, load_record, record_text
from mibench.results.migrations import losses
from mibench.results.record import SCHEMA_VERSION
from mibench.store.locks import Locks


class BroughtUp(NamedTuple):
    """A record file that was looked at.

    Attributes:
        path: the file.
        version: the version of its form before.
        lost: what this form has no place for; the old file then lies beside the new one.
        problem: why it was left as it is; empty if it was rewritten, or is of this version.
    """

    path: Path
    version: int
    lost: tuple[str, ...] = ()
    problem: str = ""


def bring_up(paths: Sequence[Path], *, dry_run: bool = False) -> Iterator[BroughtUp]:
    """Rewrite records of an older form, and yield every record file with what became of it.

    A record is replaced whole or not at all, and states in ``origins`` the digest that it had. One that loses something
    keeps its old file beside it as ``NAME.schema-VERSION``. Doing it again does nothing.

    Args:
        paths: record files, and folders with records or boards in them.
        dry_run: write nothing.

    Raises:
        UsageError: for a folder without any JSON file.
        OSError: if a file cannot be written.
    """
    for path in paths:
        found = _boards(path)
        root = found[0].root if found else None
        if root is None or dry_run:
            yield from (_one(file, dry_run=dry_run) for file in _files(path, found))
            continue
        with Locks(root).hold(".lock"):
            yield from (_one(file, dry_run=dry_run) for file in _files(path, found))
            for board in found:
                write_atomic(board.table_file, to_csv(load_board(root, board.id)))


def _boards(path: Path) -> list[BoardFolder]:
    """Return the boards that a folder holds or is."""
    if (path / "protocol.yaml").is_file():
        whole = path.resolve()
        return [BoardFolder(whole.parent.parent, whole.parent.name, whole.name)]
    return boards(path) if path.is_dir() else []


def _files(path: Path, found: Sequence[BoardFolder]) -> list[Path]:
    if found:
        return [file for board in found for file in board.files()]
    return record_files(path)


def _one(path: Path, *, dry_run: bool) -> BroughtUp:
    try:
        record = load_record(path, lossy=True)
        version = json.loads(path.read_text(encoding="utf-8"))["schema_version"]
    except RecordError as error:
        return BroughtUp(path, 0, problem=str(error))
    if version == SCHEMA_VERSION:
        return BroughtUp(path, version)
    lost = tuple(losses(version))
    if not dry_run:
        if lost:
            write_atomic(path.with_name(f"{path.name}.schema-{version}"), path.read_bytes())
        write_atomic(path, record_text(record))
    return BroughtUp(path, version, lost)
