"""Statements about published records: who ran them, who measured them again, who repeated them, and what came out.

They lie beside the entries, one file for each statement::

    <protocol>/<major.minor>/attestations/<date>-<kind>-<digest>.json

A statement is data: its digest finds accidents and proves no origin. What it claims of numbers is stated as numbers, so
that a check can follow it (rules MB901 to MB905).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mibench.base.canonical import digest
from mibench.base.files import write_atomic
from mibench.leaderboard.date import Date
from mibench.leaderboard.layout import BoardFolder
from mibench.results.io import RecordError
from mibench.results.reports import EnvironmentReport

FOLDER = "attestations"
MAX_BYTES = 16 * 2**20
Kind = Literal["ran", "regraded", "reproduced"]
Party = Literal["authors", "maintainers", "third-party"]
Outcome = Literal["equal", "agrees", "differs"]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Line = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f]*$")]


class AttestationError(RecordError):
    """A file of an attestation is damaged, or is none; the message names it."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Number(_Part):
    """A number with its 95 % interval over people."""

    value: float
    ci95: tuple[float, float] | None = None


class Pair(_Part):
    """A column as it was published, and as somebody found it; ``None`` where one of the two has none such."""

    published: Number | None
    found: Number | None


class Statement(_Part):
    """What is said of one record.

    Attributes:
        record: digest of the published record.
        cell: its cell, for people.
        outcome: of a comparison; ``None`` if nothing was compared.
        found: digest of the record that was found; empty if nothing was compared.
        columns: number of columns that were compared.
        headline: the number that ranks.
        accuracy: the target's accuracy, where it was measured.
        moved: other columns that did not come out equal or within rounding, by name.
        difference: the headline that was found minus the published one, paired by person.
    """

    record: Digest
    cell: Line
    outcome: Outcome | None = None
    found: Digest | Literal[""] = ""
    columns: int = 0
    headline: Pair | None = None
    accuracy: Pair | None = None
    moved: dict[str, Pair] = Field(default_factory=dict)
    difference: Number | None = None


class Attestation(_Part):
    """One party's statement about records of a board.

    Attributes:
        schema_version: of this format.
        kind: ``ran`` (who made the records), ``regraded`` (measured again from their evidence) or ``reproduced`` (run
            again from nothing).
        protocol: ``name@version``.
        protocol_digest: of the frozen protocol.
        by: who says so: a name, and where to find them.
        party: what they have to do with the records: authors of a method in it, maintainers of the board, or neither.
        date: YYYY-MM-DD.
        judges: where judges came from: the bundle, or the party's own training; empty where that means nothing.
        rule: the rule of agreement, in words.
        statements: one for each record.
        environment: what it was computed with.
        note: what else there is to say.
    """

    schema_version: Literal[1] = 1
    kind: Kind
    protocol: Line
    protocol_digest: Digest
    by: Line
    party: Party
    date: Date
    judges: Literal["", "bundle", "own"] = ""
    rule: Annotated[str, Field(max_length=1000)] = ""
    statements: Annotated[list[Statement], Field(min_length=1, max_length=100_000)]
    environment: EnvironmentReport = Field(default_factory=EnvironmentReport)
    note: Annotated[str, Field(max_length=1000)] = ""

    @property
    def digest(self) -> str:
        """The sha256 of its canonical JSON; its file is named by it."""
        return digest(self.content())

    def content(self) -> dict[str, Any]:
        """Return what its file holds: fields that say nothing are left out, so that new ones change no digest."""
        return {"schema_version": self.schema_version, **self.model_dump(mode="json", exclude_defaults=True)}

    @property
    def file_name(self) -> str:
        """The name of its file."""
        return f"{self.date}-{self.kind}-{self.digest[:16]}.json"


def save_attestation(attestation: Attestation, board: BoardFolder) -> Path:
    """Write an attestation beside the entries of a board."""
    place = board.path / FOLDER / attestation.file_name
    board.require_own(place)
    content = json.dumps(attestation.content(), indent=1, sort_keys=True, ensure_ascii=False)
    return write_atomic(place, content + "\n")


def attestation_files(board: BoardFolder) -> list[Path]:
    """Return the files of a board's attestations, in the order of their names."""
    found = sorted((board.path / FOLDER).glob("*.json"))
    return [path for path in found if not path.name.startswith(".")]


def read_attestation(path: Path, board: BoardFolder) -> Attestation:
    """Read an attestation.

    Raises:
        AttestationError: if it is damaged, or none.
        UsageError: for a link.
    """
    board.require_own(path)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise AttestationError(f"{path} is larger than {MAX_BYTES // 2**20} MiB; that is no attestation")
        return Attestation.model_validate_json(data)
    except OSError as error:
        raise AttestationError(f"{path} cannot be read: {error.strerror or error}") from None
    except ValidationError as error:
        raise AttestationError(f"{path} is no attestation: {_explain(error)}") from None


def attestations(board: BoardFolder) -> Iterator[Attestation]:
    """Yield the attestations of a board.

    Raises:
        AttestationError: for a damaged one.
        UsageError: for a link.
    """
    for path in attestation_files(board):
        yield read_attestation(path, board)


def _explain(error: ValidationError) -> str:
    first: Any = error.errors()[0]
    return f"{'.'.join(map(str, first['loc'])) or 'the file'}: {first['msg']}"
