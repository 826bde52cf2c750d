"""Rules about a record by itself (MB1xx), its digest and key (MB2xx) and its provenance (MB7xx)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mibench.leaderboard.finding import Problem, differs
from mibench.protocol.load import LoadedProtocol
from mibench.protocol.names import NAME, NAME_IN_WORDS
from mibench.results.io import verify_digest
from mibench.results.record import Record

UNEDITED = "add the file that the run wrote"
_KEY = re.compile(r"[0-9a-f]{64}")


def is_done(record: Record, _: LoadedProtocol) -> Iterator[Problem]:
    """Failed cells have no numbers."""
    if record.status != "done":
        reason = f": {record.failure.stage}: {record.failure.error}" if record.failure else ""
        yield Problem(
            "status", f"the cell failed{reason}", "only finished cells are accepted: remove the cause and run it again"
        )


def is_test_variant(record: Record, _: LoadedProtocol) -> Iterator[Problem]:
    """Tuning runs are never published."""
    if record.protocol.variant != "test":
        found = f"the record is of the {record.protocol.variant} variant, which is for tuning"
        yield Problem("protocol.variant", found, "run the test variant")


def names_are_plain(record: Record, _: LoadedProtocol) -> Iterator[Problem]:
    """Names become file names."""
    cell = record.cell
    for kind, name in (("model", cell.model), ("defense", cell.defense), ("attack", cell.attack)):
        if not NAME.fullmatch(name):
            yield differs(f"cell.{kind}", NAME_IN_WORDS, name, "rename the component")


def components_are_stated(record: Record, _: LoadedProtocol) -> Iterator[Problem]:
    """Model, defense and attack of the cell have their provenance in the record."""
    for role in ("defense", "attack", "model"):
        name, stated = getattr(record.cell, role), record.components.get(role)
        if stated is None:
            if role != "model":
                yield differs(f"components.{role}", f"the provenance of {name!r}", "nothing")
        elif stated.name != name:
            yield differs(f"components.{role}.name", f"{name!r} as in the cell", stated.name)


def digest_fits(record: Record, _: LoadedProtocol) -> Iterator[Problem]:
    """The content is what was sealed."""
    if not verify_digest(record):
        yield Problem("digest", "it does not fit the content, so the file was edited", UNEDITED)


def key_is_sha256(record: Record, _: LoadedProtocol) -> Iterator[Problem]:
    """The cell key is a sha256."""
    if not is_sha256(record.cell.key):
        yield differs("cell.key", "a sha256 (64 hexadecimal digits, not all the same)", record.cell.key)


def is_sha256(text: str) -> bool:
    """Tell whether a text can be a sha256: 64 hexadecimal digits, not one digit over and over."""
    return _KEY.fullmatch(text) is not None and len(set(text)) > 1


def command_is_there(record: Record, _: LoadedProtocol) -> Iterator[Problem]:
    """Anybody can repeat the cell."""
    if not record.command.strip():
        yield differs("command", "the command that repeats the cell", "nothing", UNEDITED)
