"""What a rule is, and how a broken one is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from mibench.protocol.load import LoadedProtocol
from mibench.results.display import printable
from mibench.results.record import Record

AGAIN = "run the record's command again: what is cached is reused, and the record is made anew"


class Finding(NamedTuple):
    """A broken rule.

    Attributes:
        id: identifier of the rule, e.g. ``"MB201"``.
        text: what was expected and what was found.
    """

    id: str
    text: str


class BoardRule(NamedTuple):
    """A rule: its identifier and the function that yields one sentence per violation."""

    id: str
    check: Callable[[Record, LoadedProtocol], Iterator[str]]


def differs(field: str, expected: object, got: object, remedy: str = AGAIN) -> str:
    """Return the sentence for a field of a record that is not what the rest of it, or the protocol, says.

    >>> differs("cell.seed", "0, 1 or 2", 7, "run a listed seed")
    'cell.seed: expected 0, 1 or 2, got 7; run a listed seed'
    """
    return f"{field}: expected {printable(expected, 160)}, got {printable(got, 160)}; {remedy}"
