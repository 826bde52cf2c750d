"""What an attestation must satisfy to lie beside a board: rules MB901 to MB905."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mibench.leaderboard.agreement import outcome_of
from mibench.leaderboard.attestation import (
    Attestation,
    AttestationError,
    Number,
    Pair,
    Statement,
    attestation_files,
    read_attestation,
)
from mibench.leaderboard.finding import Finding, Problem, differs
from mibench.leaderboard.layout import BoardFolder
from mibench.leaderboard.standing import Attested
from mibench.protocol.load import LoadedProtocol
from mibench.results.columns import clean_accuracy
from mibench.results.normalize import headline
from mibench.results.record import MetricValue, Record
from mibench.results.repeated import columns

AGAIN = "make it again with `mibench leaderboard regrade --attest` or `attest`"


def check_attestations(
    board: BoardFolder, loaded: LoadedProtocol, entries: Mapping[str, Record]
) -> Iterator[tuple[Path, list[Finding]]]:
    """Yield each attestation of a board with the rules that it breaks.

    Args:
        board: the board.
        loaded: its protocol.
        entries: its records by digest, withdrawn ones too.
    """
    read: dict[Path, Attestation] = {}
    for path in attestation_files(board):
        try:
            read[path] = read_attestation(path, board)
        except AttestationError as error:
            yield path, [Finding("MB901", Problem("file", str(error).removeprefix(f"{path} "), AGAIN))]
    attested = Attested(read.values())
    for path, one in read.items():
        yield path, findings(path.name, one, loaded, entries, attested)


def findings(
    name: str, one: Attestation, loaded: LoadedProtocol, entries: Mapping[str, Record], attested: Attested
) -> list[Finding]:
    """Return the rules that an attestation breaks.

    Args:
        name: of its file.
        one: the attestation.
        loaded: the protocol of its board.
        entries: the records of the board by digest, withdrawn ones too.
        attested: all attestations of the board.
    """
    found = []
    if name != one.file_name:
        found.append(Finding("MB901", differs("file name", one.file_name, name, AGAIN)))
    if (one.protocol, one.protocol_digest) != (loaded.protocol.id, loaded.digest):
        found.append(Finding("MB902", differs("protocol_digest", loaded.digest, one.protocol_digest, AGAIN)))
    for place, said in enumerate(one.statements):
        field = f"statements.{place}"
        record = entries.get(said.record)
        if record is None:
            remedy = "remove the statement: the entry is not there, or has other numbers"
            found.append(Finding("MB902", differs(f"{field}.record", "the digest of an entry", said.record, remedy)))
            continue
        found += [Finding("MB903", problem) for problem in _published(field, said, record)]
        if said.outcome != outcome_of(one.kind, said):
            text = differs(f"{field}.outcome", outcome_of(one.kind, said), said.outcome, AGAIN)
            found.append(Finding("MB904", text))
        ran = {name.casefold() for name in attested.ran_by(said.record)}
        if one.kind == "reproduced" and (one.party == "authors" or one.by.casefold() in ran):
            text = differs("by", "somebody else than who ran the record, and not its authors", one.by, "leave it out")
            found.append(Finding("MB905", text))
    return found


def _published(field: str, said: Statement, record: Record) -> Iterator[Problem]:
    """Yield what a statement says of published numbers that the record does not."""
    known = columns(record)
    stated: Sequence[tuple[str, Pair | None, MetricValue | None]] = [
        ("headline", said.headline, headline(record)),
        ("accuracy", said.accuracy, clean_accuracy(record.metrics)),
        *((f"moved.{name}", pair, known.get(name)) for name, pair in said.moved.items()),
    ]
    for name, pair, metric in stated:
        wanted = Number(value=metric.value, ci95=metric.ci95) if metric else None
        if pair is not None and pair.published != wanted:
            yield differs(f"{field}.{name}.published", wanted, pair.published, AGAIN)
