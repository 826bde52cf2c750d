"""What was withdrawn from a board: a notice in the open, and beside it the records as they were.

``<protocol>/<version>/withdrawn/<id>/notice.json`` says who withdrew what, when and why;
``withdrawn/<id>/entries/<defense>/<file>.json`` are the entries, moved byte for byte.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field, ValidationError

from mibench.api.params import STRICT
from mibench.base.canonical import digest
from mibench.leaderboard.date import Date
from mibench.leaderboard.layout import BoardFolder
from mibench.results.io import RecordError, load_record, verify_digest
from mibench.results.record import Record

FOLDER, NOTICE, ENTRIES = "withdrawn", "notice.json", "entries"
MOST_LETTERS = 2000
"""Letters of a reason."""
_FILE = re.compile(r"[A-Za-z0-9_+-][A-Za-z0-9._+@-]*/[A-Za-z0-9_][A-Za-z0-9._+@-]*\.json")


def _said(text: str) -> str:
    if not text.strip():
        raise ValueError("expected words, found nothing")
    return text


def _a_file(text: str) -> str:
    if not _FILE.fullmatch(text):
        raise ValueError("expected '<defense>/<file>.json'")
    return text


class WithdrawnFile(BaseModel):
    """One entry that was withdrawn.

    Attributes:
        file: ``<defense>/<file>.json``, where it lay below ``entries/``.
        digest: the record's.
    """

    model_config = STRICT

    file: Annotated[str, AfterValidator(_a_file), Field(max_length=300)]
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Notice(BaseModel):
    """A withdrawal.

    Attributes:
        format: of this file.
        date: ``YYYY-MM-DD``.
        by: who withdrew it.
        reason: why, for everybody to read.
        records: what.
    """

    model_config = STRICT

    format: Literal[1] = 1
    date: Date
    by: Annotated[str, AfterValidator(_said), Field(max_length=200)]
    reason: Annotated[str, AfterValidator(_said), Field(max_length=MOST_LETTERS)]
    records: Annotated[tuple[WithdrawnFile, ...], Field(min_length=1)]

    @property
    def id(self) -> str:
        """Name of its folder: the date and eight digits of its content."""
        return f"{self.date}-{digest(self.model_dump())[:8]}"


@dataclass(frozen=True)
class Withdrawal:
    """A notice with its records.

    Attributes:
        folder: where both lie.
        notice: what, when, by whom and why.
    """

    folder: Path
    notice: Notice

    @cached_property
    def records(self) -> tuple[Record, ...]:
        """The records as they were published.

        Raises:
            RecordError: for a damaged one.
        """
        return tuple(load_record(self.place(one.file)) for one in self.notice.records)

    def place(self, file: str) -> Path:
        """Return where an entry of the notice lies now."""
        return self.folder / ENTRIES / file

    @property
    def kept(self) -> list[WithdrawnFile]:
        """What of the notice lies beside it as it was published."""
        return [one for one in self.notice.records if holds(self.place(one.file), one.digest)]

    def left_in(self, board: BoardFolder) -> list[WithdrawnFile]:
        """Return what is kept here and still on the board, as after a withdrawal that was cut off."""
        return [one for one in self.kept if holds(board.path / "entries" / one.file, one.digest)]


def holds(path: Path, stated: str) -> bool:
    """Tell whether a file is the record of a digest."""
    with contextlib.suppress(RecordError):
        record = load_record(path)
        return record.digest == stated and verify_digest(record)
    return False


def withdrawals(board: BoardFolder) -> list[Withdrawal]:
    """Return all withdrawals of a board, oldest first.

    Raises:
        RecordError: for a notice that cannot be read.
        UsageError: for a link.
    """
    return [read_notice(board, folder) for folder in folders(board)]


def folders(board: BoardFolder) -> list[Path]:
    """Return the folders of a board's withdrawals, by name, and so by date. Hidden files are passed over."""
    found = (board.path / FOLDER).iterdir() if (board.path / FOLDER).is_dir() else []
    return sorted(path for path in found if not path.name.startswith("."))


def read_notice(board: BoardFolder, folder: Path) -> Withdrawal:
    """Read one withdrawal.

    Raises:
        RecordError: if its notice is missing, is not of the known shape, or lies in a folder of another name.
        UsageError: for a link.
    """
    path = folder / NOTICE
    board.require_own(path)
    try:
        notice = Notice.model_validate_json(path.read_bytes())
    except OSError as error:
        raise RecordError(f"{path} cannot be read: {error.strerror or error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "file"
        raise RecordError(f"{path} is no notice of a withdrawal: {where}: {first['msg']}") from None
    if folder.name != notice.id:
        raise RecordError(f"{path} was edited: its content belongs into {notice.id}")
    return Withdrawal(folder, notice)


def all_records(board: BoardFolder) -> Iterator[tuple[Withdrawal, Record]]:
    """Yield every withdrawn record of a board with its withdrawal.

    Raises:
        RecordError: for a damaged notice or record.
        UsageError: for a link.
    """
    for one in withdrawals(board):
        for record in one.records:
            yield one, record
