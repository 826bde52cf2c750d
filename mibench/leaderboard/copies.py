"""Which copy of a dataset a record is of: rows of one board are of one copy, else they compare unlike pictures."""

from __future__ import annotations

from mibench.results.record import Record

DIGEST = "sha256:"


def copies(record: Record) -> dict[str, str]:
    """Return the digests of files that the record's dataset was made with, by parameter."""
    stated = record.components.get("dataset")
    values = stated.params if stated else {}
    return {name: value for name, value in values.items() if isinstance(value, str) and value.startswith(DIGEST)}


def other_copy(record: Record, entry: Record, name: str) -> str:
    """Say that a record is of another copy of the dataset than an entry of the board; empty if it is not.

    Args:
        record: what is to be on the board.
        entry: what is on it.
        name: of the entry's file.
    """
    here, there = copies(record), copies(entry)
    if here == there:
        return ""
    differing = next(parameter for parameter in {**here, **there} if here.get(parameter) != there.get(parameter))
    told = [found.get(differing, "none")[: len(DIGEST) + 12] for found in (here, there)]
    return (
        f"MB803 its dataset was another copy ({differing} {told[0]}) than that of {name} ({told[1]}); a copy with other"
        " pictures has a protocol with a name of its own, which states the digest"
    )
