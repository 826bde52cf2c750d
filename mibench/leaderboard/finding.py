"""What a rule is, and how a broken one is told."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import NamedTuple

from mibench.protocol.load import LoadedProtocol
from mibench.results.display import printable
from mibench.results.record import Record

AGAIN = "run the record's command again: what is cached is reused, and the record is made anew"


class Problem(NamedTuple):
    """What is wrong in one place of a record.

    Attributes:
        field: the place, with dots.
        text: what was expected and what was found.
        remedy: what to do.
    """

    field: str
    text: str
    remedy: str = AGAIN

    def __str__(self) -> str:
        return f"{self.field}: {self.text}; {self.remedy}"


class Finding(NamedTuple):
    """A broken rule.

    Attributes:
        id: identifier of the rule, e.g. ``"MB201"``.
        problem: what is wrong.
    """

    id: str
    problem: Problem

    @property
    def text(self) -> str:
        """Field, problem and remedy as one sentence."""
        return str(self.problem)


class BoardRule(NamedTuple):
    """A rule: its identifier and the function that yields each violation. The function's docstring is its sentence."""

    id: str
    check: Callable[[Record, LoadedProtocol], Iterator[Problem]]

    @property
    def sentence(self) -> str:
        """What the rule demands."""
        return " ".join((inspect.getdoc(self.check) or "").split())


def differs(field: str, expected: object, got: object, remedy: str = AGAIN) -> Problem:
    """Return the problem of a field of a record that is not what the rest of it, or the protocol, says.

    >>> str(differs("cell.seed", "0, 1 or 2", 7, "run a listed seed"))
    'cell.seed: expected 0, 1 or 2, got 7; run a listed seed'
    """
    return Problem(field, f"expected {printable(expected, 160)}, got {printable(got, 160)}", remedy)
