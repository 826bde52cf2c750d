"""Rules about a record by itself (MB1xx), its digest and key (MB2xx) and its provenance (MB7xx)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mibench.leaderboard.finding import differs
from mibench.protocol.load import LoadedProtocol
from mibench.results.io import verify_digest
from mibench.results.record import Record

NAME = re.compile(r"[a-z0-9][a-z0-9._+-]{0,63}")
_KEY = re.compile(r"[0-9a-f]{64}")


def is_done(record: Record, _: LoadedProtocol) -> Iterator[str]:
    """Failed cells have no numbers."""
    if record.status != "done":
        reason = f": {record.failure.stage}: {record.failure.error}" if record.failure else ""
        yield f"the cell failed{reason}; only finished cells are accepted"


def is_test_variant(record: Record, _: LoadedProtocol) -> Iterator[str]:
    """Tuning runs are never published."""
    if record.protocol.variant != "test":
        yield f"the record is of the {record.protocol.variant} variant, which is for tuning; run the test variant"


def names_are_plain(record: Record, _: LoadedProtocol) -> Iterator[str]:
    """Names become file names."""
    cell = record.cell
    for kind, name in (("model", cell.model), ("defense", cell.defense), ("attack", cell.attack)):
        if not NAME.fullmatch(name):
            yield f"{kind} name {name!r}: expected up to 64 lower-case letters, digits, '.', '_', '+' and '-'"


def components_are_stated(record: Record, _: LoadedProtocol) -> Iterator[str]:
    """Model, defense and attack of the cell have their provenance in the record."""
    for role in ("defense", "attack", "model"):
        name, stated = getattr(record.cell, role), record.components.get(role)
        if stated is None:
            if role != "model":
                yield f"components has no {role!r}"
        elif stated.name != name:
            yield f"the cell's {role} is {name!r}, but its component is {stated.name!r}"


def digest_fits(record: Record, _: LoadedProtocol) -> Iterator[str]:
    """The content is what was sealed."""
    if not verify_digest(record):
        yield "digest: it does not fit the content, so the file was edited; add the file that the run wrote"


def key_is_sha256(record: Record, _: LoadedProtocol) -> Iterator[str]:
    """The cell key is a sha256."""
    if not is_sha256(record.cell.key):
        yield differs("cell.key", "a sha256 (64 hexadecimal digits, not all the same)", record.cell.key)


def is_sha256(text: str) -> bool:
    """Tell whether a text can be a sha256: 64 hexadecimal digits, not one digit over and over."""
    return _KEY.fullmatch(text) is not None and len(set(text)) > 1


def command_is_there(record: Record, _: LoadedProtocol) -> Iterator[str]:
    """Anybody can repeat the cell."""
    if not record.command.strip():
        yield "command: expected the command that repeats the cell, got nothing; add the file that the run wrote"
